package pair

import (
	"bytes"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/targettest"
)

// twoWays serves one disk by two targets in different port groups, and opens it by
// both.
func twoWays(t *testing.T) (*targettest.Server, *initiator.LUN) {
	disk := store.NewMemory(targettest.Size)
	srv := targettest.NewServer(t, targettest.Options{Config: target.Config{Targets: []*target.Target{
		{Name: targettest.Name + "-a", PortGroup: 1, LUNs: []target.LUN{{Store: disk}}},
		{Name: targettest.Name + "-b", PortGroup: 2, LUNs: []target.LUN{{Store: disk}}},
	}}})
	var paths []initiator.Path
	for _, suffix := range []string{"-a", "-b"} {
		cfg := config(srv)
		cfg.Target = targettest.Name + suffix
		s, err := initiator.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		paths = append(paths, initiator.Path{Session: s})
	}
	l, err := initiator.OpenPaths(t.Context(), paths...)
	if err != nil {
		t.Fatal(err)
	}
	return srv, l
}

// Sessions end and port groups change state under load; no call fails, and what is
// written is there.
func TestPathsUnderLoad(t *testing.T) {
	srv, l := twoWays(t)
	stop, progress := make(chan struct{}), make(chan struct{}, 1)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			want, got := make([]byte, 100_000), make([]byte, 100_000)
			for round := byte(1); ; round++ {
				for i := range want {
					want[i] = round
				}
				off := int64(w)<<20 + int64(round)
				if _, err := l.WriteAt(want, off); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if _, err := l.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
					t.Errorf("read: %v", err)
					return
				}
				select {
				case <-stop:
					return
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	states := []scsi.AccessState{scsi.ActiveOptimized, scsi.ActiveNonOptimized, scsi.Standby}
	for i := range 12 {
		for range 5 {
			<-progress
		}
		if i%2 == 0 {
			way := l.Paths()[i/2%2]
			if err := srv.Disconnect(t.Context(), way.Session.Login().TSIH); err != nil {
				t.Log(err) // it may be away still
			}
			continue
		}
		for g := range uint16(2) { // never both in standby
			if err := srv.SetPortGroup(target.PortGroup{ID: g + 1, State: states[(i/2+int(g))%3]}); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	groups, err := l.PortGroups(t.Context())
	if err != nil || len(groups) != 2 {
		t.Fatalf("groups %+v, %v", groups, err)
	}
	for i, p := range l.Paths() {
		if !p.HasState || p.State != groups[i].State || p.Group != groups[i].ID {
			t.Errorf("path %+v, group %+v", p, groups[i])
		}
	}
}

// A reservation holds on all paths.
func TestPathsReserve(t *testing.T) {
	srv, l := twoWays(t)
	ctx := t.Context()
	if err := l.Register(ctx, 0, 7, false); err != nil {
		t.Fatal(err)
	}
	if _, keys, err := l.ReservationKeys(ctx); err != nil || len(keys) != 2 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if err := l.Reserve(ctx, 7, scsi.WriteExclusiveRegistrantsOnly); err != nil {
		t.Fatal(err)
	}
	for _, state := range []scsi.AccessState{scsi.Standby, scsi.ActiveOptimized} {
		if err := srv.SetPortGroup(target.PortGroup{ID: 1, State: state}); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, err := l.WriteAt(make([]byte, 512), 0); err != nil {
				t.Error(err)
			}
		}
	}
}
