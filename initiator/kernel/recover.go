//go:build linux && !386

package kernel

import (
	"context"
	"errors"
	"net"
	"time"
)

// deviceName is a network device's present name; empty if it is gone.
func deviceName(index int) string {
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return ""
	}
	return i.Name
}

// recover tries all portals, with growing pauses, until the session works again, is logged out, iscsid takes over, or ctx ends.
func (s *kept) recover(ctx context.Context) {
	mine := s.state.InCharge // what may change is that iscsid comes, or another one
	for pause := s.MinPause; ; pause = min(2*pause, s.MaxPause) {
		err := s.round(ctx)
		if err == nil {
			s.recovered()
			return
		}
		if s.change(func(k *KeptState) { k.LastError = err.Error() }); ctx.Err() != nil {
			return
		}
		// Words for the first failure, and when the pauses have become long.
		if pause == s.MinPause || 2*pause >= s.MaxPause && pause < s.MaxPause {
			s.log.Warn("not reconnected yet", "err", err, "broken for", time.Since(s.brokenAt).Round(time.Millisecond))
		}
		sleep(ctx, pause)
		if state := s.look(); state == stateGone || s.state.InCharge != mine {
			return
		}
	}
}

// round tries each portal once.
func (s *kept) round(ctx context.Context) error {
	var errs []error
	for _, portal := range s.portals() {
		err := Reconnect(ctx, s.SID, s.attempt(portal))
		if err == nil {
			s.change(func(k *KeptState) { k.Portal = portal })
			return nil
		}
		if errs = append(errs, err); ctx.Err() != nil || errors.Is(err, errGone) {
			break
		}
	}
	return errors.Join(errs...)
}

// recovered notes that I/O flows. What was said of the old connection no longer counts.
func (s *kept) recovered() {
	select {
	case <-s.lost:
	default:
	}
	took := time.Since(s.brokenAt)
	s.brokenAt, s.answered = time.Time{}, time.Time{}
	s.change(func(k *KeptState) {
		k.State, k.LastError, k.LastOutage = stateLoggedIn, "", took
		k.Recoveries++
	})
	s.log.Warn("reconnected, I/O goes on", "portal", s.state.Portal, "after", took.Round(time.Millisecond))
}
