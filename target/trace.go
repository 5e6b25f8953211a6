package target

import (
	"context"
	"fmt"
	"io"

	"github.com/bootlun/bootlun/internal/pcap"
)

// Trace writes the PDUs of a session to w, as a pcap file that Wireshark and tcpdump
// read, until ctx ends or the session does, neither of which is an error. PDUs are
// written as TCP segments of the session's connections, without digests. It has what
// initiators read and write in it, of which snap cuts what is longer than so many
// bytes in a segment; 0 cuts nothing. What login PDUs say of secrets is masked.
// Connections that the session gets meanwhile are in it from the end of their login on.
//
// A session has one trace at a time: the error of another is [ErrExists].
func (s *Server) Trace(ctx context.Context, tsih uint16, w io.Writer, snap int) error {
	s.mu.Lock()
	sess := s.sessions[tsih]
	s.mu.Unlock()
	if sess == nil {
		return fmt.Errorf("%w: TSIH %d", ErrNoSession, tsih)
	}
	t := pcap.New(snap)
	if !sess.setTrace(nil, t) {
		return fmt.Errorf("%w: a trace of session %d", ErrExists, tsih)
	}
	defer sess.setTrace(t, nil)
	if _, err := w.Write(pcap.Header()); err != nil {
		return err
	}
	s.log.Info("trace begins", "tsih", tsih, "initiator", sess.id.initiator)
	for {
		select {
		case <-t.Wake():
		case <-ctx.Done():
		case <-sess.over:
		}
		packets, dropped := t.Take()
		if _, err := w.Write(packets); err != nil {
			return err
		}
		if ended(ctx.Done()) || ended(sess.over) {
			s.log.Info("trace ends", "tsih", tsih, "missing", dropped)
			return nil
		}
	}
}

// setTrace has a trace see all connections of the session in place of another, of
// which nil is none, and reports whether the other was the one.
func (s *session) setTrace(old, next *pcap.Trace) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trace != old {
		return false
	}
	s.trace = next
	for _, c := range s.conns {
		s.tap(c)
	}
	return true
}

// tap has the session's trace see a connection. The caller holds s.mu.
func (s *session) tap(c *conn) {
	if s.trace == nil {
		c.pdu.SetTap(nil)
		return
	}
	c.pdu.SetTap(s.trace.Tap(c.nc))
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
