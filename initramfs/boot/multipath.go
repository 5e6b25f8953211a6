package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initiator/devmapper"
	"github.com/bootlun/bootlun/initiator/kernel"
)

// pathLook is how often the keeper looks at paths. The kernel takes a path out of use by itself; it is the return that somebody
// has to find out.
const pathLook = 2 * time.Second

// stateLook is how often it asks targets how good paths are.
const stateLook = 5 * time.Second

// keep reads by paths that have failed, and puts those that answer back into use, sorts paths by how good they are, and looks for
// those that are missing, until ctx ends. Sessions of paths that come are given to keep, which returns when they end.
func (d *multipathDisk) keep(ctx context.Context, log *slog.Logger, keep func(context.Context, kernel.Kept)) {
	mapper, err := devmapper.Open(mapperDev)
	if err != nil {
		log.Error("nobody puts paths back into use", "err", err)
		return
	}
	defer mapper.Close()
	var checks sync.WaitGroup
	defer checks.Wait()
	w := &pathWatch{
		disk: d, mapper: mapper, log: log, keep: keep,
		groups: d.groups(), failed: make(map[string]bool), checking: make(map[string]bool),
	}
	for _, s := range d.Missing {
		checks.Go(func() { w.seek(ctx, s) })
	}
	look, states := time.NewTicker(pathLook), time.NewTicker(stateLook)
	defer look.Stop()
	defer states.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			w.look(&checks)
		case <-states.C:
			w.askStates(&checks)
		}
	}
}

// pathWatch is what the keeper knows of a disk's paths.
type pathWatch struct {
	disk   *multipathDisk
	mapper *devmapper.Mapper
	log    *slog.Logger
	keep   func(context.Context, kernel.Kept)
	failed map[string]bool // as told of

	mu       sync.Mutex      // of these, and of the paths and ranks of disk
	groups   [][]string      // as the kernel has them
	checking map[string]bool // a read by the path is under way
}

func (w *pathWatch) look(checks *sync.WaitGroup) {
	w.sort()
	paths, err := w.mapper.Paths(w.disk.Name)
	if err != nil {
		w.log.Warn("cannot see how the paths are", "err", err)
		return
	}
	for _, p := range paths {
		name := w.name(p.Device)
		if p.Failed != w.failed[p.Device] {
			w.failed[p.Device] = p.Failed
			if p.Failed {
				w.log.Warn("a path of the disk has failed; I/O goes by the others", "path", name)
			}
		}
		if p.Failed && w.begin(p.Device) {
			checks.Go(func() {
				defer w.end(p.Device)
				w.check(p.Device, name)
			})
		}
	}
}

// askStates asks how good the paths are. A path that has lost its connection answers late.
func (w *pathWatch) askStates(checks *sync.WaitGroup) {
	w.mu.Lock()
	paths := maps.Clone(w.disk.Paths)
	w.mu.Unlock()
	for device, name := range paths {
		if w.begin(device) {
			checks.Go(func() {
				defer w.end(device)
				if r, err := pathRank(name); err == nil {
					w.mu.Lock()
					w.disk.Ranks[device] = r
					w.mu.Unlock()
				}
			})
		}
	}
}

// sort puts the paths into other groups if some have become better or worse.
func (w *pathWatch) sort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if reflect.DeepEqual(w.disk.groups(), w.groups) {
		return
	}
	if err := w.regroup(); err != nil {
		w.log.Warn("the paths cannot be sorted anew", "err", err)
	}
}

// regroup gives the device a table of the paths as they are now. The caller holds w.mu.
func (w *pathWatch) regroup() error {
	groups := w.disk.groups()
	if err := w.mapper.Replace(w.disk.Name, w.disk.table(groups)); err != nil {
		return err
	}
	w.groups = groups
	w.log.Warn("the paths of the disk, the best first", "groups", groups)
	return nil
}

// name is the name of a path's disk.
func (w *pathWatch) name(device string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.disk.Paths[device]
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

// end is the end of what begin began.
func (w *pathWatch) end(device string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.checking, device)
}

// check reads by a path, and puts it back into use if that works.
func (w *pathWatch) check(device, name string) {
	if err := readFirst("/dev/" + name); err != nil {
		return
	}
	if err := w.mapper.Message(w.disk.Name, "reinstate_path "+device); err != nil {
		w.log.Warn("a path answers but cannot be put back into use", "path", name, "err", err)
		return
	}
	w.log.Warn("a path of the disk is back in use", "path", name)
	// The kernel stays with a worse group for as long as that works.
	if err := w.mapper.Message(w.disk.Name, "switch_group 1"); err != nil {
		w.log.Warn("go back to the best paths", "err", err)
	}
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
