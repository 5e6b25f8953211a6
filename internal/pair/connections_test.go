package pair

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/targettest"
)

// load writes and reads back at random, with several goroutines, while disturb is
// called so many times.
func load(t *testing.T, l *initiator.LUN, times int, disturb func(int)) {
	t.Helper()
	const workers = 6
	stop, progress, failed := make(chan struct{}), make(chan struct{}, 1), make(chan error, workers)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	for w := range workers {
		wg.Go(func() {
			if err := rewrite(l, w, stop, progress); err != nil {
				t.Errorf("worker %d: %v", w, err)
				failed <- err
			}
		})
	}
	for i := range times {
		for range 10 {
			select {
			case <-progress:
			case <-failed:
				return
			}
		}
		disturb(i)
	}
}

func rewrite(l *initiator.LUN, worker int, stop, progress chan struct{}) error {
	const part = 256 << 10
	random := rand.New(rand.NewPCG(1, uint64(worker)))
	want, got := make([]byte, part), make([]byte, part)
	for {
		n := 1 + random.IntN(16<<10)
		if random.IntN(4) == 0 {
			n = 1 + random.IntN(part)
		}
		for i := range want[:n] {
			want[i] = byte(random.Uint32())
		}
		off := int64(worker) * part
		if _, err := l.WriteAt(want[:n], off); err != nil {
			return err
		}
		if _, err := l.ReadAt(got[:n], off); err != nil {
			return err
		}
		if !bytes.Equal(want[:n], got[:n]) {
			return fmt.Errorf("%d bytes read back wrong", n)
		}
		select {
		case <-stop:
			return nil
		case progress <- struct{}{}:
		default:
		}
	}
}

// serve is a target that offers an error recovery level.
func serve(t *testing.T, level int) *targettest.Server {
	return targettest.NewServer(t, targettest.Options{Config: target.Config{
		Offer: iscsi.Offer{MaxConnections: 8, ErrorRecoveryLevel: level},
	}})
}

// Commands are spread over the connections of a session.
func TestConnections(t *testing.T) {
	srv := serve(t, 0)
	cfg := config(srv)
	cfg.Connections = 4
	l := open(t, cfg)
	if n := l.Session().Connections(); n != 4 {
		t.Fatalf("%d connections", n)
	}
	load(t, l, 5, func(int) {})
	sessions := srv.Sessions()
	if len(sessions) != 1 || len(sessions[0].Connections) != 4 {
		t.Fatalf("sessions %+v", sessions)
	}
	if err := l.Session().Close(); err != nil {
		t.Error(err)
	}
}

// Connections are logged out one by one while others are in use.
func TestCloseConnection(t *testing.T) {
	srv := serve(t, 2)
	cfg := config(srv)
	cfg.Connections, cfg.Offer.ErrorRecoveryLevel = 3, 2
	l := open(t, cfg)
	login := l.Session().Login().TSIH
	load(t, l, 2, func(i int) {
		if err := l.Session().CloseConnection(t.Context(), 2*i); err != nil { // the third and the first
			t.Error(err)
		}
	})
	load(t, l, 1, func(int) {})
	sessions := srv.Sessions()
	if len(sessions) != 1 || len(sessions[0].Connections) != 1 || sessions[0].TSIH != login {
		t.Errorf("sessions %+v", sessions)
	}
	if err := l.Session().CloseConnection(t.Context(), 1); err == nil {
		t.Error("the last connection closed")
	}
	if err := l.Session().Close(); err != nil {
		t.Error(err)
	}
}

// What is lost is recovered as far as the level goes, and in any case nothing is
// lost.
func TestLostConnections(t *testing.T) {
	for level := range 3 {
		for _, connections := range []int{1, 3} {
			t.Run(fmt.Sprintf("level %d, %d connections", level, connections), func(t *testing.T) {
				srv, n := serve(t, level), new(network)
				cfg := config(srv)
				cfg.Connections, cfg.Dialer = connections, n
				cfg.Offer.ErrorRecoveryLevel = 2
				cfg.Offer.HeaderDigest, cfg.Offer.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire
				l := open(t, cfg)
				session := l.Session().Login().TSIH
				load(t, l, 8, func(int) { n.cut() })
				if same := l.Session().Login().TSIH == session; same != (level == 2) {
					t.Errorf("the session is the same: %v", same)
				}
				t.Logf("%d connections made", n.dials)
			})
		}
	}
}

// Damaged data is sent again within the command, or with the session at level 0.
func TestDamage(t *testing.T) {
	for level := range 3 {
		for name, n := range map[string]*network{
			"data":    {sent: 20, received: 20},
			"headers": {sent: 100, received: 100, header: true},
		} {
			t.Run(fmt.Sprintf("level %d, %s", level, name), func(t *testing.T) {
				srv := serve(t, level)
				cfg := config(srv)
				cfg.Connections, cfg.Dialer = 2, n
				cfg.Recovery.Repeats = 1000
				cfg.Offer = iscsi.Offer{
					HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire, ErrorRecoveryLevel: 2,
					MaxRecvDataSegmentLength: 32 << 10, MaxBurstLength: 128 << 10, MaxOutstandingR2T: 2,
				}
				l := open(t, cfg)
				dials, session := n.dials, l.Session().Login().TSIH
				n.begun.Store(true)
				load(t, l, 8, func(int) {})
				n.begun.Store(false)
				if level > 0 && !n.header && n.dials > dials {
					t.Errorf("%d connections made, %d at first", n.dials, dials)
				}
				if n.header && n.hits.Load() > 0 && n.dials == dials {
					t.Error("no connection was given up for a damaged header")
				}
				if same := l.Session().Login().TSIH == session; n.header && same != (level == 2) {
					t.Errorf("the session is the same: %v", same)
				}
				t.Logf("%d PDUs damaged, %d connections made", n.hits.Load(), n.dials)
			})
		}
	}
}

// Segments change their length in the midst of a session, at the target's wish.
func TestRenegotiate(t *testing.T) {
	srv := serve(t, 0)
	cfg := config(srv)
	cfg.Connections = 2
	l := open(t, cfg)
	session := l.Session().Login().TSIH
	load(t, l, 5, func(int) {
		if err := srv.Renegotiate(session, 0); err != nil {
			t.Error(err)
		}
	})
	answer, err := l.Session().Negotiate(t.Context(), iscsi.Text{{Key: "SendTargets"}, {Key: "X-org.example.key", Value: "1"}})
	name, _ := answer.Get("TargetName")
	if unknown, _ := answer.Get("X-org.example.key"); err != nil || name != srv.Target || unknown != iscsi.NotUnderstood {
		t.Errorf("%v, %v", answer, err)
	}
	if l.Session().Login().TSIH != session {
		t.Error("another session")
	}
}

// What the target says of its own accord is heard without a command.
func TestTold(t *testing.T) {
	disk := store.NewMemory(targettest.Size)
	srv := targettest.NewServer(t, targettest.Options{Config: target.Config{Targets: []*target.Target{
		{Name: targettest.Name, TellAttentions: true, PortGroup: 1, LUNs: []target.LUN{{Store: disk}}},
	}}})
	l := open(t, config(srv))
	heard := make(chan scsi.Sense, 10)
	l.OnAttention(func(s scsi.Sense) { heard <- s })
	runtime.GC() // who listens is not forgotten
	if err := srv.SetPortGroup(target.PortGroup{ID: 1, State: scsi.ActiveNonOptimized}); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-heard:
		if s.Key != scsi.KeyUnitAttention {
			t.Errorf("heard %v", s)
		}
	case <-time.After(30 * time.Second):
		t.Error("heard nothing")
	}
}
