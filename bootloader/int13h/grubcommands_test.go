package int13h_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h"
)

// grubWith is a disk with files on ext4 that GRUB starts as its configuration says.
func (w workshop) grubWith(tree string, modules ...string) string {
	w.Helper()
	volume := w.write("volume", nil)
	w.run("mke2fs", "-q", "-t", "ext4", "-d", tree, volume, "64M")
	return w.grubOn(volume, "(,msdos1)/boot/grub", append(modules, "ext2")...)
}

// TestGRUB16: GRUB's linux16 starts a kernel by its 16-bit entry, as syslinux does.
func TestGRUB16(t *testing.T) {
	slow(t)
	w := newWorkshop(t, "mke2fs", "grub-mkimage")
	kernel := testKernel(t)
	tree := w.grubTree(kernel, "linux16 /vmlinuz console=ttyS0 marker=by-linux16\ninitrd16 /initrd.img\nboot\n")
	w.boots(int13h.Config{Disk: openDisk(t, w.grubWith(tree, "linux16"))},
		expected{kernel, someInitrd, "BOOT_IMAGE=/vmlinuz console=ttyS0 marker=by-linux16"})
}

// multibootLoad is where the kernel of TestMultiboot is loaded.
const multibootLoad = 0x400000

// multibootKernel is a kernel with a header of the Multiboot Specification 0.6.96
// (3.1) in an ELF file (System V ABI, 4) with one segment and its section.
func multibootKernel(t *testing.T) (file, code []byte) {
	t.Helper()
	const entry, flags, magic = 12, 0x3, 0x1BADB002 // modules aligned, memory told
	code = le.AppendUint32(nil, magic)
	code = le.AppendUint32(code, flags)
	code = le.AppendUint32(code, 1<<32-(magic+flags))
	code = append(code, 0xFA, 0xF4, 0xEB, 0xFD) // cli; hlt; again
	code = append(code, bytes.Repeat([]byte("a kernel that is none of Linux's "), 3000)...)

	const headers, sections = 52 + 32, 3
	names := "\x00.text\x00.shstrtab\x00"
	namesAt := uint32(headers + len(code))
	var b bytes.Buffer
	for _, part := range []any{
		elf.Header32{
			Ident: [16]byte{0x7F, 'E', 'L', 'F', 1, 1, 1}, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_386), Version: 1,
			Entry: multibootLoad + entry, Phoff: 52, Shoff: (namesAt + uint32(len(names)) + 3) &^ 3,
			Ehsize: 52, Phentsize: 32, Phnum: 1, Shentsize: 40, Shnum: sections, Shstrndx: 2,
		},
		elf.Prog32{
			Type: uint32(elf.PT_LOAD), Off: headers, Vaddr: multibootLoad, Paddr: multibootLoad,
			Filesz: uint32(len(code)), Memsz: uint32(len(code)), Flags: uint32(elf.PF_R | elf.PF_X), Align: 4,
		},
		code, []byte(names), make([]byte, -(int(namesAt)+len(names))&3),
		elf.Section32{},
		elf.Section32{
			Name: 1, Type: uint32(elf.SHT_PROGBITS), Flags: uint32(elf.SHF_ALLOC | elf.SHF_EXECINSTR),
			Addr: multibootLoad, Off: headers, Size: uint32(len(code)), Addralign: 4,
		},
		elf.Section32{Name: 7, Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint32(len(names)), Addralign: 1},
	} {
		if err := binary.Write(&b, le, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes(), code
}

// TestMultiboot: GRUB's multiboot starts a kernel of ours by version 1. GRUB leaves
// the names of files out of the command lines.
func TestMultiboot(t *testing.T) {
	slow(t)
	w := newWorkshop(t, "mke2fs", "grub-mkimage")
	kernel, code := multibootKernel(t)
	tree := w.grubTree(nil, "multiboot /kernel.elf marker=by-multiboot\nmodule /initrd.img first module\nmodule /boot/grub/grub.cfg\nboot\n")
	w.write("tree/kernel.elf", kernel)
	var screen bytes.Buffer
	h, err := int13h.Boot(t.Context(), int13h.Config{Disk: openDisk(t, w.grubWith(tree, "multiboot")), Screen: &screen, Steps: 2e9})
	if err != nil {
		t.Fatalf("%v\nscreen: %q", err, screen.String())
	}
	t.Logf("%s: %d million steps", h.Why, h.Steps/1e6)
	m := h.Multiboot
	if m == nil || m.Version != 1 || m.Load != multibootLoad || m.Entry != multibootLoad+12 || len(m.Modules) != 2 {
		t.Fatalf("caught %s, %+v", h.Why, m)
	}
	if !bytes.Equal(h.Kernel, code) {
		t.Errorf("%d bytes that are not the kernel's %d", len(h.Kernel), len(code))
	}
	if want := "marker=by-multiboot"; h.Cmdline != want {
		t.Errorf("command line %q, want %q", h.Cmdline, want)
	}
	for i, want := range []int13h.Module{
		{Data: someInitrd, Cmdline: "first module"},
		{Data: w.read(w.path("tree/boot/grub/grub.cfg"))},
	} {
		if got := m.Modules[i]; got.Cmdline != want.Cmdline || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("module %d: %q with %d bytes, want %q with %d", i, got.Cmdline, len(got.Data), want.Cmdline, len(want.Data))
		}
	}
}
