package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initiator/devmapper"
)

// pathLook is how often the keeper looks at paths. The kernel takes a path out of use by itself; it is the return that somebody
// has to find out.
const pathLook = 2 * time.Second

// keep reads by paths that have failed, and puts those that answer back into use, until ctx ends.
func (d *multipathDisk) keep(ctx context.Context, log *slog.Logger) {
	mapper, err := devmapper.Open(mapperDev)
	if err != nil {
		log.Error("nobody puts paths back into use", "err", err)
		return
	}
	defer mapper.Close()
	var checks sync.WaitGroup
	defer checks.Wait()
	w := &pathWatch{disk: d, mapper: mapper, log: log, failed: make(map[string]bool), checking: make(map[string]bool)}
	look := time.NewTicker(pathLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			w.look(&checks)
		}
	}
}

// pathWatch is what the keeper knows of a disk's paths.
type pathWatch struct {
	disk   *multipathDisk
	mapper *devmapper.Mapper
	log    *slog.Logger
	failed map[string]bool // as told of

	mu       sync.Mutex
	checking map[string]bool // a read by the path is under way
}

func (w *pathWatch) look(checks *sync.WaitGroup) {
	paths, err := w.mapper.Paths(w.disk.Name)
	if err != nil {
		w.log.Warn("cannot see how the paths are", "err", err)
		return
	}
	for _, p := range paths {
		name := w.disk.Paths[p.Device]
		if p.Failed != w.failed[p.Device] {
			w.failed[p.Device] = p.Failed
			if p.Failed {
				w.log.Warn("a path of the disk has failed; I/O goes by the others", "path", name)
			}
		}
		if p.Failed && w.begin(p.Device) {
			checks.Go(func() { w.check(p.Device, name) })
		}
	}
}

// begin notes that a path is being checked, unless it is already: a read by a path that has just lost its connection waits.
func (w *pathWatch) begin(device string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.checking[device] {
		return false
	}
	w.checking[device] = true
	return true
}

// check reads by a path, and puts it back into use if that works.
func (w *pathWatch) check(device, name string) {
	defer func() {
		w.mu.Lock()
		delete(w.checking, device)
		w.mu.Unlock()
	}()
	if err := readFirst("/dev/" + name); err != nil {
		return
	}
	if err := w.mapper.Message(w.disk.Name, "reinstate_path "+device); err != nil {
		w.log.Warn("a path answers but cannot be put back into use", "path", name, "err", err)
		return
	}
	w.log.Warn("a path of the disk is back in use", "path", name)
}

// readFirst reads the start of a disk, from the disk and not from memory.
func readFirst(device string) error {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const block, alignment = 4096, 4096
	buf := make([]byte, block+alignment)
	skip := -int(uintptr(unsafe.Pointer(&buf[0]))) & (alignment - 1)
	_, err = unix.Read(fd, buf[skip:skip+block])
	return err
}

// removeMaps takes the root's mapped devices away, partitions first.
func removeMaps() error {
	uuids, err := filepath.Glob("/sys/block/dm-*/dm/uuid")
	if err != nil || len(uuids) == 0 {
		return err
	}
	mapper, err := devmapper.Open(mapperDev)
	if err != nil {
		return err
	}
	defer mapper.Close()
	var errs []error
	for _, prefix := range []string{uuidPart, uuidMap} {
		for _, path := range uuids {
			uuid, err := os.ReadFile(path)
			if err != nil || !strings.HasPrefix(string(uuid), prefix) {
				continue
			}
			name, err := os.ReadFile(filepath.Join(filepath.Dir(path), "name"))
			if err == nil {
				err = mapper.Remove(strings.TrimSpace(string(name)))
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("take %s away: %w", path, err))
			}
		}
	}
	return errors.Join(errs...)
}
