package x86

import "slices"

// A boot loader spends most of its time in loops that copy or fill memory, an
// element at a time: a compiler's memmove. Such a loop is recognised when it is
// decoded and does all but its last iterations at once.

// copyLoop is one way round a loop that copies or fills, in 32-bit code.
type copyLoop struct {
	size  uint32 // instructions
	span  uint32 // bytes of code, from the loop's head
	width uint32 // bytes moved each time: 1, 2 or 4
	step  [8]uint32
	from  place
	to    place
	fills bool  // there is no from: value is stored again and again
	value uint8 // the register that is loaded, if any, and stored
	moves bool  // by MOVS, LODS or STOS, which go forward only with DF clear
	tests []test
}

// place is where the loop reads or writes: in's address, with what the registers
// in it have moved on since the loop's head.
type place struct {
	in   inst
	bias uint32
	set  bool
}

// amount is what a test looks at: a register, or zero, and a number.
type amount struct {
	reg uint8
	add uint32
}

// test is a comparison and the condition on which the loop goes on.
type test struct {
	a, b  amount
	cond  uint8
	exact bool // only equality is known
}

const (
	maxLoopSize = 10 // instructions
	maxLoopSpan = 64 // bytes
)

// tracer follows one way round.
type tracer struct {
	copyLoop
	head  uint32
	used  [9]bool // registers that addresses and tests need
	flags *test   // what the flags tell, if known
}

// findLoop recognises the loop whose head is at a linear address; nil if there is none.
func (c *CPU) findLoop(head uint32, big bool) *copyLoop {
	if !big {
		return nil
	}
	t := tracer{head: head}
	t.value = zero
	for at := head; t.size < maxLoopSize; {
		in, o := c.decode(at, true)
		at += uint32(in.length)
		t.size++
		if at-head > maxLoopSpan {
			return nil
		}
		t.span = max(t.span, at-head)
		if name := o.name; o.args == "Jb" || o.args == "Jz" {
			if !in.wide || name[0] != 'j' || name == "jcxz" {
				return nil
			}
			back := at+in.imm == head
			switch {
			case name != "jmp" && !t.branch(in, back):
				return nil
			case back:
				return t.close()
			case name == "jmp":
				return nil
			}
			continue
		}
		if !in.wideAddr || in.rep != 0 || !t.follow(in, o) {
			return nil
		}
	}
	return nil
}

// branch notes that the loop goes on only if a conditional jump does, or does not.
func (t *tracer) branch(in inst, back bool) bool {
	if t.flags == nil {
		return false
	}
	kind := in.cond >> 1
	if kind != 2 && (t.flags.exact || kind != 1 && kind != 3) { // of equal; below, below or equal
		return false
	}
	x := *t.flags
	x.cond = in.cond
	if !back {
		x.cond ^= 1
	}
	t.tests = append(t.tests, x)
	return true
}

// follow takes an instruction that is no jump; false if it is none of a copying loop's.
func (t *tracer) follow(in inst, o *op) bool {
	switch o.name {
	case "mov":
		return t.mov(in, o.args)
	case "movsb", "movs", "stosb", "stos":
		return t.moveString(in, o.name)
	}
	r, n, ok := operands(in, o.args)
	if !ok {
		return false
	}
	a := t.amount(r)
	switch o.name {
	case "cmp":
		t.flags = &test{a: a, b: n(t)}
	case "test":
		if n(t) != a {
			return false
		}
		t.flags = &test{a: a, b: amount{reg: zero}, exact: true}
	case "sub":
		b := n(t)
		if b.reg != zero {
			return false
		}
		t.step[r] -= b.add
		t.flags = &test{a: a, b: b}
	case "add":
		b := n(t)
		if b.reg != zero {
			return false
		}
		t.step[r] += b.add
		t.flags = &test{a: t.amount(r), b: amount{reg: zero}, exact: true}
	case "inc", "dec":
		by := uint32(1)
		if o.name == "dec" {
			by = ^uint32(0)
		}
		t.step[r] += by
		t.flags = &test{a: t.amount(r), b: amount{reg: zero}, exact: true}
	default:
		return false
	}
	return true
}

// amount is a register as it stands here.
func (t *tracer) amount(r uint8) amount {
	t.used[r] = true
	return amount{r, t.step[r]}
}

// operands are the register that an instruction of 32 bits names first, and the
// register or number that it names second.
func operands(in inst, args string) (r uint8, second func(*tracer) amount, ok bool) {
	if !in.wide || in.mem {
		return 0, nil, false
	}
	number := func(*tracer) amount { return amount{zero, in.imm} }
	switch args {
	case "Ev,Is", "Ev,Iz":
		return in.rm, number, true
	case "eAX,Iz":
		return EAX, number, true
	case "Zv":
		return in.reg, number, true
	case "Ev":
		return in.rm, number, true
	case "Ev,Gv":
		return in.rm, func(t *tracer) amount { return t.amount(in.reg) }, true
	case "Gv,Ev":
		return in.reg, func(t *tracer) amount { return t.amount(in.rm) }, true
	}
	return 0, nil, false
}

// mov is a load or a store.
func (t *tracer) mov(in inst, args string) bool {
	width := uint32(1)
	switch args {
	case "Gv,Ev", "Ev,Gv":
		if width = 4; !in.wide {
			width = 2
		}
	case "Gb,Eb", "Eb,Gb":
	default:
		return false
	}
	if !in.mem {
		return false
	}
	if args[0] == 'G' {
		return t.load(in, width, in.reg)
	}
	return t.store(in, width, in.reg)
}

func (t *tracer) load(in inst, width uint32, value uint8) bool {
	if t.from.set || t.to.set {
		return false
	}
	t.from, t.width, t.value = t.place(in), width, value
	return true
}

func (t *tracer) store(in inst, width uint32, value uint8) bool {
	if t.to.set || t.from.set && (width != t.width || value != t.value) {
		return false
	}
	t.to, t.width, t.value = t.place(in), width, value
	t.fills = !t.from.set
	return true
}

func (t *tracer) place(in inst) place {
	p := place{in: in, set: true}
	for _, r := range []uint8{in.base, in.index} {
		t.used[min(r, zero)] = true
	}
	if in.base < zero {
		p.bias += t.step[in.base]
	}
	if in.index < zero {
		p.bias += t.step[in.index] << in.scale
	}
	return p
}

// moveString is a string instruction without a prefix.
func (t *tracer) moveString(in inst, name string) bool {
	width := uint32(1)
	if name[len(name)-1] == 's' {
		if width = 4; !in.wide {
			width = 2
		}
	}
	t.moves = true
	if name[:4] == "movs" {
		source := in
		source.base, source.index, source.disp = ESI, zero, 0
		if !t.load(source, width, zero) {
			return false
		}
		t.step[ESI] += width
	}
	target := in
	target.seg, target.base, target.index, target.disp = ES, EDI, zero, 0
	value := t.value
	if name[:4] == "stos" {
		value = EAX
	}
	if !t.store(target, width, value) {
		return false
	}
	t.step[EDI] += width
	return true
}

// close checks that the way round is a loop that can be done at once.
func (t *tracer) close() *copyLoop {
	if !t.to.set || len(t.tests) == 0 {
		return nil
	}
	if v := t.value; v < zero { // nothing else uses the register that holds an element
		if t.width == 1 {
			v &= 3
		}
		if t.used[v] || t.step[v] != 0 {
			return nil
		}
	}
	by := t.stride(t.to)
	if by != t.width && by != -t.width || !t.fills && t.stride(t.from) != by {
		return nil
	}
	l := t.copyLoop
	l.tests = slices.Clip(l.tests)
	return &l
}

// stride is what a place moves by each time round.
func (t *copyLoop) stride(p place) uint32 {
	by := uint32(0)
	if p.in.base < zero {
		by += t.step[p.in.base]
	}
	if p.in.index < zero {
		by += t.step[p.in.index] << p.in.scale
	}
	return by
}

// run does as many iterations as are sure to be followed by another one. The
// processor stands at the loop's head, before and after.
func (l *copyLoop) run(c *CPU) {
	if c.steps >= c.check || l.moves && c.flags&flagDF != 0 {
		return
	}
	n := (c.check - c.steps) / uint64(l.size)
	for i := range l.tests {
		n = min(n, l.lasts(c, &l.tests[i]))
	}
	if n < 8 {
		return
	}
	to, n := l.reach(c, l.to, canWrite, n)
	from := uint32(0)
	if !l.fills {
		from, n = l.reach(c, l.from, canRead, n)
	}
	if n < 2 {
		return
	}
	n-- // the last one sets the flags
	back := l.stride(l.to) != l.width
	size := uint32(n) * l.width
	if back { // the lowest addresses
		to -= size - l.width
		from -= size - l.width
	}
	if !c.unmarked(to, size) {
		return
	}
	if l.fills {
		l.fill(c, c.ram[to:to+size])
	} else {
		l.move(c, from, to, size, back)
	}
	for r := range l.step {
		c.r[r] += uint32(n) * l.step[r]
	}
	c.steps += n * uint64(l.size)
}

// lasts is for how many times round a test is sure to come out as going on.
func (l *copyLoop) lasts(c *CPU, t *test) uint64 {
	a, b := c.r[t.a.reg]+t.a.add, c.r[t.b.reg]+t.b.add
	var on bool
	switch t.cond >> 1 {
	case 1:
		on = a < b
	case 2:
		on = a == b
	default:
		on = a <= b
	}
	if on == (t.cond&1 != 0) {
		return 0
	}
	if a == b { // goes on when equal: it will not be next time
		return 1
	}
	stepA, stepB := l.stepOf(t.a), l.stepOf(t.b)
	n := min(room(a, stepA), room(b, stepB))
	switch by := int64(int32(stepA)) - int64(int32(stepB)); {
	case by > 0 && a < b:
		n = min(n, (uint64(b-a)+uint64(by)-1)/uint64(by))
	case by < 0 && a > b:
		n = min(n, (uint64(a-b)+uint64(-by)-1)/uint64(-by))
	}
	return n
}

func (l *copyLoop) stepOf(a amount) uint32 {
	if a.reg >= zero {
		return 0
	}
	return l.step[a.reg]
}

// room is how many steps a number makes before it wraps.
func room(v, step uint32) uint64 {
	switch s := int64(int32(step)); {
	case s > 0:
		return uint64(^v)/uint64(s) + 1
	case s < 0:
		return uint64(v)/uint64(-s) + 1
	}
	return 1 << 32
}

// reach is the linear address of a place, and how often it can move on inside its
// segment and the quick part of memory.
func (l *copyLoop) reach(c *CPU, p place, need uint8, n uint64) (linear uint32, times uint64) {
	g := &c.seg[p.in.seg]
	off := c.ea(&p.in) + p.bias
	linear = g.base + off
	if g.access&need == 0 || off < g.lo || off > g.hi || g.hi-off < l.width-1 || uint64(linear)+uint64(l.width) > uint64(c.fast) {
		return linear, 0
	}
	w := uint64(l.width)
	if l.stride(p) == l.width {
		return linear, min(n, (uint64(g.hi-off)+1)/w, uint64(c.fast-linear)/w)
	}
	return linear, min(n, uint64(off-g.lo)/w+1, uint64(linear)/w+1)
}

// fill stores the value everywhere.
func (l *copyLoop) fill(c *CPU, p []byte) {
	switch l.width {
	case 1:
		fill(p, reg[uint8](c, l.value))
	case 2:
		fill(p, reg[uint16](c, l.value))
	default:
		fill(p, reg[uint32](c, l.value))
	}
}

// move copies element by element in the loop's direction where that is another
// thing than copying at once, and leaves the last one in the loop's register.
func (l *copyLoop) move(c *CPU, from, to, size uint32, back bool) {
	last := to + size - l.width
	switch {
	case back && from > to && from-to < size:
		for i := size; i > 0; i -= l.width {
			copy(c.ram[to+i-l.width:to+i], c.ram[from+i-l.width:from+i])
		}
		last = to
	case back:
		copy(c.ram[to:to+size], c.ram[from:from+size])
		last = to
	default:
		copyUp(c.ram, from, to, size, l.width)
	}
	if l.value >= zero {
		return
	}
	switch element := c.ram[last:]; l.width {
	case 1:
		setReg(c, l.value, element[0])
	case 2:
		setReg(c, l.value, le.Uint16(element))
	default:
		setReg(c, l.value, le.Uint32(element))
	}
}
