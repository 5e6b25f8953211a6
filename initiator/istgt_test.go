package initiator

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
)

// startISTGT starts an istgt with three targets of one disk each, as LUN 0: open,
// with CHAP, and with mutual CHAP.
func startISTGT(t *testing.T) (portal string) {
	t.Helper()
	dir := tempDir(t)
	var disks []peers.ISTGTDisk
	for i, auth := range []string{"None", "CHAP", "CHAP Mutual"} {
		disks = append(disks, peers.ISTGTDisk{Path: diskFile(t, dir, fmt.Sprintf("disk%d", i)), Size: diskSize, Auth: auth})
	}
	user := peers.ISTGTUser{Name: alice.Name, Secret: alice.Secret.Reveal(), TargetName: bob.Name, TargetSecret: bob.Secret.Reveal()}
	return peers.ISTGTFor(t, dir, user, disks...).Portal
}

func TestISTGT(t *testing.T) {
	portal := startISTGT(t)
	must := iscsi.Offer{HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire}
	t.Run("discover", func(t *testing.T) {
		records, err := Discover(t.Context(), Config{Initiator: testInitiator, Portal: portal})
		if err != nil || len(records) != 3 || records[0].Addresses[0].HostPort() != portal {
			t.Errorf("%+v, %v", records, err)
		}
	})
	for _, c := range []struct {
		name   string
		target int
		chap   *iscsi.CHAPClient
		offer  iscsi.Offer
		status iscsi.LoginStatus
	}{
		{name: "open", target: 0},
		{name: "digests", target: 0, offer: must},
		{name: "several R2T", target: 0, offer: iscsi.Offer{MaxOutstandingR2T: 8, MaxBurstLength: 8192, InitialR2T: true, NoImmediateData: true}},
		{name: "CHAP", target: 1, chap: &iscsi.CHAPClient{User: alice}},
		{name: "mutual CHAP, digests", target: 2, chap: &iscsi.CHAPClient{User: alice, Target: bob}, offer: must},
		{
			name: "wrong secret", target: 1, chap: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "alice", Secret: "a wrong secret"}},
			status: iscsi.StatusAuthenticationFailed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Dial(t.Context(), Config{
				Initiator: testInitiator, Target: fmt.Sprintf("%s%d", peers.ISTGTName, c.target), Portal: portal, CHAP: c.chap, Offer: c.offer,
			})
			if c.status != 0 {
				var refused *iscsi.LoginError
				if !errors.As(err, &refused) || refused.Status != c.status {
					t.Fatalf("err = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			luns, err := s.LUNs(t.Context())
			if err != nil || len(luns) != 1 {
				t.Errorf("LUNs %v, %v", luns, err)
			}
			exercise(t, openLUN(t, s, 0))
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// istgt takes several connections a session.
func TestISTGTConnections(t *testing.T) {
	cfg := Config{Initiator: testInitiator, Target: peers.ISTGTName + "0", Portal: startISTGT(t), Connections: 2}
	s := dial(t, cfg)
	l := openLUN(t, s, 0)
	t.Logf("%d connections of the %d that istgt allows", s.Connections(), s.Login().Params.MaxConnections)
	if want := min(2, s.Login().Params.MaxConnections); s.Connections() != want {
		t.Errorf("%d connections, want %d", s.Connections(), want)
	}
	rewriteAll(t, l)
	if s.Connections() == 2 {
		if err := s.CloseConnection(t.Context(), 1); err != nil || s.Connections() != 1 {
			t.Errorf("%d connections, %v", s.Connections(), err)
		}
		rewriteAll(t, l)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// rewriteAll uses a disk for a while.
func rewriteAll(t *testing.T, l *LUN) {
	t.Helper()
	stop, progress := make(chan struct{}), make(chan struct{}, 1)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			if err := rewrite(l, w, stop, progress); err != nil {
				t.Errorf("worker %d: %v", w, err)
			}
		})
	}
	for range 10 {
		select {
		case <-progress:
		case <-soon(t).Done():
			t.Fatal("no progress")
		}
	}
	close(stop)
	wg.Wait()
}
