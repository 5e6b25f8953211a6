package target

import (
	"maps"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
)

// unit is a logical unit: one disk, whatever the number of targets and LUNs that
// it is reached by. What an initiator does to it by one of them holds for all.
type unit struct {
	cfg          LUN // without the number
	store        store.Store
	prompt       store.Prompt        // store, if it is one
	durable      store.DurableWriter // the same
	shift        uint                // log2 of the block size
	physical     uint                // log2 of the physical block size
	readOnly     bool
	writeThrough bool
	removable    bool
	thin         bool
	inquiry      scsi.InquiryData
	serial       string
	naa          [16]byte

	blocks  atomic.Uint64 // changed by resize
	ejected atomic.Bool   // the medium is out

	modes     modes
	wear      wear
	sanitizer sanitizer

	// changing is held by writes for reading, and by what must not be
	// interrupted by them for writing.
	changing sync.RWMutex

	// reserving is held by what changes reservations. It comes before mu.
	reserving sync.Mutex

	mu           sync.Mutex // taken before a session's
	nexuses      map[*nexus]struct{}
	locations    []location        // where it is found
	reservations *reservations     // persistent ones; nobody changes what this points to
	reservedBy   *nexus            // by RESERVE; nil: nobody
	groups       map[uint16]access // by target port group; others are active
	lostWrites   bool              // a flush has failed, and all have been told
}

// What INQUIRY data says unless configured.
const (
	defaultVendor  = "BOOTLUN"
	defaultProduct = "VIRTUAL-DISK"

	defaultDiscProduct = "VIRTUAL-CDROM"
	defaultRevision    = "0001"
)

// Version descriptors (SPC-4, 6.6.2): iSCSI, SAM-5, SPC-4 and SBC-3, no version
// claimed of each.
var versions = []uint16{0x0960, 0x00a0, 0x0460, 0x04c0}

// discVersions are those of a CD-ROM: MMC-5 in the place of SBC-3.
var discVersions = []uint16{0x0960, 0x00a0, 0x0460, 0x0420}

// newUnit makes the unit of a LUN that has its defaults.
func newUnit(l LUN, identity string) (*unit, error) {
	kept, err := loadReservations(l.ReservationFile)
	if err != nil {
		return nil, err
	}
	u := &unit{
		cfg:          l,
		store:        l.Store,
		shift:        uint(bits.TrailingZeros(uint(l.BlockSize))),
		physical:     uint(bits.TrailingZeros(uint(l.PhysicalBlockSize))),
		readOnly:     l.ReadOnly,
		writeThrough: l.WriteThrough,
		removable:    l.Removable,
		thin:         store.CanDiscard(l.Store),
		nexuses:      make(map[*nexus]struct{}),
		reservations: kept,
	}
	u.blocks.Store(uint64(l.Store.Size()) >> u.shift)
	u.prompt, _ = l.Store.(store.Prompt)
	u.durable, _ = l.Store.(store.DurableWriter)
	if r, ok := l.Store.(store.ReadOnlyer); ok && r.ReadOnly() {
		u.readOnly = true
	}
	u.identify(identity)
	u.inquiry = scsi.InquiryData{
		Type: scsi.TypeDisk, Removable: l.Removable, Version: scsi.VersionSPC4, CmdQue: true, ThirdParty: true,
		TPGS:   3, // implicit and explicit
		Vendor: l.Vendor, Product: l.Product, Revision: l.Revision, Descriptors: versions,
	}
	if l.CDROM {
		u.thin = false
		u.inquiry.Type, u.inquiry.ThirdParty, u.inquiry.TPGS = scsi.TypeCDROM, false, 0
		u.inquiry.Descriptors = discVersions
	}
	return u, nil
}

func (u *unit) blockSize() int64 { return 1 << u.shift }

// read fills p from the medium. Without wait it may return errWait.
func (u *unit) read(p []byte, off int64, wait bool) error {
	var err error
	switch {
	case wait:
		_, err = u.store.ReadAt(p, off)
	case u.prompt == nil:
		return errWait
	default:
		_, err = u.prompt.TryReadAt(p, off)
	}
	if err != nil {
		return u.mediumError(err, off, scsi.ASCUnrecoveredReadError)
	}
	return nil
}

// write is read's counterpart.
func (u *unit) write(p []byte, off int64, wait bool) error {
	var err error
	switch {
	case wait:
		u.changing.RLock()
		err = u.change(p, off)
		u.changing.RUnlock()
	case u.prompt == nil || !u.changing.TryRLock():
		return errWait
	default:
		if err = u.sanitizer.excludes(); err == nil {
			_, err = u.prompt.TryWriteAt(p, off)
		}
		u.changing.RUnlock()
	}
	if err != nil {
		return u.mediumError(err, off, scsi.ASCWriteError)
	}
	return nil
}

// change writes p to the store, unless the unit is being sanitized. The caller
// holds u.changing.
func (u *unit) change(p []byte, off int64) error {
	if err := u.sanitizer.excludes(); err != nil {
		return err
	}
	_, err := u.store.WriteAt(p, off)
	return err
}

// writeDurable is write straight to the medium. Without wait it returns errWait.
func (u *unit) writeDurable(p []byte, off int64, wait bool) error {
	if !wait {
		return errWait
	}
	u.changing.RLock()
	defer u.changing.RUnlock()
	err := u.sanitizer.excludes()
	if err == nil {
		_, err = u.durable.WriteDurable(p, off)
	}
	if err != nil {
		return u.mediumError(err, off, scsi.ASCWriteError)
	}
	return nil
}

// flush takes what was written to the medium. Without wait it returns errWait.
func (u *unit) flush(wait bool) error {
	if !wait {
		return errWait
	}
	if err := u.store.Flush(); err != nil {
		return u.mediumError(err, -1, scsi.ASCWriteError)
	}
	return nil
}

// allNexuses returns the unit's nexuses.
func (u *unit) allNexuses() []*nexus {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.nexuses))
}

// port returns the port by which the unit is reached that matches, nil if there is
// none.
func (u *unit) port(match func(*port) bool) *port {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.locations {
		for p := range l.target.reachable() {
			if match(p) {
				return p
			}
		}
	}
	return nil
}

// portIDs returns the names of the ports by which the unit is reached.
func (u *unit) portIDs() (all []portID) {
	u.port(func(p *port) bool {
		if !slices.Contains(all, p.portID) {
			all = append(all, p.portID)
		}
		return false
	})
	return all
}

// reset puts the unit into its first state and tells every nexus so. Persistent
// reservations stay.
func (u *unit) reset(asc scsi.ASC) {
	u.modes.reset()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unreserve()
	for n := range u.nexuses {
		n.prevents = false
		n.alert(asc)
	}
}
