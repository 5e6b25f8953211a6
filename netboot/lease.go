package netboot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	offerTime      = time.Minute      // an offered address is held that long for its client
	quarantineTime = 10 * time.Minute // an address that a client found in use is kept from everybody that long
)

// errExhausted is the reason when no address is left.
var errExhausted = errors.New("no address is free")

// LeaseState says what a lease is.
type LeaseState string

// The states.
const (
	Offered  LeaseState = "offered"  // to be asked for within a minute; not in the lease file
	Bound    LeaseState = "bound"    // the client's until it expires
	Released LeaseState = "released" // given back, or expired; the client gets it again while nobody else needs it
	Declined LeaseState = "declined" // a client found it in use by somebody else
)

// Lease is one address and whose it is.
type Lease struct {
	IP netip.Addr `json:"ip"`
	// Client is the client's MAC address, or "id-" and its client identifier in hexadecimal where it has no Ethernet
	// address.
	Client  string     `json:"client"`
	Name    string     `json:"name,omitzero"`
	State   LeaseState `json:"state"`
	Expires time.Time  `json:"expires"`
}

// active reports whether the address is out of reach for other clients.
func (l *Lease) active(now time.Time) bool { return l.State != Released && now.Before(l.Expires) }

// pool is which client has which address. It keeps no clock: every method is told the time. Safe for concurrent use.
//
// A client is known by its MAC address, not its client identifier, wherever it has one: firmware, boot loader, our
// init and the installed system each make up an identifier of their own, and all are one machine.
type pool struct {
	subnet      netip.Prefix
	first       netip.Addr
	size        int
	reserved    map[string]netip.Addr   // client to address
	unavailable map[netip.Addr]struct{} // reserved for one client, or the server's or router's own

	mu       sync.Mutex
	byIP     map[netip.Addr]*Lease
	byClient map[string]*Lease
	changes  uint64 // how often something that the lease file holds has changed
}

func newPool(d DHCP, server netip.Addr, list []Machine) *pool {
	p := &pool{
		subnet: d.Subnet, first: d.PoolStart, size: distance(d.PoolStart, d.PoolEnd) + 1,
		reserved:    make(map[string]netip.Addr),
		unavailable: map[netip.Addr]struct{}{server: {}, d.Router: {}},
		byIP:        make(map[netip.Addr]*Lease),
		byClient:    make(map[string]*Lease),
	}
	for _, m := range list {
		if m.IP.IsValid() {
			p.reserved[m.MAC.String()] = m.IP
			p.unavailable[m.IP] = struct{}{}
		}
	}
	return p
}

// offer chooses an address for a client and holds it: the one reserved for it, the one it has or had, the one it asks
// for (want, may be invalid), else one that nobody had yet, else the one whose lease has expired the longest time ago.
func (p *pool) offer(client string, want netip.Addr, now time.Time) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ip, err := p.choose(client, want, now)
	if err != nil {
		return netip.Addr{}, err
	}
	if l := p.byIP[ip]; l != nil && l.Client == client && l.State == Bound && l.active(now) {
		return ip, nil // An offer does not shorten a lease.
	}
	p.put(&Lease{IP: ip, Client: client, State: Offered, Expires: now.Add(offerTime)})
	return ip, nil
}

func (p *pool) choose(client string, want netip.Addr, now time.Time) (netip.Addr, error) {
	if ip, ok := p.reserved[client]; ok {
		if l := p.byIP[ip]; l != nil && l.State == Declined && l.active(now) {
			return netip.Addr{}, fmt.Errorf("%w: %s is reserved for %s, which found it in use by somebody else: find out by whom",
				errExhausted, ip, client)
		}
		return ip, nil
	}
	if l := p.byClient[client]; l != nil && l.State != Declined && p.dynamic(l.IP) {
		return l.IP, nil
	}
	if p.dynamic(want) && p.byIP[want] == nil {
		return want, nil
	}
	return p.free(client, now)
}

// free looks for an address nobody had yet, from a place on that depends on the client alone, so that it tends to get
// the same one even from a server that has lost its leases.
func (p *pool) free(client string, now time.Time) (netip.Addr, error) {
	hash := fnv.New32a()
	hash.Write([]byte(client))
	start := int(hash.Sum32()) & (1<<31 - 1)
	var oldest *Lease
	for i := range p.size {
		ip := addrAt(p.first, (start+i)%p.size)
		if !p.dynamic(ip) {
			continue
		}
		l := p.byIP[ip]
		if l == nil {
			return ip, nil
		}
		if !l.active(now) && (oldest == nil || l.Expires.Before(oldest.Expires)) {
			oldest = l
		}
	}
	if oldest == nil {
		return netip.Addr{}, fmt.Errorf("%w: all of %s to %s are leased; widen dhcp.poolStart and poolEnd, or shorten leaseTime",
			errExhausted, p.first, addrAt(p.first, p.size-1))
	}
	return oldest.IP, nil
}

// confirm makes an address the client's until now+ttl. The error says why it cannot be.
func (p *pool) confirm(client, name string, ip netip.Addr, ttl time.Duration, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refusal(client, ip, now); err != nil {
		return err
	}
	p.put(&Lease{IP: ip, Client: client, Name: name, State: Bound, Expires: now.Add(ttl)})
	p.changes++
	return nil
}

func (p *pool) refusal(client string, ip netip.Addr, now time.Time) error {
	if !p.subnet.Contains(ip) {
		return fmt.Errorf("%s is not in this network, %s", ip, p.subnet)
	}
	if reserved, ok := p.reserved[client]; ok {
		if ip != reserved {
			return fmt.Errorf("%s is not the address reserved for this machine, %s", ip, reserved)
		}
	} else if !p.dynamic(ip) {
		return fmt.Errorf("%s is not in the pool", ip)
	}
	if l := p.byIP[ip]; l != nil && l.active(now) && (l.Client != client || l.State == Declined) {
		return fmt.Errorf("%s is somebody else's", ip)
	}
	if l := p.byClient[client]; l != nil && l.IP != ip && l.active(now) && !p.superseded(l) {
		return fmt.Errorf("%s is not this machine's, %s is", ip, l.IP)
	}
	return nil
}

// superseded reports whether a lease is of an address that its client may not have any more, because the
// configuration has changed since.
func (p *pool) superseded(l *Lease) bool {
	if reserved, ok := p.reserved[l.Client]; ok {
		return l.IP != reserved
	}
	return !p.dynamic(l.IP)
}

// release gives an address back; false when it was not the client's.
func (p *pool) release(client string, ip netip.Addr, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byClient[client]
	if l == nil || l.IP != ip || l.State == Declined {
		return false
	}
	p.put(&Lease{IP: ip, Client: client, Name: l.Name, State: Released, Expires: now})
	p.changes++
	return true
}

// decline keeps an address that its client found in use from everybody for a while; false when it was not the
// client's.
func (p *pool) decline(client string, ip netip.Addr, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byClient[client]
	if l == nil || l.IP != ip || l.State == Declined {
		return false
	}
	p.put(&Lease{IP: ip, Client: client, Name: l.Name, State: Declined, Expires: now.Add(quarantineTime)})
	delete(p.byClient, client)
	p.changes++
	return true
}

// put enters a lease in place of the client's and the address's former ones.
func (p *pool) put(l *Lease) {
	if old := p.byIP[l.IP]; old != nil && p.byClient[old.Client] == old {
		delete(p.byClient, old.Client)
	}
	if old := p.byClient[l.Client]; old != nil && p.byIP[old.IP] == old {
		delete(p.byIP, old.IP)
	}
	p.byIP[l.IP], p.byClient[l.Client] = l, l
}

// address returns the address that a client has now.
func (p *pool) address(client string, now time.Time) (netip.Addr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byClient[client]
	if l == nil || l.State != Bound || !l.active(now) {
		return netip.Addr{}, false
	}
	return l.IP, true
}

// holder returns the client that has an address now.
func (p *pool) holder(ip netip.Addr, now time.Time) (client string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byIP[ip]
	if l == nil || l.State != Bound || !l.active(now) {
		return "", false
	}
	return l.Client, true
}

// dynamic reports whether an address is the pool's to give to anybody.
func (p *pool) dynamic(ip netip.Addr) bool {
	if _, taken := p.unavailable[ip]; taken || !ip.Is4() || ip.Less(p.first) {
		return false
	}
	return distance(p.first, ip) < p.size
}

// leases returns all leases in the order of their addresses, and how many changes they reflect.
func (p *pool) leases() ([]Lease, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Lease, 0, len(p.byIP))
	for _, l := range p.byIP {
		list = append(list, *l)
	}
	slices.SortFunc(list, func(a, b Lease) int { return a.IP.Compare(b.IP) })
	return list, p.changes
}

// changed is how often something that the lease file holds has changed.
func (p *pool) changed() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changes
}

// addrAt is the IPv4 address n after a.
func addrAt(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], uint32(int64(binary.BigEndian.Uint32(b[:]))+int64(n)))
	return netip.AddrFrom4(b)
}

// distance is how many IPv4 addresses b is after a.
func distance(a, b netip.Addr) int {
	x, y := a.As4(), b.As4()
	return int(int64(binary.BigEndian.Uint32(y[:])) - int64(binary.BigEndian.Uint32(x[:])))
}
