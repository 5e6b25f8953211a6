package boot

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/bootlun/bootlun/bootloader/entries"
	"github.com/bootlun/bootlun/bootloader/files"
)

// benchRounds is how often each way is measured. They take turns.
const benchRounds = 3

// bench measures, before the machine boots on, how fast the default entry's
// kernel and initramfs are read: through our session; from a file system that
// Linux has mounted, over a session of its own; and how fast as many bytes
// come by bare TCP from bootlun.bench=, which sends without end.
func (m *machine) bench(ctx context.Context, c console) error {
	e := m.own.menu.Entries[m.own.menu.Default]
	mounted, err := m.mountVolume(ctx, e.Kernel.Volume.Volume)
	if err != nil {
		return err
	}
	var size int64
	ways := []struct {
		name string
		read func() error
	}{
		{"bench initiator", func() error {
			open, err := files.Open(m.own.lun, e.Kernel.Volume.Volume) // nothing of it has been read yet
			if err != nil {
				return err
			}
			size, err = readEntry(e, &entries.Volume{Volume: e.Kernel.Volume.Volume, Files: open})
			return err
		}},
		{"bench kernel", func() error {
			if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
				return err
			}
			size, err = readEntry(e, &entries.Volume{Volume: e.Kernel.Volume.Volume, Files: mounted})
			return err
		}},
		{"bench tcp", func() error { return receive(ctx, m.cfg.Bench, size) }},
	}
	for range benchRounds {
		for _, w := range ways {
			start := time.Now()
			if err := w.read(); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			took := time.Since(start)
			c.result(Result{Step: w.name, Took: took, Detail: rate(size, took)})
		}
	}
	return nil
}

// rate is what a step says of bytes that it read.
func rate(size int64, took time.Duration) string {
	return fmt.Sprintf("%.1f MB, %.1f MB/s", float64(size)/1e6, float64(size)/1e6/took.Seconds())
}

// readEntry reads an entry from a volume in the place of its own.
func readEntry(e *entries.Entry, v *entries.Volume) (int64, error) {
	here := *e
	here.Kernel.Volume = v
	here.Initramfs = nil
	for _, f := range e.Initramfs {
		here.Initramfs = append(here.Initramfs, entries.File{Volume: v, Path: f.Path})
	}
	img, err := here.Load(entries.LoadOptions{})
	return int64(len(img.Kernel) + len(img.Initramfs)), err
}

// receive reads that many bytes from whoever listens there.
func receive(ctx context.Context, addr string, size int64) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 1<<20)
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(struct{ io.Reader }{conn}, size), buf)
	return err
}
