package isns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Change is what has happened to a node, one or several (RFC 4171, 6.4.4).
type Change uint32

// Changes. The first three say which nodes a registration is about.
const (
	ChangesOfTargets    Change = 0x40
	ChangesOfInitiators Change = 0x80
	ChangesForManagers  Change = 0x20
	Removed             Change = 0x10
	Added               Change = 0x08
	Updated             Change = 0x04
	LeftDomain          Change = 0x02
	JoinedDomain        Change = 0x01
)

// Event is a state change of a node, of which a server notifies.
type Event struct {
	To     string // the node that wanted to know
	Change Change
	Node   string // the node that has changed
}

// Watch has the server tell the asking node of changes, by the event port of a
// portal of its entity; 0 stops it. The node must be registered.
func (c *Client) Watch(ctx context.Context, changes Change) error {
	key := Attributes{Text(TagNodeName, c.source)}
	if changes == 0 {
		_, err := c.Do(ctx, SCNDereg, false, key, nil)
		return err
	}
	_, err := c.Do(ctx, SCNReg, false, key, Attributes{Number(TagSCNBitmap, uint32(changes))})
	return err
}

// Bounds of what servers may do at an event port.
const (
	maxEventConns = 16
	eventIdle     = 10 * time.Minute // ESIs keep a connection busy, SCNs need none
)

// ServeEvents answers what iSNS servers send to an event port, until ctx ends: that
// is no error. Entity status inquiries are answered; state changes go to notify,
// one after the other, which may be nil. It closes l.
func ServeEvents(ctx context.Context, l net.Listener, log *slog.Logger, notify func(Event)) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var mu sync.Mutex
	deliver := func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if notify != nil {
			notify(e)
		}
	}
	places := make(chan struct{}, maxEventConns)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("iSNS events: %w", err)
		}
		conns.Go(func() {
			defer func() { <-places }()
			if err := serveConn(ctx, conn, deliver); err != nil {
				log.Debug("iSNS server disconnected", "server", conn.RemoteAddr(), "error", err)
			}
		})
	}
}

// serveConn answers one server until it hangs up.
func serveConn(ctx context.Context, conn net.Conn, notify func(Event)) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReader(conn)
	for {
		if err := conn.SetDeadline(time.Now().Add(eventIdle)); err != nil {
			return err
		}
		m, err := ReadMessage(r)
		if err != nil {
			return err
		}
		answer, events, err := answerEvent(m)
		if err != nil {
			return err
		}
		if _, err := conn.Write(answer.Append(nil)); err != nil {
			return err
		}
		for _, e := range events {
			notify(e)
		}
	}
}

// answerEvent makes the response to what a server asks of a client.
func answerEvent(m *Message) (answer *Message, events []Event, err error) {
	answer = &Message{Function: m.Function.Response(), Transaction: m.Transaction}
	switch m.Function {
	case ESI: // its attributes come back (RFC 4171, 5.7.5.13)
		answer.Attributes = m.Attributes
	case SCN: // the node that has been told (RFC 4171, 5.7.5.8)
		if events, err = parseEvent(m); err != nil {
			return nil, nil, err
		}
		if to, ok := m.Attributes.Get(TagNodeName); ok {
			answer.Attributes = Attributes{to}
		}
	default:
		if m.Function.IsResponse() {
			return nil, nil, fmt.Errorf("%w: %s without a request", ErrBadMessage, m.Function)
		}
		answer.Status = StatusMessageNotSupported
	}
	return answer, events, nil
}

// errNoNode says that a notification does not say of whom, or to whom.
var errNoNode = errors.New("a notification without a node")

// parseEvent reads a notification: the node that it is for, and then for each
// change its bitmap and the node (RFC 4171, 5.6.5.8).
func parseEvent(m *Message) (events []Event, err error) {
	if len(m.Attributes) == 0 || m.Attributes[0].Tag != TagNodeName {
		return nil, fmt.Errorf("%w: %w", ErrBadMessage, errNoNode)
	}
	to := m.Attributes[0].Text()
	var change Change
	for _, a := range m.Attributes[1:] {
		switch a.Tag {
		case TagSCNBitmap:
			n, err := a.Number()
			if err != nil {
				return nil, err
			}
			change = Change(n)
		case TagNodeName:
			events = append(events, Event{To: to, Change: change, Node: a.Text()})
		}
	}
	return events, nil
}
