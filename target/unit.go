package target

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
)

// unit is a logical unit.
type unit struct {
	lun          iscsi.LUN
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
	targetName   string

	blocks    atomic.Uint64 // changed by resize
	ejected   atomic.Bool   // the medium is out
	protected atomic.Bool   // by SWP of the control mode page

	// changing is held by writes for reading, and by what must not be
	// interrupted by them for writing.
	changing sync.RWMutex

	mu      sync.Mutex
	nexuses map[*nexus]struct{}
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

func newUnit(targetName string, l LUN) *unit {
	setDefault(&l.BlockSize, defaultBlockSize)
	setDefault(&l.PhysicalBlockSize, defaultPhysicalBlock)
	setDefault(&l.Vendor, defaultVendor)
	setDefault(&l.Product, defaultProduct)
	setDefault(&l.Revision, defaultRevision)
	lun, _ := iscsi.MakeLUN(l.Number) // checked before
	u := &unit{
		lun:          lun,
		store:        l.Store,
		shift:        uint(bits.TrailingZeros(uint(l.BlockSize))),
		physical:     uint(bits.TrailingZeros(uint(l.PhysicalBlockSize))),
		readOnly:     l.ReadOnly,
		writeThrough: l.WriteThrough,
		removable:    l.Removable,
		thin:         store.CanDiscard(l.Store),
		targetName:   targetName,
		nexuses:      make(map[*nexus]struct{}),
	}
	u.blocks.Store(uint64(l.Store.Size()) >> u.shift)
	u.prompt, _ = l.Store.(store.Prompt)
	if r, ok := l.Store.(store.ReadOnlyer); ok && r.ReadOnly() {
		u.readOnly = true
	}
	u.identify(l)
	u.inquiry = scsi.InquiryData{
		Type: scsi.TypeDisk, Removable: l.Removable, Version: scsi.VersionSPC4, CmdQue: true,
		Vendor: l.Vendor, Product: l.Product, Revision: l.Revision, Descriptors: versions,
	}
	return u
}

// identify derives the identifiers by which initiators know the disk again: from
// the names it has, so that they are the same on every server that is configured
// alike.
func (u *unit) identify(l LUN) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s,%d", u.targetName, l.Number))
	// NAA 6, IEEE Registered Extended (SPC-4, 7.8.6.6.5). The company id is
	// locally administered, as the second bit of its first byte says.
	copy(u.naa[:], sum[:])
	u.naa[0], u.naa[1], u.naa[2] = 0x60, 0x2b, 0x00
	u.naa[3] = 0x70 | sum[3]&0x0f
	u.serial = l.Serial
	setDefault(&u.serial, hex.EncodeToString(sum[16:26]))
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

// nexus is what a session is to a logical unit: SAM's I_T_L nexus.
type nexus struct {
	u *unit
	s *session

	attention atomic.Bool // attentions is not empty

	// Guarded by u.mu.
	attentions []scsi.ASC // unit attention conditions, oldest first
	prevents   bool       // it prevents the removal of the medium
}

// join makes a session a nexus of the unit.
func (u *unit) join(s *session) *nexus {
	n := &nexus{u: u, s: s}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.nexuses[n] = struct{}{}
	n.alert(scsi.ASCPowerOnOrReset)
	return n
}

// leave is what the loss of the nexus comes to.
func (n *nexus) leave() {
	n.u.mu.Lock()
	defer n.u.mu.Unlock()
	delete(n.u.nexuses, n)
}

// alert establishes a unit attention condition. One of the kind is enough. The
// caller holds u.mu.
func (n *nexus) alert(asc scsi.ASC) {
	if slices.Contains(n.attentions, asc) {
		return
	}
	n.attentions = append(n.attentions, asc)
	n.attention.Store(true)
}

// alertOthers establishes a unit attention condition for every nexus but one.
func (u *unit) alertOthers(but *nexus, asc scsi.ASC) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n := range u.nexuses {
		if n != but {
			n.alert(asc)
		}
	}
}

// takeAttention returns the next unit attention condition, and clears it.
func (n *nexus) takeAttention() (scsi.ASC, bool) {
	if !n.attention.Load() {
		return 0, false
	}
	n.u.mu.Lock()
	defer n.u.mu.Unlock()
	if len(n.attentions) == 0 {
		return 0, false
	}
	asc := n.attentions[0]
	n.attentions = n.attentions[1:]
	n.attention.Store(len(n.attentions) > 0)
	return asc, true
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
