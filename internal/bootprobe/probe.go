// Package bootprobe asks a BIOS what its services answer: a boot sector makes a
// list of calls and writes down what comes back, for tests that compare one BIOS
// with another. It is internal because only the project's own tests need it.
//
// [Disk] makes the disk. When the machine that boots it has said [Done] on its
// first serial port, [Answers] reads the answers out of its memory.
package bootprobe

import (
	"cmp"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

//go:generate sh -c "as --32 -o probe.o probe.asm && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o probe.bin probe.o && rm probe.o && chmod 644 probe.bin"

//go:embed probe.bin
var program []byte

// Where the answers are in the machine's memory, and what it says when they are
// complete.
const (
	Address = 0x10000
	Done    = "BIOS calls: DONE"
)

const (
	sector       = 512
	tableAt      = 100 // the sector where the calls begin that probe.asm loads
	tableSectors = 20
	callSize     = 64
	answerSize   = 170
	packetSize   = 128
	filler       = 0xCC // of what no call has written
	partition    = 2048 // first sector
)

// Size is the disk's, in bytes. Its partition table was made with 16 heads of 63
// sectors.
const Size = 64 << 20

var le = binary.LittleEndian

// Call is one call of a service. ES and DS are 0. DS:SI and ES:DI are the packet
// unless said otherwise, ES:BX is the data of a transfer.
type Call struct {
	Name           string
	Int            uint8  // 13h if zero
	AX, BX, CX, DX uint32 // all of EAX and so on
	SI, DI         uint16
	Packet         []byte // up to 32 bytes
	Varies         string // the registers whose values no two runs have in common
}

// Where a call has its packet or result buffer, and its data.
const (
	packetAt = 0x9000
	dataAt   = 0xA000
)

// Disk returns the first sectors of a disk that makes the calls; what follows
// them, up to Size, is zero.
func Disk(calls []Call) ([]byte, error) {
	d := make([]byte, (partition+8)*sector)
	copy(d[:446], program)
	if len(program) > 446 || (len(calls)+1)*callSize > tableSectors*sector {
		return nil, errors.New("bootprobe: the program or its calls are too long for where they are to be")
	}
	entry := d[446:]
	copy(entry, []byte{0x80, 32, 33, 0, 0x83, 15, 63, 120}) // active, Linux; it ends at head 15, sector 63
	le.PutUint32(entry[8:], partition)
	le.PutUint32(entry[12:], Size/sector-partition)
	d[510], d[511] = 0x55, 0xAA
	for i := 1; i < len(d)/sector; i++ { // each sector begins with its number
		le.PutUint32(d[i*sector:], uint32(i))
		le.PutUint32(d[i*sector+4:], ^uint32(i))
	}
	table := d[tableAt*sector:][:tableSectors*sector]
	clear(table)
	for i, c := range calls {
		b := table[i*callSize:]
		b[0], b[1] = 1, c.interrupt()
		for j, v := range []uint32{c.AX, c.BX, c.CX, c.DX} {
			le.PutUint32(b[4+4*j:], v)
		}
		le.PutUint16(b[20:], c.SI)
		le.PutUint16(b[22:], c.DI)
		copy(b[32:64], c.Packet)
	}
	return d, nil
}

func (c Call) interrupt() uint8 { return cmp.Or(c.Int, 0x13) }

// AnswersSize is how much memory from Address on the answers to the calls take.
func AnswersSize(calls []Call) int { return len(calls) * answerSize }

// Answers reads the machine's memory from Address on: a line a call, with the
// status, the registers that have changed, the bytes that were written to the
// packet, and what there is of the data.
func Answers(calls []Call, memory []byte) ([]string, error) {
	if len(memory) < AnswersSize(calls) {
		return nil, fmt.Errorf("bootprobe: %d bytes of answers, want %d", len(memory), AnswersSize(calls))
	}
	var lines []string
	for i, c := range calls {
		lines = append(lines, c.answer(memory[i*answerSize:][:answerSize]))
	}
	return lines, nil
}

func (c Call) answer(b []byte) string {
	var s strings.Builder
	flags := le.Uint16(b[24:])
	fmt.Fprintf(&s, "%-34s %s", c.Name+":", [2]string{"good", "fail"}[flags&1])
	if c.interrupt() == 0x16 {
		fmt.Fprintf(&s, " zf=%d", flags>>6&1)
	}
	for j, before := range []uint32{^uint32(0), c.BX, c.CX, c.DX} { // EAX is always said
		c.register(&s, [4]string{"ax", "bx", "cx", "dx"}[j], le.Uint32(b[4*j:]), before)
	}
	for j, before := range []uint16{c.SI, c.DI, 0, 0} {
		c.register(&s, [4]string{"si", "di", "es", "ds"}[j], uint32(le.Uint16(b[16+2*j:])), uint32(before))
	}
	before := make([]byte, packetSize)
	for j := range before {
		before[j] = filler
	}
	clear(before[:32])
	copy(before, c.Packet)
	writes(&s, before, b[26:26+packetSize])
	data := b[26+packetSize:]
	if sum := le.Uint16(data[14:]); sum != untouched {
		fmt.Fprintf(&s, " data=%x… sum=%04x", data[:8], sum)
	}
	return s.String()
}

// register says what has become of a register.
func (c Call) register(s *strings.Builder, name string, v, before uint32) {
	switch {
	case strings.Contains(c.Varies, name):
		fmt.Fprintf(s, " %s=…", name)
	case v>>16 != 0 && v != before:
		fmt.Fprintf(s, " e%s=%08x", name, v)
	case v != before:
		fmt.Fprintf(s, " %s=%04x", name, v)
	}
}

// writes says which bytes of the packet are others than before.
func writes(s *strings.Builder, before, after []byte) {
	for i := 0; i < len(after); i++ {
		if after[i] == before[i] {
			continue
		}
		from := i
		for i < len(after) && after[i] != before[i] {
			i++
		}
		fmt.Fprintf(s, " [%02x]=%x", from, after[from:i])
	}
}

// untouched is the sum over data that no call has written.
var untouched = func() uint16 {
	var sum uint16
	for range 512 {
		sum = sum<<1 | sum>>15
		sum += filler<<8 | filler
	}
	return sum
}()
