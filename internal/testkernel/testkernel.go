// Package testkernel makes what boot loaders take for a Linux kernel, for tests
// of who loads it. It cannot run. [Compare] compares what was loaded with the file.
package testkernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
)

// payload is the size of the kernel's code.
const payload = 1 << 20

// Image is a bzImage: a setup header of boot protocol 2.15 (Linux's
// Documentation/arch/x86/boot.rst) and noise for code, the same each time.
func Image() []byte {
	le := binary.LittleEndian
	const sectors = 4
	k := make([]byte, (sectors+1)*512+payload)
	random := rand.New(rand.NewPCG(1, 13))
	for i := (sectors + 1) * 512; i < len(k); i++ {
		k[i] = byte(random.Uint32())
	}
	k[0x1F1] = sectors
	le.PutUint32(k[0x1F4:], payload/16)
	le.PutUint16(k[0x1FA:], 0xFFFF)
	copy(k[0x1FE:], []byte{0x55, 0xAA, 0xEB, 0x6A, 'H', 'd', 'r', 'S', 0x0F, 0x02})
	k[0x211] = 1 // loaded high
	le.PutUint32(k[0x214:], 0x100000)
	le.PutUint32(k[0x22C:], 0x7FFFFFFF) // where the initramfs may lie
	le.PutUint32(k[0x230:], 0x200000)
	k[0x234], k[0x235] = 1, 21
	le.PutUint32(k[0x238:], 2047)
	le.PutUint64(k[0x258:], 0x1000000)
	le.PutUint32(k[0x260:], 2*payload)
	return k
}

// Compare compares what a kernel runs: its protected-mode code, and of the header
// what a loader does not overwrite. A signature behind the code, which no loader
// loads, does not count.
func Compare(got, want []byte) error {
	setup := (int(want[0x1F1]) + 1) * 512
	length := setup + int(binary.LittleEndian.Uint32(want[0x1F4:]))*16
	if len(got) != length {
		return fmt.Errorf("a kernel of %d bytes, want %d", len(got), length)
	}
	var errs []error
	if !bytes.Equal(got[setup:], want[setup:length]) {
		errs = append(errs, errors.New("the kernel's code differs"))
	}
	for _, field := range [][2]int{{0x1F1, 0x1FA}, {0x1FE, 0x224}, {0x228, 0x26C}} {
		if g, w := got[field[0]:field[1]], want[field[0]:field[1]]; !bytes.Equal(g, w) {
			errs = append(errs, fmt.Errorf("header from %#x: % x, want % x", field[0], g, w))
		}
	}
	return errors.Join(errs...)
}
