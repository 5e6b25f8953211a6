package x86

// The stack. What fails leaves ESP as it was.

func (c *CPU) setSP(v uint32) { c.r[ESP] = c.r[ESP]&^c.spMask | v&c.spMask }

func push[T number](c *CPU, v T) {
	sp := (c.r[ESP] - width[T]()) & c.spMask
	write(c, SS, sp, v)
	c.setSP(sp)
}

func pop[T number](c *CPU) T {
	v := peek[T](c, 0)
	c.setSP(c.r[ESP] + width[T]())
	return v
}

// peek reads the stack at a depth in bytes.
func peek[T number](c *CPU, depth uint32) T {
	return read[T](c, SS, (c.r[ESP]+depth)&c.spMask)
}

// pushAll pushes values of size bytes, all or none of them.
func (c *CPU) pushAll(size uint32, values ...uint32) {
	sp := c.r[ESP]
	c.stackRoom(size, uint32(len(values)))
	for _, v := range values {
		sp = (sp - size) & c.spMask
		if size == 2 {
			c.write16(SS, sp, v)
		} else {
			c.write32(SS, sp, v)
		}
	}
	c.setSP(sp)
}

// stackRoom raises what pushing n values of size bytes would raise.
func (c *CPU) stackRoom(size, n uint32) {
	for i := range n {
		c.address(SS, (c.r[ESP]-size*(i+1))&c.spMask, size, canWrite)
	}
}
