package kexec

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testHypervisor is an ELF file of 32 bits as Xen's is: one part, 64 KiB of which are in the file and 96 KiB in memory, linked to lie
// at 2 MiB, with the headers of both versions.
func testHypervisor() []byte {
	const part, fileSize, size = 0x80, 64 << 10, 96 << 10
	le := binary.LittleEndian
	b := make([]byte, part+fileSize)
	copy(b, "\x7FELF\x01\x01\x01")
	le.PutUint32(b[24:], 0x200000) // e_entry
	le.PutUint32(b[28:], 52)       // e_phoff
	le.PutUint16(b[42:], 32)       // e_phentsize
	le.PutUint16(b[44:], 1)        // e_phnum
	for i, v := range []uint32{1, part, 0x200000, 0x200000, fileSize, size, 7, 64} {
		le.PutUint32(b[52+4*i:], v)
	}
	for i, v := range []uint32{multiboot1Header, 3, negative(multiboot1Header + 3)} {
		le.PutUint32(b[part+8+4*i:], v)
	}
	putHeader2(b[part+0x20:],
		1, 16, 4, 6, // information: memory's size and map
		6|1<<16, 8, // modules aligned to pages
		10|1<<16, 24, 0x200000, 0xFFFFFFFF, 0x200000, 2, // can be moved
		9|1<<16, 12, 0x3DD531, 0, // EFI entry
	)
	b[len(b)-1] = 0xEE
	return b
}

const (
	multiboot1Header = 0x1BADB002
	multiboot2Header = 0xE85250D6
)

// negative makes a sum zero.
func negative(v uint32) uint32 { return -v }

// putHeader2 writes a header of version 2 with tags and the one that ends them.
func putHeader2(b []byte, tags ...uint32) {
	tags = append(tags, 0, 8)
	length := uint32(16 + 4*len(tags))
	for i, v := range append([]uint32{multiboot2Header, 0, length, negative(multiboot2Header + length)}, tags...) {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
}

func pack(t *testing.T, data []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func TestParseMultiboot(t *testing.T) {
	image := testHypervisor()
	for _, version := range []int{1, 2} {
		k, err := parseMultiboot(Hypervisor{Version: version, Image: pack(t, image)})
		if err != nil {
			t.Fatal(err)
		}
		if k.at != 0x200000 || k.entry != 0x200000 || k.size != 96<<10 || !bytes.Equal(k.data, image[0x80:]) {
			t.Errorf("multiboot %d: %#x with %#x bytes, %d of them from the file, entry %#x", version, k.at, k.size, len(k.data), k.entry)
		}
		if moves := k.align == 0x200000 && k.low == 0x200000 && k.high == 0xFFFFFFFF; moves != (version == 2) {
			t.Errorf("multiboot %d: can be moved to a multiple of %#x in %#x to %#x", version, k.align, k.low, k.high)
		}
	}
	// A boot loader has put it to 16 MiB.
	k, err := parseMultiboot(Hypervisor{Version: 2, Image: image[0x80:], Load: 16 << 20, Entry: 16<<20 + 64})
	if err != nil || k.at != 16<<20 || k.entry != 16<<20+64 || k.size <= 96<<10 || k.align != 0x200000 {
		t.Errorf("loaded: %v, %#x with %#x bytes, entry %#x", err, k.at, k.size, k.entry)
	}
}

// What is no ELF file says in its header how to load it.
func TestParseMultibootAddresses(t *testing.T) {
	le := binary.LittleEndian
	one := make([]byte, 0x400)
	for i, v := range []uint32{multiboot1Header, 0x10000, negative(multiboot1Header + 0x10000), 0x100100, 0x100080, 0x100280, 0x101000, 0x100120} {
		le.PutUint32(one[0x100+4*i:], v)
	}
	two := make([]byte, 0x400)
	putHeader2(two[0x100:], 2, 24, 0x100100, 0xFFFFFFFF, 0, 0x101000, 3, 12, 0x100120, 0)
	for _, tt := range []struct {
		version  int
		image    []byte
		at, size uint64
		data     []byte
	}{
		{1, one, 0x100080, 0xF80, one[0x80:0x280]},
		{2, two, 0x100000, 0x1000, two},
	} {
		k, err := parseMultiboot(Hypervisor{Version: tt.version, Image: tt.image})
		if err != nil || k.at != tt.at || k.size != tt.size || k.entry != 0x100120 || !bytes.Equal(k.data, tt.data) {
			t.Errorf("multiboot %d: %v, %#x with %#x bytes, %#x of them from the file, entry %#x", tt.version, err, k.at, k.size, len(k.data), k.entry)
		}
	}
}

func TestParseMultibootRefuses(t *testing.T) {
	good := testHypervisor()
	with := func(offset int, value uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[offset:], value)
		return b
	}
	requires := bytes.Clone(good)
	putHeader2(requires[0xA0:], 1, 16, 4, 7) // VBE
	unknown := bytes.Clone(good)
	putHeader2(unknown[0xA0:], 77, 8)
	packed := pack(t, good)
	for _, tt := range []struct {
		name, want string
		version    int
		image      []byte
		damaged    bool
	}{
		{"empty", "no multiboot header", 2, nil, false},
		{"version", "version 3", 3, good, false},
		{"only the other", "no multiboot header", 1, with(0x8C, 5), false},
		{"packed and cut", "unpack", 2, packed[:len(packed)-9], true},
		{"cut", "do not exist", 2, good[:0x1000], true},
		{"entry", "outside of what is loaded", 2, with(24, 0x300000), true},
		{"headers outside", "program headers", 2, with(28, 1<<30), true},
		{"large", "larger than", 2, with(52+20, 1<<31), false},
		{"required information", "tag 7", 2, requires, false},
		{"required tag", "tag 77", 2, unknown, false},
		{"tag without end", "tag 10", 2, with(0xA0+16+28, 1<<31), true},
	} {
		_, err := parseMultiboot(Hypervisor{Version: tt.version, Image: tt.image})
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrDamaged) != tt.damaged {
			t.Errorf("%s: error = %v, want %q, damaged %v", tt.name, err, tt.want, tt.damaged)
		}
	}
}

// Debian's Xen can be loaded by either version.
func TestParseXen(t *testing.T) {
	dir := t.TempDir()
	for _, command := range []string{
		"apt-get -q -o APT::Sandbox::User=root download xen-hypervisor-4.17-amd64", "dpkg-deb -x xen-hypervisor-*.deb .",
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("SKIP: needs Debian's package of Xen: %s: %v\n%s", command, err, out)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "boot", "xen-*.gz"))
	if err != nil || len(files) != 1 {
		t.Fatalf("Debian's package has %v, %v", files, err)
	}
	image, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []int{1, 2} {
		k, err := parseMultiboot(Hypervisor{Version: version, Image: image})
		if err != nil {
			t.Fatal(err)
		}
		if k.at != 0x200000 || k.entry != k.at || k.size < uint64(len(k.data)) || (k.align != 0) != (version == 2) {
			t.Errorf("%s, multiboot %d: %#x with %#x bytes, %#x of them from the file, entry %#x, aligned to %#x",
				filepath.Base(files[0]), version, k.at, k.size, len(k.data), k.entry, k.align)
		}
	}
}

func TestCompleteXen(t *testing.T) {
	for line, want := range map[string]string{
		"":                                 "no-real-mode edd=off",
		"placeholder console=com1":         "placeholder console=com1 no-real-mode edd=off",
		"no-real-mode edd=off dom0_mem=1G": "no-real-mode edd=off dom0_mem=1G",
		"edd=skipmbr -- root=/dev/sda1 ro": "edd=skipmbr no-real-mode -- root=/dev/sda1 ro",
	} {
		if got := CompleteXen(line); got != want {
			t.Errorf("CompleteXen(%q) = %q, want %q", line, got, want)
		}
	}
}

// FuzzParseMultiboot: whatever the file says, what is to be loaded is bounded and inside of it.
func FuzzParseMultiboot(f *testing.F) {
	f.Add(2, testHypervisor(), uint32(0), uint32(0))
	f.Add(1, testHypervisor()[:0x100], uint32(1<<20), uint32(1<<20+4))
	f.Fuzz(func(t *testing.T, version int, image []byte, load, entry uint32) {
		k, err := parseMultiboot(Hypervisor{Version: version, Image: image, Load: load, Entry: entry})
		if err != nil {
			return
		}
		if uint64(len(k.data)) > k.size || k.size > maxHypervisor+unsaidSize || k.entry-k.at >= uint64(len(k.data)) {
			t.Errorf("%#x with %#x bytes, %#x of them from the file, entry %#x", k.at, k.size, len(k.data), k.entry)
		}
	})
}
