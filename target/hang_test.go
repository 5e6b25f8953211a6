package target_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/store/storetest"
)

// A store that hangs, with a limit on its answers: every command gets a
// condition, aborts are answered, and when the store is back all is as before.
func TestStoreHangs(t *testing.T) {
	f := storetest.NewFaulty(store.NewMemory(diskSize))
	c := connect(t, serveDisk(t, store.NewTimed(f, 50*time.Millisecond))).ready()
	block := pattern(512, 1)
	for _, op := range []storetest.Op{storetest.Read, storetest.Write, storetest.Flush} {
		f.Hang(op)
	}
	c.bad(transfer(scsi.OpRead10, 5, 1), 512, nil, scsi.KeyAbortedCommand, scsi.ASCCommunicationTimeout)
	c.bad(scsi.SynchronizeCacheCDB(0, 0), 0, nil, scsi.KeyAbortedCommand, scsi.ASCCommunicationTimeout)

	cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 512)
	c.send(&cmd, block)
	f.AwaitStuck(storetest.Write, 1)
	itt := c.sendManage(iscsi.AbortTask, naming(&cmd))
	var resp iscsi.TaskManagementResponse
	if c.expect(&resp); resp.ITT != itt || resp.Response != iscsi.TaskFunctionComplete {
		t.Errorf("ABORT TASK: %+v", resp)
	}
	// The aborted write may still be carried out: nothing may overtake it.
	c.bad(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512), scsi.KeyAbortedCommand, scsi.ASCCommunicationTimeout)

	f.Release()
	back := func() bool {
		c.itt++
		r := c.do(transfer(scsi.OpWrite10, 0, 1), 0, block)
		return r.status == scsi.StatusGood
	}
	for !back() {
		t.Log("the store is not back yet")
	}
	c.good(scsi.SynchronizeCacheCDB(0, 0), 0, nil)
	roundTrip(t, c, pattern(4096, 2), 8)
}

// Serve ends though a store hangs for good, and says so.
func TestServeLeavesAStoreThatHangs(t *testing.T) {
	f := storetest.NewFaulty(store.NewMemory(diskSize))
	f.Hang(storetest.Read)
	srv, err := target.New(target.Config{Targets: []*target.Target{disk(f)}, LogoutTimeout: -1, StopTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	c := connect(t, l.Addr().String()).ready()
	cmd := c.newCommand(transfer(scsi.OpRead10, 0, 1), 512, 0)
	c.send(&cmd, nil)
	f.AwaitStuck(storetest.Read, 1)
	stop()
	if err := <-ended; !errors.Is(err, target.ErrServerClosed) || !errors.Is(err, target.ErrStoreHangs) {
		t.Errorf("Serve: %v, want ErrServerClosed and ErrStoreHangs", err)
	}
	f.Release()
}

// counting is a store that can write durably.
type counting struct{ *storetest.Faulty }

func (c counting) WriteDurable(p []byte, off int64) (int, error) {
	if err := c.Faulty.Flush(); err != nil { // counts it
		return 0, err
	}
	return c.Faulty.WriteAt(p, off)
}

// FUA goes to a store that can write durably as that, without a flush of all.
func TestDurableWrites(t *testing.T) {
	f := counting{storetest.NewFaulty(store.NewMemory(diskSize))}
	c := connect(t, serveDisk(t, f)).ready()
	cdb := transfer(scsi.OpWrite10, 0, 1)
	c.good(cdb, 0, pattern(512, 1))
	if n := f.Calls(storetest.Flush); n != 0 {
		t.Errorf("%d flushes by a plain write", n)
	}
	cdb[1] |= 0x08
	c.good(cdb, 0, pattern(512, 1))
	if f.Calls(storetest.Flush) != 1 || f.Calls(storetest.Write) != 2 {
		t.Errorf("%d durable writes and flushes, %d writes, want 1 and 2", f.Calls(storetest.Flush), f.Calls(storetest.Write))
	}
}
