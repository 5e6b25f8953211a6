package int13h

// The programmable interval timer (8254): programs measure time with it.

func (m *machine) controlCounter(v uint8) {
	n := v >> 6
	if n == 3 {
		return // read-back, which nobody needs
	}
	c := &m.ports.pit[n]
	if v>>4&3 == 0 { // latch
		c.latched = c.count(m)
		return
	}
	c.access, c.mode, c.second, c.latched = v>>4&3, v>>1&7, false, nil
	c.since = m.clock.now(m)
}

// count is what stands in the counter, as its bytes are read.
func (c *counter) count(m *machine) []byte {
	period := uint64(c.reload)
	if period == 0 {
		period = 1 << 16
	}
	v := uint16(period - m.clock.pitCount(m, c.since)%period)
	switch c.access {
	case 1:
		return []byte{byte(v)}
	case 2:
		return []byte{byte(v >> 8)}
	}
	return []byte{byte(v), byte(v >> 8)}
}

func (m *machine) readCounter(c *counter) uint8 {
	if len(c.latched) == 0 {
		c.latched = c.count(m)
	}
	v := c.latched[0]
	c.latched = c.latched[1:]
	return v
}

func (m *machine) writeCounter(c *counter, v uint8) {
	switch {
	case c.access == 1:
		c.reload = uint16(v)
	case c.access == 2:
		c.reload = uint16(v) << 8
	case !c.second:
		c.reload = uint16(v)
		c.second = true
		return
	default:
		c.reload |= uint16(v) << 8
		c.second = false
	}
	c.since = m.clock.now(m)
}

// writeSpeaker: bit 0 is the gate of counter 2, which starts it.
func (m *machine) writeSpeaker(v uint8) {
	if v&1 != 0 && m.ports.speaker&1 == 0 {
		m.ports.pit[2].since = m.clock.now(m)
	}
	m.ports.speaker = v & 0x0F
}

// readSpeaker: bit 5 is counter 2's output, bit 4 the memory's refresh.
func (m *machine) readSpeaker() uint8 {
	c := &m.ports.pit[2]
	passed := m.clock.pitCount(m, c.since)
	period := uint64(c.reload)
	if period == 0 {
		period = 1 << 16
	}
	high := passed >= period
	if c.mode&3 == 3 { // a square wave
		high = passed%period < period/2
	}
	refresh := passed>>4&1 != 0
	return m.ports.speaker | uint8(boolBit(high, 5)) | uint8(boolBit(refresh, 4))
}
