package kexec

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// archive is a newc archive of files: "name", or "name:content".
func archive(files ...string) []byte {
	var b bytes.Buffer
	align := func() { b.Write(make([]byte, -b.Len()&3)) }
	for _, f := range append(files, "TRAILER!!!") {
		name, content, _ := strings.Cut(f, ":")
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
		align()
		b.WriteString(content)
		align()
	}
	return b.Bytes()
}

func TestInspect(t *testing.T) {
	tools := archive("usr/lib/x", "conf/initramfs.conf", "scripts/local-top/iscsi")
	dracut := archive("./usr/sbin/iscsiroot", "usr/lib/dracut/hooks/cmdline")
	early := append(archive("kernel/x86/microcode/GenuineIntel.bin"), make([]byte, 300)...)
	var packed, zipped, xzed bytes.Buffer
	z, _ := zstd.NewWriter(&packed)
	z.Write(tools)
	z.Close()
	g := gzip.NewWriter(&zipped)
	g.Write(dracut)
	g.Close()
	x, _ := xz.NewWriter(&xzed)
	x.Write(dracut)
	x.Close()
	for _, tt := range []struct {
		name      string
		initramfs []byte
		want      Contents
		fails     bool
	}{
		{"plain", tools, Contents{Maker: InitramfsTools, ISCSI: true}, false},
		{"microcode, then zstd", append(early, packed.Bytes()...), Contents{Maker: InitramfsTools, ISCSI: true}, false},
		{"gzip", zipped.Bytes(), Contents{Maker: Dracut, ISCSI: true}, false},
		{"xz", xzed.Bytes(), Contents{Maker: Dracut, ISCSI: true}, false},
		{"without iSCSI", archive("conf/initramfs.conf"), Contents{Maker: InitramfsTools, ISCSI: false}, false},
		{"nothing known", archive("init"), Contents{}, false},
		{"genkernel", archive("etc/initrd.defaults", "sbin/iscsistart"), Contents{Maker: Genkernel, ISCSI: true}, false},
		{"mkinitcpio", archive("init_functions", "hooks/udev"), Contents{Maker: Mkinitcpio}, false},
		{"booster", archive("init", "etc/booster.init.yaml"), Contents{Maker: Booster}, false},
		{"empty", nil, Contents{}, false},
		{"no archive", []byte("something else"), Contents{}, true},
		{"cut off", zipped.Bytes()[:20], Contents{}, true},
		{"gzip, then more", slices.Concat(zipped.Bytes(), make([]byte, 5), tools), Contents{Maker: Dracut, ISCSI: true}, false},
		{"xz, then more", slices.Concat(xzed.Bytes(), tools), Contents{Maker: Dracut, ISCSI: true}, false},
		{"zstd, then more", slices.Concat(packed.Bytes(), make([]byte, 4), dracut), Contents{Maker: InitramfsTools, ISCSI: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Inspect(tt.initramfs)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("%+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// Whatever is damaged inside a compressed archive is seen, also behind what tells who made it.
func TestInspectDamaged(t *testing.T) {
	plain := archive("conf/initramfs.conf", "scripts/local-top/iscsi")
	plain = append(plain[:len(plain):len(plain)], make([]byte, 4<<10)...)
	// xz's reader does not look at all of the headers and the index around the data.
	around := map[string]int{"xz": 32}
	for name, pack := range map[string]func(w io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	} {
		var b bytes.Buffer
		z, err := pack(&b)
		if err != nil {
			t.Fatal(err)
		}
		z.Write(plain)
		z.Close()
		for cut := 10; cut < b.Len()-around[name]; cut += 7 {
			if _, err := Inspect(b.Bytes()[:cut]); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, cut after %d of %d bytes: %v", name, cut, b.Len(), err)
			}
		}
		for at := 12 + around[name]; at < b.Len()-around[name]; at += 3 {
			spoiled := bytes.Clone(b.Bytes())
			spoiled[at] ^= 0x55
			if _, err := Inspect(spoiled); err == nil {
				t.Errorf("%s, byte %d of %d changed: not seen", name, at, b.Len())
			}
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(archive("conf/initramfs.conf", "usr/lib/dracut/x"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) { Inspect(b) })
}
