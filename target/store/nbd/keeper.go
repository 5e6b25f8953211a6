package nbd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/bootlun/bootlun/target/store"
)

// Bounds of the wait between two attempts to connect.
const (
	minRedial = 10 * time.Millisecond
	maxRedial = time.Second
)

// errNoAnswer is a server that keeps a request too long.
var errNoAnswer = errors.New("the server does not answer")

// keep keeps the store connected until its life ends.
func (s *Store) keep(l *link) {
	defer close(s.ended)
	tick := time.NewTicker(s.cfg.ReplyTimeout/4 + 1)
	defer tick.Stop()
	for l != nil {
		select {
		case <-s.life.Done():
			s.leave(l)
			return
		case now := <-tick.C:
			if l.overdue(now.Add(-s.cfg.ReplyTimeout)) {
				l.fail(errNoAnswer)
			}
		case <-l.failed:
			s.cfg.Logger.Warn("NBD connection lost", "uri", s.uri, "error", l.err)
			s.detach(l)
			l = s.reconnect(l.err)
		}
	}
	s.giveUp(net.ErrClosed)
}

// leave says goodbye to the server and ends all that is under way.
func (s *Store) leave(l *link) {
	for _, c := range l.conns {
		_ = c.write(&request{cmd: cmdDisconnect}, 0, time.Now().Add(time.Second)) // a courtesy
	}
	l.fail(net.ErrClosed)
	s.detach(l)
	s.giveUp(net.ErrClosed)
}

// detach takes a failed link out of use and returns when nobody works on it.
func (s *Store) detach(l *link) {
	s.mu.Lock()
	users := s.users
	s.link, s.users = nil, nil
	s.mu.Unlock()
	l.work.Wait()
	users.Wait()
}

// giveUp fails the calls that wait, and those to come until there is a link.
func (s *Store) giveUp(err error) {
	s.mu.Lock()
	s.down = err
	waiting := append([]*request(nil), s.waiting...)
	for _, r := range waiting {
		s.settle(r, nil, err)
		r.err = err
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	for _, r := range waiting {
		r.done <- struct{}{}
	}
}

// giveUpOn fails the calls that a server has had twice without an answer.
func (s *Store) giveUpOn(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(why, errNoAnswer) {
		return
	}
	for i := len(s.waiting) - 1; i >= 0; i-- {
		if r := s.waiting[i]; r.tries > 1 {
			r.err = fmt.Errorf("%w: %w", store.ErrUnavailable, why)
			s.settle(r, nil, r.err)
			r.done <- struct{}{}
		}
	}
}

// reconnect returns a new link with all that waits sent on it, nil if the
// store's life ends first.
func (s *Store) reconnect(why error) *link {
	s.giveUpOn(why)
	patience := time.NewTimer(s.cfg.ReconnectTimeout)
	defer patience.Stop()
	for delay := minRedial; ; delay = min(2*delay, maxRedial) {
		l, err := s.dial(s.life)
		if err == nil {
			if err = s.resume(l); err == nil {
				return l
			}
			l.end(err)
		}
		wait := time.NewTimer(delay)
		for waiting := true; waiting; {
			select {
			case <-s.life.Done():
				wait.Stop()
				return nil
			case <-patience.C:
				s.cfg.Logger.Error("NBD server is away: requests fail", "uri", s.uri, "error", err)
				s.giveUp(fmt.Errorf("%w since %v: %w", store.ErrUnavailable, s.cfg.ReconnectTimeout, err))
			case <-wait.C:
				waiting = false
			}
		}
	}
}

// dial makes a link with as many connections as the server and the
// configuration allow.
func (s *Store) dial(ctx context.Context) (*link, error) {
	timeout := min(s.cfg.ReplyTimeout, s.cfg.ReconnectTimeout)
	c, e, err := s.connect(ctx, timeout)
	if err != nil {
		return nil, err
	}
	conns := []*conn{c}
	for e.flags.has(canMultiConn) && len(conns) < s.cfg.Connections {
		c, other, err := s.connect(ctx, min(timeout, time.Second))
		if err != nil {
			s.cfg.Logger.Info("NBD server allows no more connections", "uri", s.uri, "connections", len(conns), "error", err)
			break
		}
		if other.size != e.size || other.flags != e.flags {
			c.nc.Close()
			break
		}
		conns = append(conns, c)
	}
	return newLink(s, e, conns), nil
}

// resume takes a new link into use: what may be lost is written again, then what
// waits is sent.
func (s *Store) resume(l *link) error {
	if err := s.recognise(l.export); err != nil {
		return err
	}
	if err := s.replay(l); err != nil {
		return err
	}
	s.mu.Lock()
	if s.resizing {
		s.size.Store(l.export.size)
		s.resizing = false
	}
	s.link, s.users, s.down = l, new(sync.WaitGroup), nil
	s.users.Add(1)
	defer s.users.Done()
	waiting := append([]*request(nil), s.waiting...)
	for _, r := range waiting {
		r.tries++
		r.mark = s.unflushed.end()
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	s.cfg.Logger.Info("NBD server is back", "uri", s.uri, "connections", len(l.conns), "again", len(waiting))
	for _, r := range waiting {
		l.send(r)
	}
	return nil
}

// recognise refuses an export that is not the one that was opened.
func (s *Store) recognise(e export) error {
	const needed = sendFlush | sendFUA | sendWriteZeros
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.size < s.size.Load() && !s.resizing:
		return fmt.Errorf("the export has %d bytes, and had %d", e.size, s.size.Load())
	case !e.flags.has(s.export.flags & needed), e.minimum > s.export.minimum, e.maximum < s.export.maximum, s.export.maps && !e.maps:
		return errors.New("the server does not offer what it did before")
	case e.flags.has(readOnly) && !s.readOnly:
		return errors.New("the export has become read-only")
	}
	return nil
}

// replayAtOnce is how many writes are repeated at the same time.
const replayAtOnce = 64

// replay writes again what the server may have lost. Writes that overlap go one
// after the other.
func (s *Store) replay(l *link) error {
	s.mu.Lock()
	entries := s.unflushed.entries // nobody changes them without a link
	s.mu.Unlock()
	var batch []*request
	for _, e := range entries {
		r := &request{cmd: cmdWrite, off: e.off, n: e.n, data: e.data, replay: true, done: make(chan struct{}, 1)}
		if e.data == nil {
			r.cmd = cmdWriteZeroes
		}
		overlaps := false
		for _, o := range batch {
			overlaps = overlaps || o.overlaps(r)
		}
		if overlaps || len(batch) == replayAtOnce {
			if err := s.await(l, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		batch = append(batch, r)
		l.send(r)
	}
	return s.await(l, batch)
}

// await waits for repeated writes. One that the server refuses is lost, and no
// flush succeeds from then on.
func (s *Store) await(l *link, batch []*request) error {
	timeout := time.NewTimer(s.cfg.ReplyTimeout)
	defer timeout.Stop()
	for _, r := range batch {
		select {
		case <-timeout.C:
			return errNoAnswer
		case <-r.done:
		case <-l.failed:
			return l.err
		case <-s.life.Done():
			return net.ErrClosed
		}
		if r.err == nil {
			continue
		}
		s.mu.Lock()
		if s.flushErr == nil {
			s.flushErr = fmt.Errorf("a write was lost with the server and cannot be repeated: %w", r.err)
		}
		s.mu.Unlock()
	}
	return nil
}
