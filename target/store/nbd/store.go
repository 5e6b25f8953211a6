package nbd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/target/store"
)

// Config says how [Open] opens an export. Its zero value is a good choice.
type Config struct {
	// ReadOnly never writes. An export that is itself read-only is opened so
	// in any case.
	ReadOnly bool

	// Connections is how many connections to make where the server says that
	// several are one (NBD_FLAG_CAN_MULTI_CONN); 0 means 4. A server that lets
	// fewer in gets those.
	Connections int

	// ReconnectTimeout is how long calls wait for a server that is away; 0
	// means 30 s. The server is looked for until Close.
	ReconnectTimeout time.Duration

	// ReplyTimeout is how long the server may take for an answer before it is
	// taken to be gone; 0 means 30 s.
	ReplyTimeout time.Duration

	// MaxUnflushed bounds the memory, in bytes, that keeps writes until they
	// are flushed; 0 means 64 MiB.
	MaxUnflushed int64

	// TLS, if set, is how to secure the connections; an nbds URI without it has
	// the system's certificate authorities check the server's name.
	TLS *tls.Config

	// Dial makes connections; nil means by [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Logger takes word of lost and new connections; nil means none.
	Logger *slog.Logger
}

func (c Config) withDefaults(at location) Config {
	if c.Connections <= 0 {
		c.Connections = 4
	}
	if c.ReconnectTimeout <= 0 {
		c.ReconnectTimeout = 30 * time.Second
	}
	if c.ReplyTimeout <= 0 {
		c.ReplyTimeout = 30 * time.Second
	}
	if c.MaxUnflushed <= 0 {
		c.MaxUnflushed = 64 << 20
	}
	if c.TLS == nil && at.tls {
		host, _, _ := net.SplitHostPort(at.address)
		c.TLS = &tls.Config{ServerName: host}
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Store is an export of an NBD server. Make one with [Open].
type Store struct {
	uri      string
	at       location
	cfg      Config
	readOnly bool
	export   export // as it was at Open
	align    *store.Aligner
	size     atomic.Int64
	requests requests

	life  context.Context // ends with Close
	close context.CancelFunc
	ended chan struct{} // closed when the keeper has

	mu        sync.Mutex
	changed   *sync.Cond // a change has been answered, or the link is another
	link      *link      // nil while there is none
	users     *sync.WaitGroup
	waiting   []*request // without an answer, sent or not
	unflushed unflushed
	reserved  int64 // cost of the changes in waiting
	flushing  bool  // somebody makes room in unflushed
	resizing  bool  // the next link may have another size
	down      error // why calls fail at once
	flushErr  error // of the first flush that failed
}

// Open connects to the export that a URI names, of the form
// nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH, and nbds for TLS.
// The context is for that alone.
func Open(ctx context.Context, uri string, cfg Config) (*Store, error) {
	at, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	s := &Store{uri: uri, at: at, cfg: cfg.withDefaults(at), ended: make(chan struct{})}
	s.changed = sync.NewCond(&s.mu)
	l, err := s.dial(ctx)
	if err != nil {
		return nil, s.fail("open", err)
	}
	s.export = l.export
	s.size.Store(l.export.size)
	s.readOnly = cfg.ReadOnly || l.export.flags.has(readOnly)
	if l.export.minimum > 1 {
		s.align = &store.Aligner{Grain: l.export.minimum, Reader: rawReader{s}, Writer: rawWriter{s}}
	}
	s.life, s.close = context.WithCancel(context.Background())
	s.link, s.users = l, new(sync.WaitGroup)
	go s.keep(l)
	// What another process wrote here is seen from now on, and must not be lost
	// any more.
	if err := s.Flush(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// fail names the operation and the export in an error, which may be nil.
func (s *Store) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nbd: %s %s: %w", op, s.uri, err)
}

// Size implements [store.Store].
func (s *Store) Size() int64 { return s.size.Load() }

// ReadOnly implements [store.ReadOnlyer].
func (s *Store) ReadOnly() bool { return s.readOnly }

// Close implements [store.Store]. It takes leave of the server.
func (s *Store) Close() error {
	s.close()
	<-s.ended
	return nil
}

// Resize implements [store.Resizer]: with n 0, or the size that the export has
// now, it connects anew and takes that on. Another size is the server's to make.
func (s *Store) Resize(n int64) error {
	if err := s.Flush(); err != nil { // what is kept may lie beyond a new end
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != nil {
		s.link.fail(errors.New("the size is to be looked up again"))
	}
	s.resizing = true
	for s.resizing && s.down == nil && s.life.Err() == nil {
		s.changed.Wait()
	}
	switch has := s.size.Load(); {
	case s.resizing:
		s.resizing = false
		return s.fail("resize", s.downErr())
	case n > 0 && n != has:
		return s.fail("resize", fmt.Errorf("the export has %d bytes, not %d: change it where it is served", has, n))
	}
	return nil
}

// downErr is why there is no link. The caller holds s.mu.
func (s *Store) downErr() error {
	if s.life.Err() != nil {
		return net.ErrClosed
	}
	return s.down
}

// call sends a request, and returns when it has been answered or has no prospect
// of it.
func (s *Store) call(r *request) error {
	s.mu.Lock()
	if err := s.admit(r); err != nil {
		s.mu.Unlock()
		return err
	}
	s.waiting = append(s.waiting, r)
	if l, users := s.link, s.users; l != nil {
		users.Add(1)
		r.tries++
		r.mark = s.unflushed.end()
		s.mu.Unlock()
		l.send(r)
		users.Done()
	} else {
		s.mu.Unlock() // the keeper sends it
	}
	<-r.done
	return r.err
}

// admit returns when a request may be sent: a change when none that overlaps it
// is under way, and there is room to keep it. The caller holds s.mu.
func (s *Store) admit(r *request) error {
	for {
		if s.down != nil || s.life.Err() != nil {
			return s.downErr()
		}
		if !r.changes() {
			return nil
		}
		full := s.unflushed.bytes+s.reserved+r.cost() > s.cfg.MaxUnflushed
		switch {
		case s.conflicts(r), full && (s.flushing || s.unflushed.bytes == 0 && s.reserved > 0):
			s.changed.Wait()
			continue
		case full && s.unflushed.bytes > 0:
			if err := s.makeRoom(); err != nil {
				return err
			}
			continue
		}
		s.reserved += r.cost()
		return nil
	}
}

func (s *Store) conflicts(r *request) bool {
	return slices.ContainsFunc(s.waiting, func(o *request) bool { return o.changes() && o.overlaps(r) })
}

// makeRoom flushes, so that unflushed becomes empty. The caller holds s.mu.
func (s *Store) makeRoom() error {
	s.flushing = true
	s.mu.Unlock()
	err := s.flush()
	s.mu.Lock()
	s.flushing = false
	s.changed.Broadcast()
	return err
}

// keeps tells whether changes must be kept until they are flushed.
func (s *Store) keeps() bool { return s.export.flags.has(sendFlush) }

// complete takes the answer to a request, and wakes its call.
func (s *Store) complete(r *request, err error) {
	var data []byte
	if r.changes() && !r.replay && err == nil && s.keeps() {
		data = bytes.Clone(r.data)
	}
	s.mu.Lock()
	if !r.replay {
		s.settle(r, data, err)
	}
	s.mu.Unlock()
	r.err = err
	r.done <- struct{}{}
}

// settle enters a request's end into the books. The caller holds s.mu.
func (s *Store) settle(r *request, data []byte, err error) {
	at := slices.Index(s.waiting, r)
	last := len(s.waiting) - 1
	s.waiting[at], s.waiting[last] = s.waiting[last], nil
	s.waiting = s.waiting[:last]
	switch {
	case r.changes():
		s.reserved -= r.cost()
		if err == nil && s.keeps() {
			s.unflushed.add(r, data)
		}
		s.changed.Broadcast()
	case r.cmd == cmdFlush && err == nil:
		s.unflushed.flushed(r.mark)
	}
}
