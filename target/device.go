package target

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/bootlun/bootlun/target/store"
)

// devices are the units of a server, one for each store, and the ports that they
// are reached by.
type devices struct {
	mu    sync.Mutex // taken before a unit's
	units map[store.Store]*unit
	ports map[portID]*port

	// groups are the target port groups as they have been configured.
	groups map[uint16]access
}

func newDevices(groups []PortGroup) *devices {
	d := &devices{
		units: make(map[store.Store]*unit), ports: make(map[portID]*port), groups: make(map[uint16]access),
	}
	for _, g := range groups {
		d.groups[g.ID] = access{state: g.State, preferred: g.Preferred}
	}
	return d
}

// location is a LUN of a target: a way to reach a unit.
type location struct {
	target *target
	number int
}

// open returns the unit of a LUN: that of its store, which is made if this is
// the store's first LUN.
func (d *devices) open(l LUN, at location) (*unit, error) {
	l = l.withDefaults()
	l.Number, l.Access = 0, nil
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.units[l.Store]
	if u == nil {
		identity := l.Identity
		setDefault(&identity, fmt.Sprintf("%s,%d", at.target.name, at.number))
		if err := d.checkReservationFile(l.ReservationFile); err != nil {
			return nil, err
		}
		var err error
		if u, err = newUnit(l, identity); err != nil {
			return nil, err
		}
		u.groups = maps.Clone(d.groups)
		d.units[l.Store] = u
	} else if l != u.cfg {
		return nil, errors.New("its store is behind another LUN with other settings: LUNs of one store are one disk and differ in nothing but their number and who may use them")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.locations = append(u.locations, at)
	return u, nil
}

// checkReservationFile refuses a file that is another unit's. The caller holds
// d.mu.
func (d *devices) checkReservationFile(path string) error {
	for _, u := range d.units {
		if path != "" && u.cfg.ReservationFile == path {
			return fmt.Errorf("reservations: %s is another disk's", path)
		}
	}
	return nil
}

// close gives up a LUN, and its unit if that was the last: it is then no longer
// sanitized.
func (d *devices) close(u *unit, at location) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.locations = slices.DeleteFunc(u.locations, func(l location) bool { return l == at })
	if len(u.locations) > 0 {
		return nil
	}
	delete(d.units, u.store)
	return u.sanitizer.stop(endGrace)
}

// closeAll gives up all LUNs of a target, and its ports.
func (d *devices) closeAll(t *target) error {
	var errs []error
	for number, u := range t.units.Load().byNumber {
		errs = append(errs, d.close(u, location{t, number}))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range t.ports {
		delete(d.ports, p.portID)
	}
	return errors.Join(errs...)
}

// portID names a SCSI target port: a target's portal group (RFC 7143, 4.4.1).
type portID struct {
	target string
	tag    uint16
}

// String returns the SCSI name of the port.
func (p portID) String() string { return fmt.Sprintf("%s,t,0x%04x", p.target, p.tag) }

// port is a SCSI target port.
type port struct {
	portID
	relative uint16 // its relative target port identifier, which no other port has
	group    uint16 // its target port group
}

// addPort makes a port, which gets the lowest number that is free.
func (d *devices) addPort(id portID, group uint16) *port {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := make(map[uint16]bool)
	for _, p := range d.ports {
		taken[p.relative] = true
	}
	p := &port{portID: id, relative: 1, group: group}
	for taken[p.relative] {
		p.relative++
	}
	d.ports[id] = p
	return p
}

// identify derives the identifiers by which initiators know the disk again: from
// a name, so that they are the same on every server that is configured alike.
func (u *unit) identify(name string) {
	sum := sha256.Sum256([]byte(name))
	// NAA 6, IEEE Registered Extended (SPC-4, 7.8.6.6.5). The company id is
	// locally administered, as the second bit of its first byte says.
	copy(u.naa[:], sum[:])
	u.naa[0], u.naa[1], u.naa[2] = 0x60, 0x2b, 0x00
	u.naa[3] = 0x70 | sum[3]&0x0f
	u.serial = u.cfg.Serial
	setDefault(&u.serial, hex.EncodeToString(sum[16:26]))
}
