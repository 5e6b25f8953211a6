package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// maxTSIH is how many sessions a TSIH can tell apart: 16 bits without zero.
const maxTSIH = 1<<16 - 1

// ErrServerClosed is what Serve returns, wrapped with the context's cause, when
// its context has ended and everything it started has.
var ErrServerClosed = errors.New("target: server closed")

// ErrStoreHangs is in what Serve returns when commands are left in a store that
// does not answer. It must not be closed, and what the commands write may still
// be written.
var ErrStoreHangs = errors.New("target: a store does not answer")

// Server is an iSCSI target server. Make one with [New]; all of its methods may
// be called from several goroutines.
type Server struct {
	current    atomic.Pointer[Config]
	log        *slog.Logger
	epoch      time.Time                 // when it was made
	targets    atomic.Pointer[targetSet] // replaced whole, under mu
	devices    *devices
	operations *operationTable // of disks
	ofDiscs    *operationTable // of CD-ROMs
	buffers    bufferPool
	tasks      sync.Pool // of *task
	pending    pendingLogins

	loginsDone, loginsRefused atomic.Uint64

	mu       sync.Mutex
	sessions map[uint16]*session // by TSIH
	lastTSIH uint16

	listeners map[net.Listener]uint16 // being served, with the tags of their portal groups
	changed   chan struct{}           // closed when targets or listeners are others
}

// config returns what is in force now. Nobody changes it.
func (s *Server) config() *Config { return s.current.Load() }

// Config returns the configuration that is in force, with its defaults, but for
// Targets. It must not be changed.
func (s *Server) Config() Config {
	c := *s.config()
	c.Offer = c.Offer.WithDefaults()
	return c
}

// configure has a configuration hold, which has its defaults.
func (s *Server) configure(c *Config) {
	s.buffers.limit.Store(c.MemoryLimit)
	s.pending.limit.Store(int64(c.MaxPendingLogins))
	s.current.Store(c)
}

// Configure changes the server's limits, times, offer and discovery CHAP to those of
// cfg while it serves. What a login settles (Offer, QueueDepth, DiscoveryCHAP) holds
// for later logins, all else at once. Targets, PortalGroups, PortGroups, Logger and
// Events of cfg do not count: they stay, or have methods of their own.
func (s *Server) Configure(cfg Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config()
	cfg.Targets, cfg.PortGroups, cfg.PortalGroups = nil, now.PortGroups, now.PortalGroups
	cfg.Logger, cfg.Events = now.Logger, now.Events
	if err := cfg.check(); err != nil {
		return err
	}
	full := cfg.withDefaults()
	s.configure(&full)
	s.log.Info("settings changed")
	return nil
}

// New returns a server for cfg, or says what is wrong with cfg. It keeps the
// stores that cfg names and nothing else of it.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{
		devices: newDevices(cfg.PortGroups),
		epoch:   time.Now(),
		operations: newOperationTable(
			basicOperations, readOperations, writeOperations, provisionOperations, sanitizeOperations,
			reserveOperations, portGroupOperations, copyOperations, logOperations,
		),
		ofDiscs:   newOperationTable(discOperations),
		sessions:  make(map[uint16]*session),
		listeners: make(map[net.Listener]uint16),
		changed:   make(chan struct{}),
	}
	full := cfg.withDefaults()
	full.Targets = nil
	s.log = full.Logger
	s.configure(&full)
	s.tasks.New = func() any { return new(task) }
	set := &targetSet{byName: make(map[string]*target)}
	for _, t := range cfg.Targets {
		rt, err := s.newTarget(t)
		if err != nil {
			return nil, err
		}
		set = set.with(rt)
	}
	s.targets.Store(set)
	return s, nil
}

// Serve accepts connections from l and serves them until ctx ends. Then it asks
// sessions to log out, gives them LogoutTimeout, closes what is left, and
// returns when every goroutine it started has ended. A store that hangs in a
// call holds it up for StopTimeout; then it returns without the goroutines that
// wait for the store, and its error is ErrStoreHangs too. It always returns an
// error: ErrServerClosed after ctx, else what is wrong with l. It closes l.
//
// Several listeners may be served at once, by one Serve each: their connections
// reach the same targets and sessions. They are all in the first portal group.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.ServePortal(ctx, l, s.config().PortalGroups[0].Tag)
}

// ServePortal is Serve for a listener in the portal group with the given tag.
func (s *Server) ServePortal(ctx context.Context, l net.Listener, tag uint16) error {
	group, err := s.config().group(tag)
	if err != nil {
		l.Close()
		return err
	}
	defer s.listen(l, tag)()
	v := &service{srv: s, group: group, conns: make(map[*conn]struct{})}
	v.ctx, v.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer v.cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()

	v.wg.Go(v.watch)
	err = v.accept(ctx, l)
	l.Close()
	if ctx.Err() != nil {
		v.askToLogOut()
		err = fmt.Errorf("%w: %w", ErrServerClosed, context.Cause(ctx))
	}
	v.closeAll() // first, so that connections know why
	v.cancel()
	if !v.await(s.config().StopTimeout) {
		return fmt.Errorf("%w: %w", err, ErrStoreHangs)
	}
	if v.loop != nil {
		v.loop.stop()
	}
	return err
}

// await reports whether all goroutines have ended within a time; less than none
// is for ever.
func (v *service) await(limit time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		v.wg.Wait()
		close(ended)
	}()
	var late <-chan time.Time
	if limit >= 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ended:
		return true
	case <-late:
		return false
	}
}

// service is one listener being served.
type service struct {
	srv    *Server
	group  *PortalGroup
	ctx    context.Context // ends when connections must
	cancel context.CancelFunc
	wg     sync.WaitGroup // watch, connections and what works for them

	mu    sync.Mutex
	loop  *loop // once a connection has joined it
	conns map[*conn]struct{}
	empty chan struct{} // closed when conns is empty, if somebody waits
}

// Bounds of the wait after an Accept that failed for lack of something.
const (
	minAcceptDelay = 5 * time.Millisecond
	maxAcceptDelay = time.Second
)

func (v *service) accept(ctx context.Context, l net.Listener) error {
	delay := minAcceptDelay
	for {
		nc, err := l.Accept()
		if err == nil {
			delay = minAcceptDelay
			v.take(nc)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) || !isTemporary(err) {
			return fmt.Errorf("target: accept on %v: %w", l.Addr(), err)
		}
		v.srv.log.Warn("cannot accept a connection, will retry", "listener", l.Addr().String(), "error", err, "after", delay)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, maxAcceptDelay)
	}
}

// isTemporary tells errors that go away, such as too many open files. The method
// is deprecated for want of a definition; for Accept it has one.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// take starts to serve a connection.
func (v *service) take(nc net.Conn) {
	keepAlive(nc)
	c := newConn(v, nc)
	v.srv.pending.add(c)
	v.mu.Lock()
	v.conns[c] = struct{}{}
	v.mu.Unlock()
	v.wg.Add(1)
	go c.run()
}

// join has a loop go on with a connection, and reports whether one does.
func (v *service) join(c *conn, serve func()) bool {
	v.mu.Lock()
	var err error
	if v.loop == nil {
		v.loop, err = newLoop()
	}
	lp := v.loop
	v.mu.Unlock()
	if err == nil {
		err = c.link.join(lp, serve)
	}
	if err != nil {
		c.log.Warn("served without an event loop, which is slower", "error", err)
	}
	return err == nil
}

// leave is the end of a connection.
func (v *service) leave(c *conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, c)
	if len(v.conns) == 0 && v.empty != nil {
		close(v.empty)
		v.empty = nil
	}
	v.wg.Done()
}

// keepAlive has TCP find peers that are gone: after a minute at most.
func keepAlive(nc net.Conn) {
	if tc, ok := nc.(*net.TCPConn); ok {
		_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{ // without it, a dead session stays for longer
			Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3,
		})
	}
}

// each calls f for every connection, with no lock held.
func (v *service) each(f func(*conn)) {
	v.mu.Lock()
	all := make([]*conn, 0, len(v.conns))
	for c := range v.conns {
		all = append(all, c)
	}
	v.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

func (v *service) closeAll() { v.each(func(c *conn) { c.close(errShutdown) }) }

// askToLogOut asks every session to log out and waits for that, up to
// LogoutTimeout. Connections without a session are closed.
func (v *service) askToLogOut() {
	limit := v.srv.config().LogoutTimeout
	if limit < 0 {
		return
	}
	done := make(chan struct{})
	v.mu.Lock()
	if len(v.conns) == 0 {
		close(done)
	} else {
		v.empty = done
	}
	v.mu.Unlock()
	v.each(func(c *conn) { v.wg.Go(func() { c.askToLogOut(limit) }) })
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// watchTick is how often watch looks.
const watchTick = time.Second

// watch looks after what no goroutine of a connection's own can: peers that
// stall, and sessions to be pinged.
func (v *service) watch() {
	tick := time.NewTicker(min(watchTick, v.srv.config().StallTimeout/2+1))
	defer tick.Stop()
	for {
		select {
		case <-v.ctx.Done():
			return
		case now := <-tick.C:
			v.each(func(c *conn) { c.watch(now) })
		}
	}
}

// newTSIH returns a TSIH that no session has. The caller holds s.mu and has
// found that there is room.
func (s *Server) newTSIH() uint16 {
	for {
		s.lastTSIH++
		if _, taken := s.sessions[s.lastTSIH]; !taken && s.lastTSIH != 0 {
			return s.lastTSIH
		}
	}
}

// establish enters a session into the books, in place of the one that it
// reinstates, and waits for that one's end (RFC 7143, 6.3.5), as long as ctx
// lets it.
func (s *Server) establish(ctx context.Context, n *session) iscsi.LoginStatus {
	s.mu.Lock()
	var old *session
	for _, o := range s.sessions {
		if o.id == n.id {
			old = o
		}
	}
	if n.target != nil && n.target.settings.Load().draining {
		s.mu.Unlock()
		return iscsi.StatusServiceUnavailable
	}
	if old == nil && len(s.sessions) >= s.config().MaxSessions {
		s.mu.Unlock()
		return iscsi.StatusOutOfResources
	}
	n.tsih = s.newTSIH()
	s.sessions[n.tsih] = n
	if old != nil {
		delete(s.sessions, old.tsih)
	}
	s.mu.Unlock()
	if old != nil {
		old.drop(errReinstated)
		select {
		case <-old.over:
		case <-ctx.Done():
			s.forget(n)
			close(n.over)
			return iscsi.StatusTargetError
		}
	}
	return iscsi.StatusSuccess
}

// forget takes a session out of the books.
func (s *Server) forget(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[n.tsih] == n {
		delete(s.sessions, n.tsih)
	}
}

// MemoryInUse returns how much data of commands the server holds, in bytes:
// what MemoryLimit bounds.
func (s *Server) MemoryInUse() int64 { return s.buffers.used.Load() }
