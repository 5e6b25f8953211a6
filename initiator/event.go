package initiator

import (
	"slices"
	"weak"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// watch has a LUN told of the events that the session's target reports. A LUN that
// nobody uses any more is forgotten.
func (s *Session) watch(l *LUN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.luns = slices.DeleteFunc(s.luns, func(w weak.Pointer[LUN]) bool { return w.Value() == nil })
	s.luns = append(s.luns, weak.Make(l))
}

// listen keeps a LUN from being forgotten, since it has somebody to tell, or lets go of
// it.
func (s *Session) listen(l *LUN, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !on {
		delete(s.listening, l)
		return
	}
	if s.listening == nil {
		s.listening = make(map[*LUN]bool)
	}
	s.listening[l] = true
}

// scsiEvent tells the LUNs that an event is about.
func (s *Session) scsiEvent(id iscsi.LUN, sense scsi.Sense) {
	s.mu.Lock()
	luns := slices.Clone(s.luns)
	s.mu.Unlock()
	for _, w := range luns {
		l := w.Value()
		if l == nil {
			continue
		}
		for _, p := range l.paths {
			if p.s == s && p.id == id {
				l.heed(p, &scsi.Error{Status: scsi.StatusCheckCondition, Sense: sense})
			}
		}
	}
}

// maxEvents bounds the events that are being told at a time; more are dropped.
const maxEvents = 16

// scsiEvent passes an event on that the target has told in an asynchronous message
// (RFC 7143, 11.9.1; SAM-5, 5.14). The receiver does not wait for who hears of it.
func (s *nexus) scsiEvent(lun iscsi.LUN, data []byte) {
	raw, _, err := iscsi.SplitSense(data)
	if err != nil {
		return
	}
	sense, err := scsi.ParseSense(raw)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.events == maxEvents {
		return
	}
	s.events++
	s.wg.Go(func() {
		s.tell(lun, sense)
		s.mu.Lock()
		s.events--
		s.mu.Unlock()
	})
}
