package target_test

import (
	"context"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// TestMemoryLimit has an initiator make the server hold what it may, by data that
// does not come: another one is still served, one command at a time.
func TestMemoryLimit(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}, MemoryLimit: 8 << 20})
	hog := connect(t, addr, allByR2T, withISID(1)).ready()
	refused := 0
	for range 40 {
		cmd := hog.newCommand(transfer(scsi.OpWrite16, 0, 2048), 0, 1<<20)
		hog.send(&cmd, nil)
		b, _ := hog.recv()
		var p iscsi.SCSIResponse
		if p.Decode(b) == nil && scsi.Status(p.Status) == scsi.StatusTaskSetFull {
			refused++
		}
	}
	if refused < 30 {
		t.Errorf("%d of 40 commands refused", refused)
	}
	const most = 8<<20 + 2<<20
	if n := srv.MemoryInUse(); n > most {
		t.Errorf("%d bytes in use, want %d at most", n, most)
	}
	other := connect(t, addr, withISID(2)).ready()
	roundTrip(t, other, pattern(4<<20, 1), 4096)
	if n := srv.MemoryInUse(); n > most {
		t.Errorf("%d bytes in use, want %d at most", n, most)
	}
	hog.nc.Close()
	for srv.MemoryInUse() > 1<<20 {
		time.Sleep(time.Millisecond)
	}
}

// TestMissingCommand sends commands after one that never comes.
func TestMissingCommand(t *testing.T) {
	timed(t, target.Config{}, func(t *testing.T, l *pipes, _ func()) {
		c := l.login(t).ready()
		c.cmdSN++
		cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 512)
		c.send(&cmd, make([]byte, 512))
		endsWithin(t, c.nc, 62*time.Second)
	})
}

// TestFlood has one address open connections without an end: logins from others
// go through.
func TestFlood(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := target.New(target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}, MaxPendingLogins: 16, LogoutTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, srv, l)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	ctx, stop := context.WithCancel(t.Context())
	flooded := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil && n < 2000; n++ {
			nc, err := d.Dial("tcp", l.Addr().String())
			if err != nil {
				break
			}
			defer nc.Close()
		}
		flooded <- n
	}()
	for i := range 20 {
		connect(t, l.Addr().String(), withISID(uint16(i))).ping()
	}
	stop()
	t.Logf("%d connections in the flood", <-flooded)
}

// TestLoginWhileCrowded fills the pending logins from one place in every order
// with one that goes on.
func TestLoginWhileCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := target.New(target.Config{
			Targets: []*target.Target{disk(store.NewMemory(diskSize))}, MaxPendingLogins: 4, LogoutTimeout: -1,
		})
		if err != nil {
			t.Fatal(err)
		}
		l := newPipes()
		serveOn(t, srv, l)
		for range 100 {
			l.dial()
		}
		l.login(t).ping()
	})
}

// TestIdleSessions has many sessions open and measures what each takes of this
// process. BOOTLUN_SESSIONS says how many, 512 unless it is set.
func TestIdleSessions(t *testing.T) {
	n := 512
	if text := os.Getenv("BOOTLUN_SESSIONS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if raceDetector {
		n = 16
	}
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := inUse()
	for i := range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		cfg := iscsi.InitiatorConfig{InitiatorName: testInitiator + strconv.Itoa(i), TargetName: testTarget}
		if _, err := iscsi.Login(t.Context(), iscsi.NewConn(nc), cfg); err != nil {
			t.Fatal(err)
		}
	}
	each := (inUse() - before) / uint64(n) >> 10
	t.Logf("%d sessions, %d KiB each", len(srv.Sessions()), each)
	if each >= 64 && !raceDetector {
		t.Errorf("%d KiB each, want less than 64", each)
	}
}
