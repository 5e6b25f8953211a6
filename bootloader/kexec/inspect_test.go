package kexec

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// archive is a newc archive of empty files.
func archive(names ...string) []byte {
	var b bytes.Buffer
	for _, name := range append(names, "TRAILER!!!") {
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", 1, 0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name)+1, 0, name)
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
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
		{"plain", tools, Contents{InitramfsTools, true}, false},
		{"microcode, then zstd", append(early, packed.Bytes()...), Contents{InitramfsTools, true}, false},
		{"gzip", zipped.Bytes(), Contents{Dracut, true}, false},
		{"xz", xzed.Bytes(), Contents{Dracut, true}, false},
		{"without iSCSI", archive("conf/initramfs.conf"), Contents{InitramfsTools, false}, false},
		{"nothing known", archive("init"), Contents{}, false},
		{"empty", nil, Contents{}, false},
		{"no archive", []byte("something else"), Contents{}, true},
		{"cut off", zipped.Bytes()[:20], Contents{}, true},
		{"gzip, then more", slices.Concat(zipped.Bytes(), make([]byte, 5), tools), Contents{Dracut, true}, false},
		{"xz, then more", slices.Concat(xzed.Bytes(), tools), Contents{Dracut, true}, false},
		{"zstd, then more", slices.Concat(packed.Bytes(), make([]byte, 4), dracut), Contents{InitramfsTools, true}, false},
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

func TestComplete(t *testing.T) {
	for _, tt := range []struct {
		line  string
		maker Maker
		want  string
	}{
		{"root=UUID=1 ro", InitramfsTools, "root=UUID=1 ro iscsi_auto"},
		{"iscsi_auto root=UUID=1", InitramfsTools, "iscsi_auto root=UUID=1"},
		{"ro iscsi_target_name=iqn.x", InitramfsTools, "ro iscsi_target_name=iqn.x"},
		{"ro quiet", Dracut, "ro quiet rd.iscsi.firmware=1 ip=ibft"},
		{"ro rd.iscsi.firmware ip=dhcp", Dracut, "ro rd.iscsi.firmware ip=dhcp"},
		{"ro netroot=iscsi:x", Dracut, "ro netroot=iscsi:x ip=ibft"},
		{"ro -- single", Dracut, "ro rd.iscsi.firmware=1 ip=ibft -- single"},
		{"", InitramfsTools, "iscsi_auto"},
		{"ro", Unknown, "ro"},
	} {
		got := Complete(tt.line, tt.maker)
		if got != tt.want {
			t.Errorf("%q for %s: %q, want %q", tt.line, tt.maker, got, tt.want)
		}
		if again := Complete(got, tt.maker); again != got {
			t.Errorf("%q grew to %q", got, again)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(archive("conf/initramfs.conf", "usr/lib/dracut/x"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) { Inspect(b) })
}
