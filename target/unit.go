package target

import (
	"math/bits"
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
	prompt       store.Prompt // store, if it is one
	shift        uint         // log2 of the block size
	physical     uint         // log2 of the physical block size
	readOnly     bool
	writeThrough bool
	removable    bool
	thin         bool
	inquiry      scsi.InquiryData
	serial       string
	naa          [16]byte

	blocks    atomic.Uint64 // changed by resize
	ejected   atomic.Bool   // the medium is out
	protected atomic.Bool   // by SWP of the control mode page

	// changing is held by writes for reading, and by what must not be
	// interrupted by them for writing.
	changing sync.RWMutex

	mu        sync.Mutex
	nexuses   map[*nexus]struct{}
	locations []location // where it is found
}

// What INQUIRY data says unless configured.
const (
	defaultVendor   = "BOOTLUN"
	defaultProduct  = "VIRTUAL-DISK"
	defaultRevision = "0001"
)

// Version descriptors (SPC-4, 6.6.2): iSCSI, SAM-5, SPC-4 and SBC-3, no version
// claimed of each.
var versions = []uint16{0x0960, 0x00a0, 0x0460, 0x04c0}

// newUnit makes the unit of a LUN that has its defaults.
func newUnit(l LUN, identity string) *unit {
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
	}
	u.blocks.Store(uint64(l.Store.Size()) >> u.shift)
	u.prompt, _ = l.Store.(store.Prompt)
	if r, ok := l.Store.(store.ReadOnlyer); ok && r.ReadOnly() {
		u.readOnly = true
	}
	u.identify(identity)
	u.inquiry = scsi.InquiryData{
		Type: scsi.TypeDisk, Removable: l.Removable, Version: scsi.VersionSPC4, CmdQue: true,
		Vendor: l.Vendor, Product: l.Product, Revision: l.Revision, Descriptors: versions,
	}
	return u
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
		_, err = u.store.WriteAt(p, off)
		u.changing.RUnlock()
	case u.prompt == nil || !u.changing.TryRLock():
		return errWait
	default:
		_, err = u.prompt.TryWriteAt(p, off)
		u.changing.RUnlock()
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

// sessions returns the sessions that use the unit.
func (u *unit) sessions() []*session {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]*session, 0, len(u.nexuses))
	for n := range u.nexuses {
		list = append(list, n.s)
	}
	return list
}

// reset puts the unit into its first state and tells every nexus so.
func (u *unit) reset(asc scsi.ASC) {
	u.protected.Store(false)
	u.mu.Lock()
	defer u.mu.Unlock()
	for n := range u.nexuses {
		n.prevents = false
		n.alert(asc)
	}
}
