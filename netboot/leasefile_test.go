package netboot

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func TestLeaseFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.json")
	f := &leaseFile{path: path, pool: testPool()}
	mustConfirm(t, f.pool, "a", addr("10.0.0.10"), t0)
	mustConfirm(t, f.pool, "b", addr("10.0.0.12"), t0)
	mustOffer(t, f.pool, "offered", t0)
	f.pool.release("b", addr("10.0.0.12"), t0)
	if err := f.save(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "leases.json", b)

	again := &leaseFile{path: path, pool: testPool()}
	if dropped, err := again.load(); err != nil || len(dropped) != 0 {
		t.Fatalf("dropped %v, error %v", dropped, err)
	}
	if ip, ok := again.pool.address("a", t0); !ok || ip != addr("10.0.0.10") {
		t.Errorf("a has %s, %t", ip, ok)
	}
	if ip := mustOffer(t, again.pool, "b", t0); ip != addr("10.0.0.12") {
		t.Errorf("b gets %s", ip)
	}
}

func TestLeaseFileErrors(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"broken":  {`{"version":1,"leases":[`, "delete it"},
		"future":  {`{"version":2}`, "version 2"},
		"nothing": {``, "delete it"},
	} {
		path := filepath.Join(dir, name)
		writeFile(t, path, c.text)
		_, err := (&leaseFile{path: path, pool: testPool()}).load()
		wantError(t, err, c.want)
		wantError(t, err, path)
	}
	f := &leaseFile{path: filepath.Join(dir, "no", "such", "folder"), pool: testPool()}
	if _, err := f.load(); err != nil {
		t.Errorf("a file that is not there yet: %v", err)
	}
	mustConfirm(t, f.pool, "a", addr("10.0.0.10"), t0)
	wantError(t, f.save(), "leaseFile")
}

// TestLeaseFileCrowd has many clients save at once: each must find its own lease in the file afterwards.
func TestLeaseFileCrowd(t *testing.T) {
	c := testConfig(t)
	c.DHCP.LeaseFile = filepath.Join(t.TempDir(), "leases.json")
	s := newServer(t, c)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			client := string(rune('A' + i))
			ip, err := s.pool.offer(client, netip.Addr{}, t0)
			err = errors.Join(err, s.pool.confirm(client, "", ip, time.Hour, t0), s.leaseFile.save())
			if err != nil {
				t.Error(err)
			}
			again := &leaseFile{path: c.DHCP.LeaseFile, pool: newPool(s.cfg.DHCP, s.cfg.Addr.Addr(), nil)}
			if _, err := again.load(); err != nil {
				t.Error(err)
			}
			if got, ok := again.pool.address(client, t0.Add(time.Minute)); !ok || got != ip {
				t.Errorf("the file has %s for %s, want %s", got, client, ip)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Dir(c.DHCP.LeaseFile))
	if err != nil || len(entries) != 1 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}
