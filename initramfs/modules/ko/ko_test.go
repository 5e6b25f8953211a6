package ko

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/bootlun/bootlun/initramfs/modules"
)

// fakeModule returns an ELF file with nothing in it but a .modinfo section.
func fakeModule(entries ...string) []byte {
	info := []byte(strings.Join(entries, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	const headerSize, sectionSize = 64, 64
	infoAt := uint64(headerSize)
	namesAt := infoAt + uint64(len(info))
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Shoff: namesAt + uint64(len(names)), Ehsize: headerSize, Shentsize: sectionSize, Shnum: 3, Shstrndx: 2,
	}
	sections := []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: infoAt, Size: uint64(len(info))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names))},
	}
	var b bytes.Buffer
	for _, part := range []any{header, info, names, sections} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic(err) // fixed-size values into a buffer
		}
	}
	return b.Bytes()
}

// packed compresses data for a file of that extension.
func packed(t *testing.T, ext string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case "":
		return data
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestScan(t *testing.T) {
	for _, ext := range []string{"", ".gz", ".xz", ".zst"} {
		t.Run("ko"+ext, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "6.1.0-test")
			file := func(name string, entries ...string) {
				write(t, filepath.Join(dir, name+ext), packed(t, ext, fakeModule(entries...)))
			}
			file("kernel/a/late.ko", "name=late", "alias=pci:v*", "depends=", "license=GPL")
			file("kernel/z/early-one.ko", "alias=pci:v*", "alias=x-y:*", "depends=late,other-one",
				"softdep=pre: p1 p2 post: q1", "softdep=pre: p3", "firmware=a/b.bin")
			file("kernel/other-one.ko", "name=other_one", "depends=")
			write(t, filepath.Join(dir, "modules.order"), []byte("kernel/z/early-one.ko\nkernel/a/late.ko\n"))
			write(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/fs/ext4/ext4.ko\nkernel/lib/crc-t10dif.ko\n"))
			write(t, filepath.Join(dir, "modules.builtin.modinfo"), []byte("ext4.license=GPL\x00ext4.alias=fs-ext4\x00crc_t10dif.softdep=pre: x\x00unix.alias=net-pf-1\x00"))
			write(t, filepath.Join(dir, "build"), []byte("no module"))

			x, err := Scan(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(`bootlun-modules-1 6.1.0-test
builtin ext4
alias fs_ext4
builtin crc_t10dif
builtin unix
alias net_pf_1
module early_one kernel/z/early-one.ko+
alias pci:v*
alias x_y:*
depends late
depends other-one
pre p1
pre p2
pre p3
post q1
firmware a/b.bin
module late kernel/a/late.ko+
alias pci:v*
module other_one kernel/other-one.ko+
`, "+", ext)
			if got := string(x.Encode()); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestScanErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Scan(t.Context(), dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Scan(t.Context(), filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	good := fakeModule("name=good")
	write(t, filepath.Join(dir, "kernel/good.ko"), good)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for name, data := range map[string][]byte{
		"cut.ko":     good[:len(good)-70],
		"noelf.ko":   []byte("hello"),
		"empty.ko":   nil,
		"bad.ko.xz":  []byte("hello"),
		"bad.ko.gz":  []byte("hello"),
		"bad.ko.zst": []byte("hello"),
		"cut.ko.zst": packed(t, ".zst", good)[:20],
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "kernel", name), data)
			if _, err := Scan(t.Context(), dir); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v, want one about %s", err, name)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	data := make([]byte, 5000)
	for _, ext := range []string{"", ".gz", ".xz"} {
		if _, err := decompress(bytes.NewReader(packed(t, ext, data)), ext, 4999); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%q: error %v, want ErrTooLarge", ext, err)
		}
		if got, err := decompress(bytes.NewReader(packed(t, ext, data)), ext, 5000); err != nil || len(got) != 5000 {
			t.Errorf("%q: %d bytes, error %v", ext, len(got), err)
		}
	}
}

// FuzzModinfo checks that no file makes the reader panic or eat memory.
func FuzzModinfo(f *testing.F) {
	f.Add(fakeModule("name=a", "alias=b", "softdep=pre: c post: d", "depends=e,f"))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := readModinfo(bytes.NewReader(data))
		if err != nil {
			return
		}
		m := parseModinfo(info, "kernel/a-b.ko")
		x := &modules.Index{Version: "1"}
		if err := x.Add(m); err == nil && !slices.Contains(x.All(), m) {
			t.Fatal("a module that was added is not there")
		}
	})
}
