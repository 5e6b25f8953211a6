package nbd

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// readBuffer is the size of a connection's receive buffer: many small replies in
// one system call; data beyond goes past it.
const readBuffer = 64 << 10

// link is the connections to one incarnation of the server. It ends as a whole:
// when one of its connections fails, what the server has and has not done is
// unknown on all of them.
type link struct {
	s      *Store
	export export
	conns  []*conn
	failed chan struct{} // closed when err is set
	work   sync.WaitGroup

	mu     sync.Mutex
	err    error
	cookie uint64
	sent   map[uint64]*request // without an answer, by cookie
}

// conn is one connection of a link.
type conn struct {
	nc      net.Conn
	br      *bufio.Reader
	scratch [structuredLength]byte // what of a reply is being decoded

	mu     sync.Mutex // held while writing
	header [requestLength]byte
	vector [2][]byte
	out    net.Buffers
}

func newLink(s *Store, e export, conns []*conn) *link {
	l := &link{s: s, export: e, conns: conns, failed: make(chan struct{}), sent: make(map[uint64]*request)}
	for _, c := range conns {
		l.work.Go(func() { l.fail(l.receive(c)) })
	}
	return l
}

// fail ends the link for a reason, of which the first counts.
func (l *link) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = err
		close(l.failed)
	}
	l.mu.Unlock()
	if first {
		for _, c := range l.conns {
			c.nc.Close()
		}
	}
}

// end fails the link and returns when nobody works on it any more.
func (l *link) end(err error) {
	l.fail(err)
	l.work.Wait()
}

// send sends a request. Its answer comes to Store.complete; if it does not come,
// the link has failed.
func (l *link) send(r *request) {
	l.mu.Lock()
	l.cookie++
	cookie := l.cookie
	c := l.conns[cookie%uint64(len(l.conns))]
	r.conn, r.sent, r.got, r.err = c, time.Now(), 0, nil
	l.sent[cookie] = r
	l.mu.Unlock()
	if err := c.write(r, cookie, r.sent.Add(l.s.cfg.ReplyTimeout)); err != nil {
		l.fail(err)
	}
}

func (c *conn) write(r *request, cookie uint64, deadline time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.nc.SetWriteDeadline(deadline); err != nil {
		return err
	}
	putRequest(&c.header, r.flags, r.cmd, cookie, r.off, uint32(r.n))
	c.vector[0] = c.header[:]
	c.out = c.vector[:1]
	if r.cmd == cmdWrite {
		c.vector[1] = r.data
		c.out = c.vector[:2]
	}
	_, err := c.out.WriteTo(c.nc)
	c.vector[1] = nil
	return err
}

// find returns the request that a reply on c is to, nil if there is none.
func (l *link) find(c *conn, cookie uint64) *request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.sent[cookie]; r != nil && r.conn == c {
		return r
	}
	return nil
}

// answered takes a request off the link and hands it to its owner.
func (l *link) answered(cookie uint64, r *request, err error) {
	l.mu.Lock()
	delete(l.sent, cookie)
	l.mu.Unlock()
	l.s.complete(r, err)
}

// overdue reports whether a request has been without an answer since before a
// point in time.
func (l *link) overdue(limit time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.sent {
		if r.sent.Before(limit) {
			return true
		}
	}
	return false
}
