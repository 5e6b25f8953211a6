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

	attention atomic.Bool   // attentions is not empty
	unheard   atomic.Bool   // the newest of attentions has not been told of by a message
	demand    atomic.Uint32 // the permission that reservations ask of its commands
	access    atomic.Uint32 // the state of its target port group
	meter     meter

	// Guarded by u.mu.
	attentions []scsi.ASC    // unit attention conditions, oldest first
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
	n.attentions = slices.Delete(n.attentions, 0, 1)
	n.attention.Store(len(n.attentions) > 0)
	return asc, true
}

// forget clears a unit attention condition that the initiator has found out the
// reason of by itself.
func (n *nexus) forget(asc scsi.ASC) {
	n.u.mu.Lock()
	defer n.u.mu.Unlock()
	n.attentions = slices.DeleteFunc(n.attentions, func(a scsi.ASC) bool { return a == asc })
	n.attention.Store(len(n.attentions) > 0)
}
