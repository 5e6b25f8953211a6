package target_test

import (
	"bytes"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// failing is a store that fails as it is told to, and counts its flushes.
type failing struct {
	store.Store
	errs    atomic.Pointer[failures]
	flushes atomic.Int32
}

type failures struct{ read, write, flush error }

func newFailing() *failing {
	f := &failing{Store: store.NewMemory(diskSize)}
	f.errs.Store(&failures{})
	return f
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if err := f.errs.Load().read; err != nil {
		return 0, err
	}
	return f.Store.ReadAt(p, off)
}

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if err := f.errs.Load().write; err != nil {
		return 0, err
	}
	return f.Store.WriteAt(p, off)
}

func (f *failing) Flush() error {
	f.flushes.Add(1)
	return f.errs.Load().flush
}

func TestStoreErrors(t *testing.T) {
	f := newFailing()
	c := connect(t, serveDisk(t, f)).ready()
	block := pattern(512, 1)
	c.good(transfer(scsi.OpWrite10, 4, 1), 0, block)

	f.errs.Store(&failures{syscall.EIO, syscall.EIO, syscall.EIO})
	r := c.bad(transfer(scsi.OpRead10, 5, 1), 512, nil, scsi.KeyMediumError, scsi.ASCUnrecoveredReadError)
	if !r.sense.HasInformation || r.sense.Information != 5 || r.under != 512 || len(r.data) > 0 {
		t.Errorf("failed read: %+v, residual -%d, %d bytes", r.sense, r.under, len(r.data))
	}
	if r = c.bad(transfer(scsi.OpWrite10, 6, 1), 0, block, scsi.KeyMediumError, scsi.ASCWriteError); r.sense.Information != 6 {
		t.Errorf("failed write: %+v", r.sense)
	}
	c.bad(scsi.SynchronizeCacheCDB(0, 0), 0, nil, scsi.KeyMediumError, scsi.ASCWriteError)
	c.bad(transfer(scsi.OpVerify10, 0, 1), 0, nil, scsi.KeyMediumError, scsi.ASCUnrecoveredReadError)
	f.errs.Store(&failures{write: syscall.ENOSPC})
	c.bad(transfer(scsi.OpWrite10, 6, 1), 0, block, scsi.KeyDataProtect, scsi.ASCSpaceAllocationFailed)
	f.errs.Store(&failures{write: errors.New("something else")})
	c.bad(transfer(scsi.OpWrite10, 6, 1), 0, block, scsi.KeyMediumError, scsi.ASCWriteError)

	f.errs.Store(&failures{})
	if r := c.good(transfer(scsi.OpRead10, 4, 3), 1536, nil); !bytes.Equal(r.data[:512], block) || !bytes.Equal(r.data[512:], make([]byte, 1024)) {
		t.Error("the medium is not as it was before the errors")
	}
}

// TestReadFailsHalfWay sends what could be read, and then the condition.
func TestReadFailsHalfWay(t *testing.T) {
	f := &halfBad{newFailing()}
	c := connect(t, serveDisk(t, f)).ready()
	r := c.bad(transfer(scsi.OpRead10, 0, 2048), 2048*512, nil, scsi.KeyMediumError, scsi.ASCUnrecoveredReadError)
	if len(r.data) != 512<<10 || r.under != 512<<10 {
		t.Errorf("%d bytes, residual -%d; want half of 1 MiB each", len(r.data), r.under)
	}
	c.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
}

// halfBad cannot be read from 512 KiB on.
type halfBad struct{ *failing }

func (h *halfBad) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > 512<<10 {
		return 0, syscall.EIO
	}
	return h.failing.ReadAt(p, off)
}

// TestFlushes expects the medium to be flushed when, and only when, it must be.
func TestFlushes(t *testing.T) {
	fua := func(op scsi.OpCode) scsi.CDB {
		cdb, _ := scsi.Transfer{Op: op, Blocks: 1, FUA: true}.CDB()
		return cdb
	}
	for _, tc := range []struct {
		name    string
		through bool
		cdb     scsi.CDB
		out     int
		want    int32
	}{
		{"write", false, transfer(scsi.OpWrite10, 0, 1), 512, 0},
		{"write with FUA", false, fua(scsi.OpWrite16), 512, 1},
		{"write through", true, transfer(scsi.OpWrite10, 0, 1), 512, 1},
		{"synchronize", false, scsi.SynchronizeCacheCDB(0, 0), 0, 1},
		{"write and verify", false, transfer(scsi.OpWriteAndVerify10, 0, 1), 512, 1},
		{"stop", false, scsi.StartStopUnit{}.CDB(), 0, 1},
		{"stop without", false, scsi.StartStopUnit{NoFlush: true}.CDB(), 0, 0},
		{"repeat through", true, transfer(scsi.OpWriteSame16, 0, 8), 512, 1},
	} {
		f := newFailing()
		addr, _ := serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{{Store: f, WriteThrough: tc.through}}}}})
		c := connect(t, addr).ready()
		c.good(tc.cdb, 0, make([]byte, tc.out))
		if got := f.flushes.Load(); got != tc.want {
			t.Errorf("%s: %d flushes, want %d", tc.name, got, tc.want)
		}
		data, err := scsi.ParseModeData(c.good(scsi.ModeSense{Page: scsi.ModePageCaching, Length: 255}.CDB(), 255, nil).data, false)
		if err != nil {
			t.Fatal(err)
		}
		pages, _ := scsi.ParseModePages(data.Pages)
		if len(pages) != 1 || scsi.ParseCachingPage(pages[0].Body).WriteCache == tc.through || !data.DPOFUA {
			t.Errorf("%s: mode data %+v", tc.name, data)
		}
	}
}

func TestReadOnly(t *testing.T) {
	memory := store.NewMemory(diskSize)
	for name, lun := range map[string]target.LUN{
		"by configuration": {Store: memory, ReadOnly: true},
		"by store":         {Store: readOnly{memory}},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{lun}}}})
			c := connect(t, addr).ready()
			for _, cdb := range []scsi.CDB{
				transfer(scsi.OpWrite6, 0, 1), transfer(scsi.OpWrite10, 0, 1), transfer(scsi.OpWrite12, 0, 1),
				transfer(scsi.OpWrite16, 0, 1), transfer(scsi.OpWriteSame10, 0, 1), transfer(scsi.OpWriteSame16, 0, 1),
				transfer(scsi.OpWriteAndVerify10, 0, 1), scsi.Unmap{Length: 24}.CDB(), transfer(scsi.OpCompareAndWrite, 0, 1),
			} {
				c.bad(cdb, 0, make([]byte, 512), scsi.KeyDataProtect, scsi.ASCWriteProtected)
			}
			c.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
			c.good(scsi.SynchronizeCacheCDB(0, 0), 0, nil)
			for _, ten := range []bool{false, true} {
				r := c.good(scsi.ModeSense{Ten: ten, Page: scsi.ModePageAll, Length: 255}.CDB(), 255, nil)
				if data, err := scsi.ParseModeData(r.data, ten); err != nil || !data.WriteProtect {
					t.Errorf("MODE SENSE: %+v, %v", data, err)
				}
			}
		})
	}
}

type readOnly struct{ store.Store }

func (readOnly) ReadOnly() bool { return true }

func TestVerify(t *testing.T) {
	for name, s := range map[string]store.Store{"prompt": store.NewMemory(diskSize), "slow": slowly{store.NewMemory(diskSize)}} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, serveDisk(t, s), allByR2T).ready()
			data := pattern(3<<20, 5)
			c.good(transfer(scsi.OpWrite16, 8, 3<<11), 0, data)
			checked := func(op scsi.OpCode, blocks uint32, how uint8) scsi.CDB {
				cdb, _ := scsi.Transfer{Op: op, LBA: 8, Blocks: blocks, ByteCheck: how}.CDB()
				return cdb
			}
			c.good(checked(scsi.OpVerify16, 3<<11, 0), 0, nil)
			c.good(checked(scsi.OpVerify16, 3<<11, 1), 0, data)
			data[2<<20+5]++
			r := c.bad(checked(scsi.OpVerify16, 3<<11, 1), 0, data, scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerify)
			if r.under == 0 && r.over == 0 && !r.sense.HasInformation {
				t.Errorf("MISCOMPARE without its place: %+v", r.sense)
			}
			c.good(checked(scsi.OpWriteAndVerify12, 3<<11, 1), 0, data)
			c.good(checked(scsi.OpVerify12, 3<<11, 1), 0, data)
			c.good(transfer(scsi.OpWriteSame10, 8, 100), 0, data[:512])
			c.good(checked(scsi.OpVerify10, 100, 3), 0, data[:512])
			c.bad(checked(scsi.OpVerify10, 101, 3), 0, data[:512], scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerify)
		})
	}
}

func TestUnmapAndWriteSame(t *testing.T) {
	memory := store.NewMemory(diskSize)
	c := connect(t, serveDisk(t, memory)).ready()
	want := pattern(1<<20, 5)
	check := func(step string) {
		t.Helper()
		if got := c.good(transfer(scsi.OpRead10, 0, 2048), 1<<20, nil); !bytes.Equal(got.data, want) {
			t.Errorf("%s: not what it should be", step)
		}
	}
	c.good(transfer(scsi.OpWrite10, 0, 2048), 0, want)
	list := scsi.AppendUnmap(nil, []scsi.UnmapRange{{LBA: 1, Blocks: 3}, {LBA: 128, Blocks: 256}, {LBA: 5}})
	c.good(scsi.Unmap{Length: uint16(len(list))}.CDB(), 0, list)
	clear(want[512:2048])
	clear(want[128*512:][:256*512])
	check("UNMAP")

	list = scsi.AppendUnmap(nil, []scsi.UnmapRange{{LBA: 600, Blocks: 8}, {LBA: diskSize / 512, Blocks: 1}})
	c.bad(scsi.Unmap{Length: uint16(len(list))}.CDB(), 0, list, scsi.KeyIllegalRequest, scsi.ASCLBAOutOfRange)
	check("UNMAP that is refused")

	block := pattern(512, 9)
	c.good(transfer(scsi.OpWriteSame16, 1000, 7), 0, block)
	for i := range 7 {
		copy(want[(1000+i)*512:], block)
	}
	check("WRITE SAME")
	c.good(transfer(scsi.OpWriteSame10, 1001, 2), 0, make([]byte, 512))
	clear(want[1001*512:][:1024])
	check("WRITE SAME of zeros")
	noData, _ := scsi.Transfer{Op: scsi.OpWriteSame16, LBA: 1004, Blocks: 1, NoData: true}.CDB()
	c.good(noData, 0, nil)
	clear(want[1004*512:][:512])
	check("WRITE SAME without data")
	toEnd, _ := scsi.Transfer{Op: scsi.OpWriteSame16, LBA: 64, Unmap: true}.CDB()
	c.good(toEnd, 0, make([]byte, 512))
	clear(want[64*512:])
	check("WRITE SAME to the end")
	if memory.Held() > 64<<10 {
		t.Errorf("%d bytes still held", memory.Held())
	}
}

func TestCompareAndWrite(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	is, be := pattern(1024, 1), pattern(1024, 2)
	c.good(transfer(scsi.OpWrite10, 7, 2), 0, is)
	c.good(transfer(scsi.OpCompareAndWrite, 7, 2), 0, append(bytes.Clone(is), be...))
	r := c.bad(transfer(scsi.OpCompareAndWrite, 7, 2), 0, append(bytes.Clone(is), be...), scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerify)
	if !r.sense.HasInformation || r.sense.Information != 0 {
		t.Errorf("MISCOMPARE: %+v", r.sense)
	}
	if got := c.good(transfer(scsi.OpRead10, 7, 2), 1024, nil); !bytes.Equal(got.data, be) {
		t.Error("not what was written")
	}
}
