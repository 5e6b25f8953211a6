package control

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// disks opens what LUNs serve, and closes it when no LUN does any more.
type disks struct {
	cfg    map[string]Medium // by the operator's names
	shared map[string]*disk  // those of cfg that are in use
	log    *slog.Logger      // of the stores
}

// disk is an open medium.
type disk struct {
	medium Medium
	name   string // in disks.shared; empty: it is one LUN's own
	stack  []store.Store
	users  int // LUNs
}

// top is what a LUN serves.
func (d *disk) top() store.Store { return d.stack[len(d.stack)-1] }

// close flushes and closes the stack from its top: an overlay before its base.
func (d *disk) close() error {
	var errs []error
	for i := len(d.stack) - 1; i >= 0; i-- {
		errs = append(errs, d.stack[i].Flush(), d.stack[i].Close())
	}
	return errors.Join(errs...)
}

// medium finds out what a LUN is to serve.
func (ds *disks) medium(l *LUN) (Medium, error) {
	if l.Shared == "" {
		return l.Medium, nil
	}
	m, ok := ds.cfg[l.Shared]
	if !ok {
		return m, inField("disk", fmt.Errorf("disk %q is not in disks: describe it there", l.Shared))
	}
	if l.Medium != (Medium{}) {
		return m, inField("disk", fmt.Errorf("it is disk %q: say there, and not here, what that is", l.Shared))
	}
	return m, nil
}

// take opens a LUN's disk, or finds it open. The caller gives it back with put.
func (ds *disks) take(l *LUN) (*disk, error) {
	m, err := ds.medium(l)
	if err != nil {
		return nil, err
	}
	if d := ds.shared[l.Shared]; l.Shared != "" && d != nil {
		if d.medium != m {
			return nil, fmt.Errorf("disk %q has changed while LUNs use it: remove them first", l.Shared)
		}
		d.users++
		return d, nil
	}
	d := &disk{medium: m, name: l.Shared, users: 1}
	base, err := m.open(m.fixed(), ds.log)
	if err != nil {
		return nil, err
	}
	d.stack = append(d.stack, base)
	if m.Overlay {
		d.stack = append(d.stack, store.NewOverlay(base))
	}
	if d.name != "" {
		ds.shared[d.name] = d
	}
	return d, nil
}

// put gives a disk back. The last user of it closes it.
func (ds *disks) put(d *disk) error {
	if d.users--; d.users > 0 {
		return nil
	}
	if d.name != "" {
		delete(ds.shared, d.name)
	}
	return d.close()
}

// lun makes the target server's form of a LUN.
func (d *disk) lun(l *LUN) (target.LUN, error) {
	m := &d.medium
	access, err := accessOf(l.Access)
	return target.LUN{
		Number: l.Number, Access: access, Store: d.top(), ReadOnly: m.ReadOnly, WriteThrough: m.WriteThrough, Removable: m.Removable, CDROM: m.CDROM,
		BlockSize: m.BlockSize, PhysicalBlockSize: m.PhysicalBlockSize, Identity: m.Identity,
		Vendor: m.Vendor, Product: m.Product, Revision: m.Revision, Serial: m.Serial,
		ReservationFile: m.reservationFile(),
	}, err
}

// fixed tells whether Path itself is never written.
func (m *Medium) fixed() bool { return m.ReadOnly || m.Overlay || m.CDROM }

// reservationFile returns the file of reservations or its default. What may be
// served twice at a time, read-only or below an overlay, has none: it would not be
// one disk's.
func (m *Medium) reservationFile() string {
	if m.ReservationFile != "" || m.fixed() {
		return m.ReservationFile
	}
	if info, err := os.Stat(m.Path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return m.Path + ".reservations"
}
