//go:build linux && !386

package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/iscsi"
)

// maxPDUData is the most data a PDU can have on its way through the kernel (ISCSI_DEF_MAX_RECV_SEG_LEN).
const maxPDUData = 8192

// control asks the kernel over a link. It is for one goroutine.
type control struct {
	link      link
	transport uint64 // handle of iscsi_tcp
	buf       []byte
	events    []message // what came while an answer was waited for, for conn
	sid, cid  uint32    // the connection whose events are kept
	haveConn  bool
	patience  time.Duration // with the kernel's answers
}

// answerTimeout is a safeguard: the kernel answers a request before Send returns. The callers' contexts do not count there, or
// one that ends at the wrong moment would leave in doubt what the kernel has made.
const answerTimeout = 10 * time.Second

func newControl(l link, transport uint64) *control {
	return &control{link: l, transport: transport, buf: make([]byte, 64<<10), patience: answerTimeout}
}

// errNoAnswer is a kernel that does not answer a request.
var errNoAnswer = errors.New("the kernel does not answer")

// call sends a request and waits for its answer.
func (c *control) call(request message) (message, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.patience, errNoAnswer)
	defer cancel()
	want := request.header()
	if err := c.link.Send(request); err != nil {
		return nil, fmt.Errorf("%v: %w", want, err)
	}
	for {
		m, err := c.next(ctx)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", want, err)
		}
		switch {
		case m.header() != want:
			c.keep(m)
		case m.kind() == evIfError:
			return nil, fmt.Errorf("%v: %w", want, unix.Errno(-m.ifError()))
		default:
			return m, nil
		}
	}
}

// do is call for requests whose answer is a return code.
func (c *control) do(request message) error {
	m, err := c.call(request)
	if err == nil && m.retcode() != 0 {
		err = fmt.Errorf("%v: %w", request.header(), unix.Errno(-m.retcode()))
	}
	return err
}

// next receives one message.
func (c *control) next(ctx context.Context) (message, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := c.link.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.link.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	n, err := c.link.Receive(c.buf)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, unix.ENOBUFS):
		return nil, fmt.Errorf("the kernel's messages came faster than they were read: %w", err)
	case err != nil:
		return nil, err
	}
	all, err := splitMessages(append([]byte(nil), c.buf[:n]...))
	if err != nil || len(all) == 0 {
		return nil, errShortMessage
	}
	// The kernel sends each message by itself; more than one in a read would be events.
	for _, m := range all[1:] {
		c.keep(m)
	}
	return all[0], nil
}

// keep stores an event of our connection. Those of other sessions are for other programs.
func (c *control) keep(m message) {
	if c.isOurs(m) {
		c.events = append(c.events, m)
	}
}

func (c *control) isOurs(m message) bool {
	if k := m.kind(); !c.haveConn || m.header() != 0 || k != evRecvPDU && k != evConnError {
		return false
	}
	sid, cid := m.ids()
	return sid == c.sid && cid == c.cid
}

// event waits for the connection's next PDU or error.
func (c *control) event(ctx context.Context) (message, error) {
	for len(c.events) == 0 {
		m, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		c.keep(m)
	}
	m := c.events[0]
	c.events = c.events[1:]
	return m, nil
}

// watch makes event report on a connection.
func (c *control) watch(sid, cid uint32) { c.sid, c.cid, c.haveConn, c.events = sid, cid, true, nil }

// Commands that the kernel queues for a session and for each LUN: open-iscsi's defaults. The first CmdSN is 1.
const (
	firstCmdSN     = 1
	sessionCmds    = 128
	lunQueueLength = 32
)

func (c *control) createSession() (sid, host uint32, err error) {
	m, err := c.call(encodeCreateSession(c.transport, firstCmdSN, sessionCmds, lunQueueLength))
	if err != nil {
		return 0, 0, err
	}
	sid, host = m.ids()
	return sid, host, nil
}

func (c *control) createConn(sid, cid uint32) error {
	_, err := c.call(encodeConn(evCreateConn, c.transport, sid, cid))
	if err == nil {
		c.watch(sid, cid)
	}
	return err
}

func (c *control) set(sid, cid uint32, s setting) error {
	if s.value == "" {
		return nil
	}
	err := c.do(encodeSetParam(c.transport, sid, cid, s.param, s.value))
	if s.optional && errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", s.name, err)
	}
	return nil
}

// send gives a PDU to the kernel, which frames it, and writes its own ITT and CmdSN into it.
func (c *control) send(bhs *iscsi.BHS, data []byte) error {
	if len(data) > maxPDUData {
		return fmt.Errorf("SEND_PDU: %d bytes of data, at most %d pass through the kernel", len(data), maxPDUData)
	}
	// The kernel passes a response on before it is done with the request, and until then refuses the next one with EPERM: on a
	// second processor this program can be that quick.
	for pause := time.Millisecond; ; pause *= 2 {
		err := c.do(encodeSendPDU(c.transport, c.sid, c.cid, bhs, data))
		if !errors.Is(err, unix.EPERM) || pause > maxSendPause {
			return err
		}
		time.Sleep(pause)
	}
}

// maxSendPause ends the pauses between attempts to send a PDU, which begin with a millisecond and double.
const maxSendPause = 256 * time.Millisecond

// receive waits for the connection's next PDU.
func (c *control) receive(ctx context.Context) (iscsi.BHS, []byte, error) {
	m, err := c.event(ctx)
	if err != nil {
		return iscsi.BHS{}, nil, err
	}
	if m.kind() == evConnError {
		return iscsi.BHS{}, nil, m.connError()
	}
	return m.pdu()
}
