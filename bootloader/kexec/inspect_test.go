package kexec

import (
	"bytes"
	"compress/gzip"
	"fmt"
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
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Inspect(tt.initramfs)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("%+v, %v; want %+v", got, err, tt.want)
			}
		})
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
