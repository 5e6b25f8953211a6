package netboot

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// Kind says what happened.
type Kind string

// The kinds of events. A DHCP kind is recorded when the message was read (Discover, Request, Inform, Release, Decline)
// or is about to be sent (Offer, Ack, Nak).
const (
	DHCPDiscover  Kind = "dhcp discover"
	DHCPOffer     Kind = "dhcp offer"
	DHCPRequest   Kind = "dhcp request"
	DHCPAck       Kind = "dhcp ack"
	DHCPNak       Kind = "dhcp nak"
	DHCPInform    Kind = "dhcp inform"
	DHCPRelease   Kind = "dhcp release"
	DHCPDecline   Kind = "dhcp decline"
	DHCPExhausted Kind = "dhcp exhausted" // no address is left for this machine
	TFTPRead      Kind = "tftp read"      // a transfer ended well
	TFTPFail      Kind = "tftp fail"      // a transfer was refused or broke off
	HTTPStart     Kind = "http start"     // a request was read
	HTTPDone      Kind = "http done"      // its answer was sent, or broke off
)

// Event is one notable thing that happened to a machine on its way up.
type Event struct {
	Time time.Time
	// Kind says what happened.
	Kind Kind
	// Machine is the machine's name, or its MAC address where it has no name, or empty where the server cannot tell.
	Machine string
	// Client is the machine's address, invalid where it has none yet.
	Client netip.Addr
	// Detail says more: the kind of DHCP client, the file, the reason of a failure.
	Detail string
	// Bytes and Duration are those of a transfer.
	Bytes    int64
	Duration time.Duration
}

// attrs is the event in a structured log.
func (e Event) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("machine", e.Machine)}
	if e.Client.IsValid() {
		attrs = append(attrs, slog.String("client", e.Client.String()))
	}
	if e.Detail != "" {
		attrs = append(attrs, slog.String("detail", e.Detail))
	}
	if e.Duration != 0 {
		attrs = append(attrs, slog.Int64("bytes", e.Bytes), slog.Duration("duration", e.Duration))
	}
	return attrs
}

// event stamps an event, logs it and hands it to the hook, one at a time.
func (s *Server) event(level slog.Level, e Event) {
	s.eventMu.Lock()
	defer s.eventMu.Unlock()
	e.Time = time.Now()
	s.log.LogAttrs(context.Background(), level, "netboot: "+string(e.Kind), e.attrs()...)
	if s.cfg.Events != nil {
		s.cfg.Events(e)
	}
}
