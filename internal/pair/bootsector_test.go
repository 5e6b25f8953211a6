package pair

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/internal/testkernel"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/targettest"
)

// cutting is a LUN whose connection is lost at every thirtieth read.
type cutting struct {
	*initiator.LUN
	net   *network
	reads int
}

func (c *cutting) ReadAt(p []byte, off int64) (int, error) {
	if c.reads++; c.reads%30 == 0 {
		c.net.cut()
	}
	return c.LUN.ReadAt(p, off)
}

// A boot sector runs over the network as from a file: what it starts is what is on
// the disk, also when the connection is lost on the way.
func TestBootSector(t *testing.T) {
	if os.Getenv("BOOTLUN_TEST_INT13H") == "" {
		t.Skip("SKIP: interprets hundreds of millions of instructions: make test-int13h")
	}
	dir := t.TempDir()
	kernel, initrd := testkernel.Image(), bytes.Repeat([]byte("an initial RAM disk, "), 50001)
	disk, loader := filepath.Join(dir, "disk.img"), rootfs.LoaderConfig{
		Kernel: filepath.Join(dir, "kernel"), Initrd: filepath.Join(dir, "initrd"), Cmdline: "marker=over-iscsi",
	}
	if err := os.WriteFile(loader.Kernel, kernel, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(loader.Initrd, initrd, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := rootfs.Loader(t.Context(), disk, loader); err != nil {
		t.Fatal(err)
	}
	boots := func(t *testing.T, lun int13h.Disk) {
		h, err := int13h.Boot(t.Context(), int13h.Config{Disk: lun})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(h.Kernel, kernel[len(kernel)-1<<20:]) || !bytes.Equal(h.Initrd, initrd) || !strings.HasSuffix(h.Cmdline, loader.Cmdline) {
			t.Errorf("a kernel of %d bytes, an initramfs of %d, command line %q: not those on the disk", len(h.Kernel), len(h.Initrd), h.Cmdline)
		}
	}
	ours := func(t *testing.T) *targettest.Server {
		s, err := store.OpenFile(disk, store.FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return targettest.NewServer(t, targettest.Options{Store: s})
	}
	t.Run("our target", func(t *testing.T) { boots(t, open(t, config(ours(t)))) })
	t.Run("lost connections", func(t *testing.T) {
		var net network
		cfg := config(ours(t))
		cfg.Dialer = &net
		lun := &cutting{LUN: open(t, cfg), net: &net}
		boots(t, lun)
		if net.dials < 3 {
			t.Errorf("%d connections: the loss has not been tried", net.dials)
		}
	})
	t.Run("tgt", func(t *testing.T) {
		g := peers.TGTFor(t, "127.0.0.1")
		if _, err := g.Target(name+"-tgt", []string{disk}); err != nil {
			t.Fatal(err)
		}
		s, err := initiator.Dial(t.Context(), initiator.Config{Initiator: name, Target: name + "-tgt", Portal: g.Portal, Recovery: initiator.Recovery{Limit: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		number, err := iscsi.MakeLUN(1)
		if err != nil {
			t.Fatal(err)
		}
		lun, err := s.OpenLUN(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		boots(t, lun)
	})
}
