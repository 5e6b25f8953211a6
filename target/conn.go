package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// Why a connection ends, beside errors of the network. They are the causes of
// its context.
var (
	errLoggedOut    = errors.New("logged out")
	errPeerClosed   = errors.New("the initiator closed the connection")
	errReinstated   = errors.New("the initiator logged in again")
	errShutdown     = errors.New("the server is closing")
	errRecovery     = errors.New("removed for recovery")
	errColdReset    = errors.New("target cold reset")
	errDisconnected = errors.New("disconnected by the operator")
	errStalled      = errors.New("the initiator has stalled")
	errCrowded      = errors.New("too many logins are under way")
	errHoard        = errors.New("memory is short, and commands come early")
	errNoAnswer     = errors.New("the initiator does not answer pings")
	errProtocol     = errors.New("protocol error")
)

// conn is one connection. Its own goroutine reads requests and, where a store
// has the answer at hand, carries them out and queues the replies; commands that
// have to wait go to goroutines of their own (workers). Replies are sent when
// nothing more can be read without waiting, or much is queued.
type conn struct {
	v    *service
	srv  *Server
	nc   net.Conn
	link *link // nc, if it can join a loop
	pdu  *iscsi.Conn
	log  *slog.Logger
	from netip.Addr      // the initiator's address; the zero Addr if it has none
	done context.Context // ends when the connection does, with the reason
	end  context.CancelCauseFunc

	cfg     *Config        // as it was when the login began: what the login settles stays
	target  *target        // asked for at login, nil in a discovery session
	params  iscsi.Params   // its own; of those of the session, the session's count
	erl     int            // error recovery level
	cid     uint16         // which of the session's connections it is
	sess    *session       // set at the end of the login
	serving atomic.Bool    // in full feature phase: sess may be used by others
	left    chan struct{}  // closed when the session does not count it any more
	workers sync.WaitGroup // goroutines that work for this connection
	gone    bool           // no more workers, no more tasks; guarded by session.mu
	nudged  chan struct{}  // told of what it waits for when it lingers

	answered []*task      // of which the initiator has not acknowledged the response when the connection ended
	out      sender       // replies
	req      request      // the PDU being received
	texts    textExchange // the text exchange under way
	cmd      iscsi.SCSICommand
	data     iscsi.DataOut

	maxSend atomic.Int64 // MaxRecvDataSegmentLength of the initiator

	heard   atomic.Uint64 // PDUs received
	waiting atomic.Int64  // since when data of a PDU is awaited, Unix nanoseconds; 0: it is not
	ping    pinger
}

func newConn(v *service, nc net.Conn) *conn {
	link := newLink(nc)
	if link != nil {
		nc = link
	}
	c := &conn{
		v: v, srv: v.srv, nc: nc, link: link, from: initiatorAddr(nc), pdu: iscsi.NewConn(nc),
		log: v.srv.log.With("peer", nc.RemoteAddr().String()),
	}
	c.texts.ttt = iscsi.ReservedTag
	c.req.c, c.left, c.nudged = c, make(chan struct{}), make(chan struct{}, 1)
	c.done, c.end = context.WithCancelCause(v.ctx)
	c.out.init(c.pdu, &v.srv.buffers)
	return c
}

// segment is the most data that a PDU to the initiator may have.
func (c *conn) segment() int { return int(min(c.maxSend.Load(), maxSegment)) }

// spawn runs f on a goroutine that the connection waits for, unless it is over.
// The caller holds the session's mu.
func (c *conn) spawn(f func()) bool {
	if !c.gone {
		c.workers.Go(f)
	}
	return !c.gone
}

// close ends the connection for a reason, of which the first counts. It may be
// called by anyone at any time.
func (c *conn) close(reason error) {
	c.end(reason)
	if c.link != nil {
		c.link.shut() // it closes itself
		return
	}
	c.nc.Close()
}

// run serves the connection from its first byte on: to its last, or until a loop
// does so.
func (c *conn) run() {
	err := c.login()
	c.srv.pending.remove(c)
	if err != nil {
		c.loginFailed(err)
		c.finish(err)
		return
	}
	c.began()
	serve := func() { c.finish(c.serve()) }
	if c.link == nil || !c.v.join(c, serve) {
		serve()
	}
}

// finish ends the connection, for what serve or login came to.
func (c *conn) finish(err error) {
	c.close(err)
	if c.sess != nil {
		if c.link != nil {
			c.link.block()
			defer c.link.unblock()
		}
		c.sess.detach(c)
		c.texts.end(&c.srv.buffers)
	}
	c.nc.Close()
	c.v.leave(c)
}

// serve receives and carries out requests until the connection ends, and says
// why it did.
func (c *conn) serve() error {
	for {
		if c.pdu.Buffered() < iscsi.BHSLength || c.out.full() {
			if err := c.flush(); err != nil {
				return c.lost(err)
			}
		}
		if err := c.pdu.ReadHeader(&c.req.bhs); err != nil {
			return c.headerError(err)
		}
		c.heard.Add(1)
		err := c.sess.droppedFor()
		if err == nil {
			err = c.receive()
		}
		c.req.drop()
		if err != nil {
			if ferr := c.flush(); ferr != nil { // a Reject or a logout response may be queued
				c.log.Debug("last replies not sent", "error", ferr)
			}
			return err
		}
	}
}

// flush sends what is queued. It is for the connection's own goroutine, which
// gives way while there is no room; others push.
func (c *conn) flush() error {
	for {
		rest, err := c.out.tryFlush()
		if !rest {
			return err
		}
		c.link.pause(toWrite)
	}
}

// headerError says what an error of ReadHeader means, and tells the initiator if
// the stream is still in step.
func (c *conn) headerError(err error) error {
	if errors.Is(err, iscsi.ErrDataTooLong) {
		c.out.reject(c.sess, &c.req.bhs, iscsi.RejectProtocolError)
		if ferr := c.flush(); ferr != nil {
			c.log.Debug("reject not sent", "error", ferr)
		}
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return c.lost(err)
}

// lost says what an error of the network means: if the connection was closed
// here, the reason for that.
func (c *conn) lost(err error) error {
	if c.done.Err() != nil {
		return context.Cause(c.done)
	}
	if errors.Is(err, io.EOF) {
		return errPeerClosed
	}
	return err
}

// readData reads the next len(p) bytes of the data segment. If the rest has not
// arrived, what is queued is sent first, so that the initiator is not kept
// waiting by its own data.
func (c *conn) readData(p []byte) error {
	if c.pdu.Buffered() >= len(p) {
		return c.pdu.ReadData(p)
	}
	if err := c.flush(); err != nil {
		return err
	}
	c.waiting.Store(time.Now().UnixNano())
	defer c.waiting.Store(0)
	return c.pdu.ReadData(p)
}

// skipData reads the rest of the data segment and drops it.
func (c *conn) skipData() error {
	if c.pdu.DataLeft() == 0 {
		return nil
	}
	if c.pdu.Buffered() < c.pdu.DataLeft() {
		c.waiting.Store(time.Now().UnixNano())
		defer c.waiting.Store(0)
	}
	return c.pdu.SkipData()
}

// reject refuses the PDU in hand. The connection goes on.
func (c *conn) reject(r *request, reason iscsi.RejectReason, why string) {
	c.log.Warn("rejected", "pdu", r.bhs.String(), "reason", reason.String(), "detail", why)
	c.out.reject(c.sess, &r.bhs, reason)
}

// fatal refuses the PDU in hand with an error that ends the connection.
func (c *conn) fatal(r *request, reason iscsi.RejectReason, why string) error {
	c.reject(r, reason, why)
	return fmt.Errorf("%w: %v: %s", errProtocol, r.bhs.Opcode(), why)
}

// watch closes a connection whose initiator stalls: in the middle of a PDU, in
// taking replies, or in sending what an R2T asked for.
func (c *conn) watch(now time.Time) {
	limit := now.Add(-c.srv.config().StallTimeout).UnixNano()
	if t := c.waiting.Load(); t != 0 && t < limit {
		c.close(fmt.Errorf("%w: it does not finish a PDU", errStalled))
	}
	if t := c.out.since.Load(); t != 0 && t < limit {
		c.close(fmt.Errorf("%w: it does not take its replies", errStalled))
	}
	if !c.serving.Load() {
		return
	}
	if c.sess.missing(now, limit) {
		c.sess.drop(fmt.Errorf("%w: a command is missing", errStalled))
	}
	c.expire(limit)
	c.tellAttentions()
	c.watchPing(now)
}
