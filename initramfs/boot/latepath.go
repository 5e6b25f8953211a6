package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bootlun/bootlun/initiator/kernel"
)

// Bounds of the pause between two tries to log in by a path that was not there at boot, and how long its disk may take to come.
const (
	minSeek  = 5 * time.Second
	maxSeek  = time.Minute
	lateDisk = 30 * time.Second
)

// errOtherDisk is a path that does not lead to the disk.
var errOtherDisk = errors.New("it leads to another disk")

// seek tries a path that was not there at boot until it is, and adds it to the disk.
func (w *pathWatch) seek(ctx context.Context, s keptSession) {
	log := w.log.With("target", s.Target, "portal", s.Portal)
	log.Warn("a path of the disk was not there at boot: it is looked for")
	for pause := minSeek; ; pause = min(2*pause, maxSeek) {
		kept, err := w.join(ctx, s)
		switch {
		case err == nil:
			log.Warn("a path of the disk has come and is in use")
			w.keep(ctx, kept)
			return
		case errors.Is(err, errOtherDisk):
			log.Warn("a path of the disk is given up", "err", err)
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// join logs in by a path and puts its disk under the device.
func (w *pathWatch) join(ctx context.Context, s keptSession) (_ kernel.Kept, err error) {
	config := s.kept().Config
	config.LUN = s.LUN
	session, err := kernel.Login(ctx, config)
	if err != nil {
		return kernel.Kept{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, session.Logout(context.WithoutCancel(ctx)))
		}
	}()
	diskCtx, cancel := context.WithTimeout(ctx, lateDisk)
	defer cancel()
	disk, err := session.Disk(diskCtx)
	if err != nil {
		return kernel.Kept{}, err
	}
	if id := wwid(disk.Name); id != w.disk.WWID || uint64(disk.Size/512) != w.disk.Sectors {
		return kernel.Kept{}, fmt.Errorf("%w: %s of %d bytes is %q", errOtherDisk, disk.Name, disk.Size, id)
	}
	if err := hidePartitions(disk.Device); err != nil {
		w.log.Warn("the partitions of a path stay visible", "disk", disk.Name, "err", err)
	}
	number, err := blockNumber(disk.Name)
	if err == nil {
		err = w.add(number, disk.Name)
	}
	if err != nil {
		return kernel.Kept{}, err
	}
	s.SID, s.ISID = session.SID, session.ISID
	return s.kept(), nil
}

// add puts a path under the device.
func (w *pathWatch) add(number, disk string) error {
	r, err := pathRank(disk)
	if err != nil {
		w.log.Warn("how good a path is is not known", "path", disk, "err", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disk.Paths[number], w.disk.Ranks[number] = disk, r
	if err = w.regroup(); err != nil {
		delete(w.disk.Paths, number)
	}
	return err
}

// blockNumber is a disk's number, as "major:minor".
func blockNumber(disk string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/sys/block", disk, "dev"))
	return strings.TrimSpace(string(b)), err
}
