package int13h_test

import (
	"os/exec"
	"testing"
	"time"

	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/internal/testkernel"
)

// exitQEMU is code of 16 and of 32 bits that ends QEMU by its isa-debug-exit.
var (
	exitQEMU16 = []byte{0xBA, 0xF4, 0x00, 0xB0, 0x31, 0xEE, 0xEB, 0xFE}
	exitQEMU32 = []byte{0xBA, 0xF4, 0x00, 0x00, 0x00, 0xB0, 0x31, 0xEE, 0xEB, 0xFE}
)

// TestBesideTCG starts the same disk here and under SeaBIOS in QEMU without KVM,
// and tells how long each takes from the boot sector to the kernel's entry.
func TestBesideTCG(t *testing.T) {
	slow(t)
	w := newWorkshop(t, "qemu-system-x86_64", "grub-mkimage")
	kernel := testkernel.Image()
	code := (int(kernel[0x1F1]) + 1) * 512
	kernel = append(kernel, make([]byte, 14e6-len(kernel)&^15)...)
	kernel = kernel[:len(kernel)-(len(kernel)-code)%16]
	le.PutUint32(kernel[0x1F4:], uint32(len(kernel)-code)/16)
	le.PutUint32(kernel[0x260:], uint32(len(kernel)))
	copy(kernel[code:], exitQEMU32)
	disk := grubDisk(t, kernel, make([]byte, 10e6), "quiet")

	empty := w.disk(mebibyte)
	w.put(empty, exitQEMU16, 0)
	w.put(empty, []byte{0x55, 0xAA}, 510)
	firmware := w.qemu(empty)
	tcg := w.qemu(disk) - firmware

	start := time.Now()
	h, err := int13h.Boot(t.Context(), int13h.Config{Disk: openDisk(t, disk)})
	if err != nil {
		t.Fatal(err)
	}
	ours := time.Since(start)
	t.Logf("here %v (%d million steps), under TCG %v, besides %v until QEMU and SeaBIOS have come to the boot sector",
		ours.Round(time.Millisecond), h.Steps/1e6, tcg.Round(time.Millisecond), firmware.Round(time.Millisecond))
}

// qemu runs a disk until it ends QEMU.
func (w workshop) qemu(disk string) time.Duration {
	w.Helper()
	start := time.Now()
	cmd := exec.CommandContext(w.Context(), "qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512",
		"-drive", "file="+disk+",format=raw,if=ide", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-no-reboot")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 0x31<<1|1 {
		w.Fatalf("%v\n%s", err, out)
	}
	return time.Since(start)
}
