package target

import (
	"slices"
	"sync/atomic"

	"github.com/bootlun/bootlun/scsi"
)

// nexus is what a session is to a logical unit: SAM's I_T_L nexus.
type nexus struct {
	u *unit
	s *session

	attention atomic.Bool   // there are attentions, or deferred
	unheard   atomic.Bool   // the newest of attentions has not been told of by a message
	demand    atomic.Uint32 // the permission that reservations ask of its commands
	access    atomic.Uint32 // the state of its target port group
	meter     meter

	// Guarded by u.mu.
	attentions []scsi.ASC    // unit attention conditions, oldest first
	deferred   *scsi.Sense   // an error of what was written before, to be told; nil: none
	prevents   bool          // it prevents the removal of the medium
	mediaEvent uint8         // to be told by GET EVENT STATUS NOTIFICATION
	copies     []*copyResult // of its last EXTENDED COPYs, oldest first
}

// join makes a session a nexus of the unit.
func (u *unit) join(s *session) *nexus {
	n := &nexus{u: u, s: s}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.nexuses[n] = struct{}{}
	n.alert(scsi.ASCPowerOnOrReset)
	n.unheard.Store(false) // every initiator expects it
	n.enforce()
	n.access.Store(uint32(u.groups[s.port.group].state))
	return n
}

// leave is what the loss of the nexus comes to.
func (n *nexus) leave() {
	n.u.mu.Lock()
	defer n.u.mu.Unlock()
	delete(n.u.nexuses, n)
	counts := n.meter.counts()
	n.u.wear.past.add(&counts)
	n.letGo()
}

// letGo ends what the nexus keeps others from: its reservation and its prevention
// of removal. The caller holds u.mu.
func (n *nexus) letGo() {
	n.prevents = false
	if n.u.reservedBy == n {
		n.u.unreserve()
	}
}

// alert establishes a unit attention condition. One of the kind is enough. The
// caller holds u.mu.
func (n *nexus) alert(asc scsi.ASC) {
	if slices.Contains(n.attentions, asc) {
		return
	}
	n.attentions = append(n.attentions, asc)
	n.attention.Store(true)
	n.unheard.Store(true)
}

// alertOthers establishes a unit attention condition for every nexus but one,
// which may be nil.
func (u *unit) alertOthers(but *nexus, asc scsi.ASC) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n := range u.nexuses {
		if n != but {
			n.alert(asc)
		}
	}
}

// takeAttention returns the next unit attention condition or, after them, a deferred
// error, and clears it.
func (n *nexus) takeAttention() (sense scsi.Sense, ok bool) {
	if !n.attention.Load() {
		return sense, false
	}
	n.u.mu.Lock()
	defer n.u.mu.Unlock()
	switch {
	case len(n.attentions) > 0:
		sense = scsi.Sense{Key: scsi.KeyUnitAttention, ASC: n.attentions[0]}
		n.attentions = slices.Delete(n.attentions, 0, 1)
	case n.deferred != nil:
		sense, n.deferred = *n.deferred, nil
	default:
		return sense, false
	}
	n.attention.Store(n.waits())
	return sense, true
}

// waits reports whether there is something to be told. The caller holds u.mu.
func (n *nexus) waits() bool { return len(n.attentions) > 0 || n.deferred != nil }

// deferError has all nexuses that have written, but the one that finds out by itself,
// be told that what they have written is not on the medium (SPC-4, 4.5.7). A store
// that has lost writes says so at every flush; it is told once.
func (u *unit) deferError(but *nexus, sense scsi.Sense) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lostWrites {
		return
	}
	u.lostWrites = true
	sense.Deferred = true
	for n := range u.nexuses {
		if n != but && n.meter.counts()[WriteCommands].Commands > 0 {
			n.deferred = &sense
			n.attention.Store(true)
		}
	}
}

// forget clears a unit attention condition that the initiator has found out the
// reason of by itself.
func (n *nexus) forget(asc scsi.ASC) {
	n.u.mu.Lock()
	defer n.u.mu.Unlock()
	n.attentions = slices.DeleteFunc(n.attentions, func(a scsi.ASC) bool { return a == asc })
	n.attention.Store(n.waits())
}
