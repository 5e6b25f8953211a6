package target

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// pendingLogins are the connections that have not logged in. They are bounded,
// and a flood of them from one address pushes out its own, not those of others.
type pendingLogins struct {
	limit atomic.Int64

	mu      sync.Mutex
	conns   []*conn // the oldest first
	crowded bool    // there have been too many, and few enough not since
}

// add adds a connection. If there are too many it ends one.
func (p *pendingLogins) add(c *conn) {
	p.mu.Lock()
	p.conns = append(p.conns, c)
	var out *conn
	warn := false
	if int64(len(p.conns)) > p.limit.Load() {
		out = p.worst()
		warn = !p.crowded
		p.crowded = true
		p.drop(out)
	}
	p.mu.Unlock()
	if out != nil {
		out.close(errCrowded)
	}
	if warn {
		c.log.Warn("too many logins are under way: older ones are ended", "limit", p.limit.Load())
	}
}

// worst returns the oldest connection of the address that has most. The caller
// holds p.mu.
func (p *pendingLogins) worst() *conn {
	count := make(map[netip.Addr]int)
	for _, c := range p.conns {
		count[c.from]++
	}
	out := p.conns[0]
	for _, c := range p.conns {
		if count[c.from] > count[out.from] {
			out = c
		}
	}
	return out
}

// count returns how many there are.
func (p *pendingLogins) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// remove removes a connection that has logged in, or has ended.
func (p *pendingLogins) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(c)
	if int64(len(p.conns)) < p.limit.Load()/2 {
		p.crowded = false
	}
}

// drop is remove for who holds p.mu.
func (p *pendingLogins) drop(c *conn) {
	if i := slices.Index(p.conns, c); i >= 0 {
		p.conns = slices.Delete(p.conns, i, i+1)
	}
}
