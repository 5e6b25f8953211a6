package netboot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/bootlun/bootlun/internal/atomicfile"
)

// leaseFile keeps a pool's leases across restarts. Its methods may be called from several goroutines.
type leaseFile struct {
	path string // empty: nothing is kept
	pool *pool

	mu    sync.Mutex
	saved uint64 // the pool's count of changes that the file reflects
}

// leaseDocument is what the file holds.
type leaseDocument struct {
	Version int     `json:"version"`
	Leases  []Lease `json:"leases"`
}

// load fills the pool. Leases that the configuration no longer allows are left out and returned.
func (f *leaseFile) load() (dropped []Lease, err error) {
	if f.path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("netboot: dhcp.leaseFile: %w", err)
	}
	var doc leaseDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("netboot: dhcp.leaseFile %s: %w; restore it, or delete it to begin without leases", f.path, err)
	}
	if doc.Version != 1 {
		return nil, fmt.Errorf("netboot: dhcp.leaseFile %s: version %d, this program knows 1 only; delete it to begin without leases",
			f.path, doc.Version)
	}
	return f.pool.restore(doc.Leases), nil
}

// restore enters leases of a former run and returns those that the configuration no longer allows.
func (p *pool) restore(leases []Lease) (dropped []Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range leases {
		valid := l.IP.Is4() && l.Client != "" && (l.State == Bound || l.State == Released || l.State == Declined)
		if !valid || p.byIP[l.IP] != nil || p.byClient[l.Client] != nil || p.superseded(&l) {
			dropped = append(dropped, l)
			continue
		}
		p.byIP[l.IP] = &l
		if l.State != Declined {
			p.byClient[l.Client] = &l
		}
	}
	return dropped
}

// save writes the leases unless the file has the caller's change already. Whoever comes while another writes waits and
// then most often finds its change written, so that a crowd of machines costs few writes.
func (f *leaseFile) save() error {
	if f.path == "" {
		return nil
	}
	want := f.pool.changed()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.saved >= want {
		return nil
	}
	leases, changes := f.pool.leases()
	kept := leases[:0]
	for _, l := range leases {
		if l.State != Offered {
			l.Expires = l.Expires.UTC().Truncate(time.Second)
			kept = append(kept, l)
		}
	}
	b, err := json.MarshalIndent(leaseDocument{Version: 1, Leases: kept}, "", "\t")
	if err != nil {
		return fmt.Errorf("netboot: dhcp.leaseFile %s: %w", f.path, err)
	}
	if err := atomicfile.Write(f.path, append(b, '\n')); err != nil {
		return fmt.Errorf("netboot: dhcp.leaseFile: %w", err)
	}
	f.saved = changes
	return nil
}
