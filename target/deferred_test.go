package target_test

import (
	"syscall"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/store/storetest"
)

// TestDeferredError has a flush fail that one initiator asks for: another one, which
// has written, is told by its next command; one that has not is not.
func TestDeferredError(t *testing.T) {
	f := storetest.NewFaulty(store.NewMemory(diskSize))
	addr := serveDisk(t, f)
	flusher, writer, reader := connect(t, addr, withISID(1)).ready(), connect(t, addr, withISID(2)).ready(), connect(t, addr, withISID(3)).ready()
	for _, c := range []*client{flusher, writer} {
		c.good(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
	}
	reader.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
	f.Fail(storetest.Flush, syscall.EIO)
	for range 2 { // each time, but the others are told once
		if r := flusher.bad(scsi.SynchronizeCacheCDB(0, 0), 0, nil, scsi.KeyMediumError, scsi.ASCWriteError); r.sense.Deferred {
			t.Error("the error of a command is deferred")
		}
	}
	flusher.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
	reader.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
	if r := writer.bad(transfer(scsi.OpRead10, 0, 1), 512, nil, scsi.KeyMediumError, scsi.ASCWriteError); !r.sense.Deferred {
		t.Errorf("sense %+v is not of a deferred error", r.sense)
	}
	writer.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
}
