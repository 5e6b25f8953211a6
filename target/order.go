package target

import (
	"slices"

	"github.com/bootlun/bootlun/iscsi"
)

// Tasks of a session run in any order and together, but for ORDERED ones: those
// wait until every earlier task has ended, and later ones wait for them
// (SAM-5, 8.6). Each nexus has a task set of its own (TST in the control mode
// page); that all of a session's LUNs share one barrier is more order than is
// asked for, and simpler.

// enqueue decides whether a new task may run. The caller holds s.mu.
func (s *session) enqueue(t *task) {
	blocked := len(s.dormant) > 0 || s.ordered || t.attribute == iscsi.Ordered && s.active > 0
	if blocked && t.attribute != iscsi.HeadOfQueue {
		t.dormant = true
		s.dormant = append(s.dormant, t)
		return
	}
	t.mayRun = true
	s.activate(t)
}

func (s *session) activate(t *task) {
	s.active++
	if t.attribute == iscsi.Ordered {
		s.ordered = true
	}
}

// dequeue takes an ended task out of the order and wakes those that may run now.
// The caller holds s.mu.
func (s *session) dequeue(t *task) {
	if t.dormant {
		s.dormant = slices.DeleteFunc(s.dormant, func(d *task) bool { return d == t })
	} else {
		s.active--
		if t.attribute == iscsi.Ordered {
			s.ordered = false
		}
	}
	for len(s.dormant) > 0 && !s.ordered {
		d := s.dormant[0]
		if d.attribute == iscsi.Ordered && s.active > 0 {
			return
		}
		s.dormant = s.dormant[1:]
		s.activate(d)
		s.wake(d)
	}
}

// wake lets a dormant task run. The caller holds s.mu.
func (s *session) wake(t *task) {
	t.dormant = false
	if f := t.deferred; f != nil {
		if c := t.c; c.spawn(func() { f(); c.push() }) {
			t.deferred = nil
		}
	}
}

// gate is what a task that was dormant at its start finds at a step.
type gate int

const (
	gateOpen    gate = iota // go on
	gateAsleep              // the step is put off, with the caller's pin
	gateAborted             // there is nothing more to do
)

// tryGate puts off a step of a task until the task may run. A task with mayRun
// need not ask.
func (t *task) tryGate(step func()) gate {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	switch {
	case t.aborted:
		return gateAborted
	case t.dormant:
		t.deferred = step
		return gateAsleep
	}
	return gateOpen
}
