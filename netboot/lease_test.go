package netboot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

var t0 = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// testPool has the addresses 10.0.0.10 to 10.0.0.13, of which .11 is the server's; .50 is reserved for "52:54:00:12:34:56".
func testPool() *pool {
	d := DHCP{Subnet: netip.MustParsePrefix("10.0.0.0/24"), PoolStart: addr("10.0.0.10"), PoolEnd: addr("10.0.0.13")}
	return newPool(d, addr("10.0.0.11"), []Machine{{MAC: testMAC, IP: addr("10.0.0.50")}})
}

func mustOffer(t *testing.T, p *pool, client string, now time.Time) netip.Addr {
	t.Helper()
	ip, err := p.offer(client, netip.Addr{}, now)
	if err != nil {
		t.Fatal(err)
	}
	return ip
}

func mustConfirm(t *testing.T, p *pool, client string, ip netip.Addr, now time.Time) {
	t.Helper()
	if err := p.confirm(client, "", ip, time.Hour, now); err != nil {
		t.Fatal(err)
	}
}

func TestPoolIsStable(t *testing.T) {
	p := testPool()
	ip := mustOffer(t, p, "a", t0)
	mustConfirm(t, p, "a", ip, t0)
	for _, later := range []time.Duration{0, time.Minute, 2 * time.Hour, 1000 * time.Hour} {
		if again := mustOffer(t, p, "a", t0.Add(later)); again != ip {
			t.Errorf("after %s: %s, had %s", later, again, ip)
		}
	}
	if fresh := mustOffer(t, testPool(), "a", t0); fresh != ip {
		t.Errorf("a pool without leases gives %s, had %s", fresh, ip)
	}
}

func TestPoolGivesEveryAddressOnce(t *testing.T) {
	p := testPool()
	seen := make(map[netip.Addr]bool)
	for i := range 3 {
		ip := mustOffer(t, p, fmt.Sprint(i), t0)
		if seen[ip] || ip == addr("10.0.0.11") || !p.dynamic(ip) {
			t.Errorf("client %d: %s", i, ip)
		}
		seen[ip] = true
	}
	_, err := p.offer("3", netip.Addr{}, t0)
	if !errors.Is(err, errExhausted) || !strings.Contains(err.Error(), "poolEnd") {
		t.Errorf("exhausted pool: %v", err)
	}
	if _, err := p.offer("3", netip.Addr{}, t0.Add(offerTime)); err != nil {
		t.Errorf("once the offers have run out: %v", err)
	}
}

func TestPoolReusesTheOldest(t *testing.T) {
	p := testPool()
	ips := make(map[string]netip.Addr)
	for i, client := range []string{"b", "a", "c"} {
		now := t0.Add(time.Duration(i) * time.Minute)
		ips[client] = mustOffer(t, p, client, now)
		mustConfirm(t, p, client, ips[client], now)
	}
	late := t0.Add(10 * time.Hour)
	if got := mustOffer(t, p, "new", late); got != ips["b"] {
		t.Errorf("got %s, b's lease expired first and was %s", got, ips["b"])
	}
	if got := mustOffer(t, p, "a", late); got != ips["a"] {
		t.Errorf("a gets %s, had %s", got, ips["a"])
	}
}

func TestPoolRequestedAddress(t *testing.T) {
	p := testPool()
	if ip, err := p.offer("a", addr("10.0.0.12"), t0); err != nil || ip != addr("10.0.0.12") {
		t.Errorf("free address asked for: %s, %v", ip, err)
	}
	for _, want := range []string{"10.0.0.12", "10.0.0.11", "10.0.0.50", "10.9.9.9", "10.0.0.255", "fe80::1"} {
		if ip, err := p.offer("b", addr(want), t0); err != nil || ip == addr(want) {
			t.Errorf("address %s, not to be had: %s, %v", want, ip, err)
		}
	}
}

func TestPoolReservation(t *testing.T) {
	p := testPool()
	client := testMAC.String()
	if ip := mustOffer(t, p, client, t0); ip != addr("10.0.0.50") {
		t.Errorf("offered %s", ip)
	}
	mustConfirm(t, p, client, addr("10.0.0.50"), t0)
	wantError(t, p.confirm("x", "", addr("10.0.0.50"), time.Hour, t0), "not in the pool")
	wantError(t, p.confirm(client, "", addr("10.0.0.12"), time.Hour, t0), "reserved")
	if !p.decline(client, addr("10.0.0.50"), t0) {
		t.Error("decline was ignored")
	}
	_, err := p.offer(client, netip.Addr{}, t0)
	wantError(t, err, "find out by whom")
	if ip := mustOffer(t, p, client, t0.Add(quarantineTime)); ip != addr("10.0.0.50") {
		t.Errorf("after the quarantine: %s", ip)
	}
}

func TestPoolRefusals(t *testing.T) {
	p := testPool()
	mustConfirm(t, p, "a", addr("10.0.0.10"), t0)
	mustConfirm(t, p, "gone", addr("10.0.0.13"), t0)
	for _, c := range []struct {
		client, ip string
		after      time.Duration
		want       string
	}{
		{"a", "10.0.0.10", 0, ""},
		{"b", "10.0.0.10", 0, "somebody else's"},
		{"b", "10.0.0.10", time.Hour - 1, "somebody else's"},
		{"a", "10.0.0.12", 0, "10.0.0.10 is"},
		{"b", "192.168.1.10", 0, "not in this network"},
		{"b", "10.0.0.99", 0, "not in the pool"},
		{"b", "10.0.0.11", 0, "not in the pool"},
		{"new", "10.0.0.12", 0, ""}, // a client of a server that has lost its leases
		{"b", "10.0.0.13", time.Hour, ""},
	} {
		err := p.confirm(c.client, "", addr(c.ip), time.Hour, t0.Add(c.after))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s asks for %s after %s: %v, want %q", c.client, c.ip, c.after, err, c.want)
		}
	}
}

func TestPoolReleaseAndDecline(t *testing.T) {
	p := testPool()
	mustConfirm(t, p, "a", addr("10.0.0.10"), t0)
	if p.release("b", addr("10.0.0.10"), t0) || p.release("a", addr("10.0.0.12"), t0) {
		t.Error("released what was not theirs")
	}
	if !p.release("a", addr("10.0.0.10"), t0) {
		t.Fatal("release was ignored")
	}
	if _, ok := p.address("a", t0); ok {
		t.Error("has an address still")
	}
	mustConfirm(t, p, "b", addr("10.0.0.10"), t0)
	if p.release("a", addr("10.0.0.10"), t0) {
		t.Error("a released what is now b's")
	}
	if !p.decline("b", addr("10.0.0.10"), t0) {
		t.Fatal("decline was ignored")
	}
	for _, client := range []string{"a", "b", "c"} {
		if ip, err := p.offer(client, addr("10.0.0.10"), t0.Add(quarantineTime-1)); ip == addr("10.0.0.10") {
			t.Errorf("%s was offered the declined address (%v)", client, err)
		}
	}
}

func TestPoolReservedSinceLease(t *testing.T) {
	p := testPool()
	client := testMAC.String()
	dropped := p.restore([]Lease{
		{IP: addr("10.0.0.12"), Client: client, State: Bound, Expires: t0.Add(time.Hour)},
		{IP: addr("10.0.0.50"), Client: "a", State: Bound, Expires: t0.Add(time.Hour)},
		{IP: addr("10.0.0.13"), Client: "b", State: Bound, Expires: t0.Add(time.Hour)},
		{IP: addr("10.0.0.13"), Client: "c", State: Bound, Expires: t0.Add(time.Hour)},
		{IP: addr("10.0.0.10"), Client: "b", State: Bound, Expires: t0.Add(time.Hour)},
		{IP: addr("10.0.0.10"), Client: "d", State: "strange", Expires: t0.Add(time.Hour)},
	})
	if len(dropped) != 5 {
		t.Errorf("dropped %v", dropped)
	}
	mustConfirm(t, p, client, addr("10.0.0.50"), t0)
}

// TestPoolInvariants does at random what clients do and checks after each step that no address is two clients'.
func TestPoolInvariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := testPool()
	clients := []string{"a", "b", "c", "d", "e", testMAC.String()}
	ips := []netip.Addr{addr("10.0.0.10"), addr("10.0.0.11"), addr("10.0.0.12"), addr("10.0.0.13"), addr("10.0.0.50"), addr("10.0.0.99")}
	now := t0
	granted := make(map[netip.Addr]Lease)
	for range 20000 {
		now = now.Add(time.Duration(rng.IntN(10)) * time.Minute)
		client, ip := clients[rng.IntN(len(clients))], ips[rng.IntN(len(ips))]
		switch rng.IntN(5) {
		case 0, 1:
			if got, err := p.offer(client, ip, now); err == nil {
				ip = got
			}
			fallthrough
		case 2:
			if p.confirm(client, "", ip, time.Hour, now) == nil {
				if other, ok := granted[ip]; ok && other.Client != client && now.Before(other.Expires) {
					t.Fatalf("%s is %s's and was granted to %s", ip, other.Client, client)
				}
				granted[ip] = Lease{Client: client, Expires: now.Add(time.Hour)}
			}
		case 3:
			if p.release(client, ip, now) {
				delete(granted, ip)
			}
		case 4:
			if rng.IntN(20) == 0 && p.decline(client, ip, now) {
				delete(granted, ip)
			}
		}
		checkIndexes(t, p)
	}
	if len(granted) == 0 {
		t.Error("nothing was ever granted")
	}
}

func checkIndexes(t *testing.T, p *pool) {
	t.Helper()
	for client, l := range p.byClient {
		if l.Client != client || p.byIP[l.IP] != l {
			t.Fatalf("lease %+v of client %s is not the address's: %+v", l, client, p.byIP[l.IP])
		}
	}
	for ip, l := range p.byIP {
		if l.IP != ip || l.State != Declined && p.byClient[l.Client] != l {
			t.Fatalf("lease %+v of address %s is not the client's: %+v", l, ip, p.byClient[l.Client])
		}
	}
}

func TestAddressArithmetic(t *testing.T) {
	for _, c := range []struct {
		a string
		n int
		b string
	}{
		{"10.0.0.255", 1, "10.0.1.0"}, {"10.0.1.0", -1, "10.0.0.255"}, {"192.168.255.255", 1, "192.169.0.0"}, {"10.0.0.0", 1 << 16, "10.1.0.0"},
	} {
		if got := addrAt(addr(c.a), c.n); got != addr(c.b) {
			t.Errorf("%s + %d = %s, want %s", c.a, c.n, got, c.b)
		}
		if got := distance(addr(c.a), addr(c.b)); got != c.n {
			t.Errorf("%s to %s: %d, want %d", c.a, c.b, got, c.n)
		}
	}
	if got := lastAddr(netip.MustParsePrefix("10.1.2.3/20")); got != addr("10.1.15.255") {
		t.Errorf("broadcast address %s", got)
	}
}

func TestLargePoolExhaustion(t *testing.T) {
	d := DHCP{Subnet: netip.MustParsePrefix("10.0.0.0/8")}.withDefaults(netip.MustParsePrefix("10.0.0.1/8"))
	p := newPool(d, addr("10.0.0.1"), nil)
	if p.size != maxPool-1 {
		t.Fatalf("%d addresses", p.size)
	}
	for i := range p.size {
		mac := ibft.MAC{2, byte(i >> 16), byte(i >> 8), byte(i), 1, 1}
		p.put(&Lease{IP: addrAt(p.first, i), Client: mac.String(), State: Bound, Expires: t0.Add(time.Hour)})
	}
	if _, err := p.offer("one more", netip.Addr{}, t0); !errors.Is(err, errExhausted) {
		t.Errorf("error %v", err)
	}
}
