package initiator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bootlun/bootlun/scsi"
)

const (
	// firstDelay is the pause after the first login that fails.
	firstDelay = 100 * time.Millisecond
	// maxHistory is how many failures a session remembers.
	maxHistory = 16
	// calm is how long a connection must have lasted for its loss to be a new
	// story.
	calm = 30 * time.Second
)

var errLate = errors.New("it has not come back within Recovery.Limit")

func (s *Session) recovers() bool { return s.cfg.Recovery.Limit != 0 }

// nexus returns the login that takes commands; if there is none, it waits for it as
// long as ctx and Recovery.Limit allow. Without Recovery it is the only one there
// ever was.
func (s *Session) nexus(ctx context.Context) (*nexus, error) {
	for {
		n := s.cur.Load()
		if !n.ending.Load() || !s.recovers() {
			return n, nil
		}
		s.mu.Lock()
		changed, late, closed := s.changed, s.late, s.closed
		s.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case s.cur.Load() != n:
			continue
		case late:
			return nil, s.lost(errLate)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, s.lost(context.Cause(ctx))
		}
	}
}

// lost returns the error of a call that recovering does not help.
func (s *Session) lost(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &LostError{Err: why, History: append([]Attempt(nil), s.history...)}
}

// announce wakes those who wait for a change.
func (s *Session) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// recover logs in again whenever the connection is gone, until ctx ends.
func (s *Session) recover(ctx context.Context) {
	for {
		n := s.cur.Load()
		select {
		case <-ctx.Done():
			return
		case <-n.dead:
		}
		n.wg.Wait()
		if !s.relogin(ctx, n) {
			return
		}
	}
}

// relogin logs in until that succeeds or ctx ends.
func (s *Session) relogin(ctx context.Context, n *nexus) bool {
	began := time.Now()
	s.note(n.cause(), began.Sub(n.began) > calm)
	if limit := s.cfg.Recovery.Limit; limit > 0 {
		timer := time.AfterFunc(limit, func() { s.tooLate(n) })
		defer timer.Stop()
	}
	delay := firstDelay
	for wait := n.timeToWait(); sleep(ctx, wait); {
		l, err := s.way.login(ctx, s.cfg, errand{cmdSN: firstCmdSN})
		if err == nil {
			s.cfg.Logger.Info("logged in again", "target", s.cfg.Target, "portal", l.addr.HostPort(), "after", time.Since(began))
			n := newNexus(s.cfg, l, s.scsiEvent)
			n.widen(ctx)
			s.mu.Lock()
			s.cur.Store(n)
			s.late = false
			s.mu.Unlock()
			s.announce()
			return true
		}
		s.note(err, false)
		wait = delay/2 + rand.N(delay/2) // many initiators of one target do not come at once
		delay = min(2*delay, s.cfg.Recovery.MaxDelay)
	}
	return false
}

// note adds to the history, or starts a new one.
func (s *Session) note(err error, fresh bool) {
	s.cfg.Logger.Warn("no connection", "target", s.cfg.Target, "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh {
		s.history = nil
	}
	if len(s.history) == maxHistory { // the first tells how it began
		s.history = append(s.history[:1:1], s.history[2:]...)
	}
	s.history = append(s.history, Attempt{time.Now(), err})
}

// tooLate lets calls wait no longer.
func (s *Session) tooLate(n *nexus) {
	s.mu.Lock()
	s.late = s.cur.Load() == n
	s.mu.Unlock()
	s.announce()
}

// lost returns nil if a command that failed so is to be sent again because its
// connection was lost, else the error to return. may says that it may be.
func (r *retry) lost(s *Session, err error, may bool) error {
	var final *LostError
	switch {
	case !s.recovers(), !errors.Is(err, ErrConnectionLost), errors.Is(err, ErrClosed), errors.As(err, &final):
		return err
	case !may:
		return s.lost(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err))
	}
	if r.losses++; r.losses > s.cfg.Recovery.Repeats {
		return s.lost(fmt.Errorf("given up after %d losses: %w", r.losses, err))
	}
	return nil
}

// repeatable reports whether a command may be executed twice with the outcome of
// once. What it does not know it takes for not so.
func repeatable(c *scsi.CDB) bool {
	switch c.Op() {
	case scsi.OpCompareAndWrite:
		return false // its own first execution would make the second fail
	case scsi.OpTestUnitReady, scsi.OpRequestSense, scsi.OpInquiry, scsi.OpModeSense6, scsi.OpModeSense10,
		scsi.OpReadCapacity10, scsi.OpReportLUNs, scsi.OpUnmap, scsi.OpLogSense, scsi.OpPersistentReserveIn,
		scsi.OpServiceActionIn16, scsi.OpMaintenanceIn, scsi.OpReadDefectData10, scsi.OpReadDefectData12,
		scsi.OpReceiveDiagnostic, scsi.OpReadBuffer, scsi.OpReadTOC, scsi.OpGetConfiguration,
		scsi.OpReadDiscInformation, scsi.OpReadTrackInformation, scsi.OpReadDiscStructure, scsi.OpMechanismStatus:
		return true
	}
	_, ok := scsi.ParseTransfer(c)
	return ok
}
