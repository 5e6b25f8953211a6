package target_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// openFile makes and opens a sparse file store.
func openFile(t *testing.T, size int64) *store.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	f, err := store.OpenFile(path, store.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestLBAStatus asks where space is taken: of a file, whose blocks are 4096
// bytes.
func TestLBAStatus(t *testing.T) {
	c := connect(t, serveDisk(t, openFile(t, diskSize))).ready()
	c.good(transfer(scsi.OpWrite10, 64, 8), 0, pattern(4096, 1))
	c.good(transfer(scsi.OpWrite10, 128, 1), 0, pattern(512, 1))
	type extent struct {
		lba    uint64
		blocks uint32
		state  uint8
	}
	ask := func(lba uint64, length int) (got []extent) {
		r := c.good(scsi.GetLBAStatus{LBA: lba, Length: uint32(length)}.CDB(), length, nil)
		list, err := scsi.ParseLBAStatus(r.data)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			got = append(got, extent{e.LBA, e.Blocks, e.State})
		}
		return got
	}
	last := uint32(diskSize / 512)
	for _, tc := range []struct {
		lba    uint64
		length int
		want   []extent
	}{
		{0, 4096, []extent{{0, 64, 1}, {64, 8, 0}, {72, 56, 1}, {128, 8, 0}, {136, last - 136, 1}}},
		{66, 40, []extent{{66, 6, 0}, {72, 56, 1}}},
		{66, 24, []extent{{66, 6, 0}}},
	} {
		if got := ask(tc.lba, tc.length); !slices.Equal(got, tc.want) {
			t.Errorf("from %d on: %v, want %v", tc.lba, got, tc.want)
		}
	}
	c.bad(scsi.GetLBAStatus{LBA: uint64(last), Length: 24}.CDB(), 24, nil, scsi.KeyIllegalRequest, scsi.ASCLBAOutOfRange)
}

func TestOrWrite(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	a, b := pattern(1<<20, 1), pattern(1<<20, 5)
	c.good(transfer(scsi.OpWrite10, 0, 2048), 0, a)
	c.good(transfer(scsi.OpOrWrite16, 0, 2048), 0, b)
	for i := range a {
		a[i] |= b[i]
	}
	if r := c.good(transfer(scsi.OpRead10, 0, 2048), 1<<20, nil); !bytes.Equal(r.data, a) {
		t.Error("the medium is not what was written or what was there")
	}
}

func TestWriteAtomic(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	data := pattern(1<<20, 3)
	c.good(transfer(scsi.OpWriteAtomic16, 9, 2048), 0, data)
	if r := c.good(transfer(scsi.OpRead10, 9, 2048), 1<<20, nil); !bytes.Equal(r.data, data) {
		t.Error("the medium is not what was written")
	}
	c.bad(transfer(scsi.OpWriteAtomic16, 9, 2049), 0, make([]byte, 2049*512), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
	bounded := scsi.Transfer{Op: scsi.OpWriteAtomic16, Blocks: 8, Boundary: 8}
	cdb, err := bounded.CDB()
	if err != nil {
		t.Fatal(err)
	}
	c.bad(cdb, 0, data[:4096], scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
}

// TestModes sets D_SENSE and turns the write cache off.
func TestModes(t *testing.T) {
	f := newFailing()
	c := connect(t, serveDisk(t, f)).ready()
	set := func(page scsi.ModePage) {
		data := scsi.ModeData{Pages: scsi.AppendModePage(nil, page)}
		list := data.Append(nil, true)
		c.good(scsi.ModeSelect{Ten: true, PageFormat: true, Length: uint16(len(list))}.CDB(), 0, list)
	}
	set(scsi.ControlPage{TaskSets: 1, Reorder: 1, DescriptorSense: true}.Page())
	r := c.bad(transfer(scsi.OpRead16, 1<<40, 1), 512, nil, scsi.KeyIllegalRequest, scsi.ASCLBAOutOfRange)
	if r.format != 0x72 {
		t.Errorf("sense data of response code 0x%x", r.format)
	}
	before := f.flushes.Load()
	c.good(transfer(scsi.OpWrite10, 0, 1), 0, pattern(512, 1))
	if f.flushes.Load() != before {
		t.Error("a write with the cache on has flushed")
	}
	set(scsi.CachingPage{}.Page())
	before = f.flushes.Load()
	c.good(transfer(scsi.OpWrite10, 0, 1), 0, pattern(512, 1))
	if f.flushes.Load() == before {
		t.Error("a write with the cache off has not flushed")
	}
	now, err := scsi.ParseModeData(c.good(scsi.ModeSense{Page: scsi.ModePageCaching, Length: 255}.CDB(), 255, nil).data, false)
	if err != nil {
		t.Fatal(err)
	}
	if pages, err := scsi.ParseModePages(now.Pages); err != nil || len(pages) != 1 || scsi.ParseCachingPage(pages[0].Body).WriteCache {
		t.Errorf("mode pages %v, %v", pages, err)
	}
}

func TestWellKnownUnit(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize)))
	c.lun = 0xc101 << 48
	q, err := scsi.ParseInquiryData(c.good(scsi.Inquiry{Length: 96}.CDB(), 96, nil).data)
	if err != nil || q.Type != scsi.TypeWellKnown || q.Qualifier != scsi.QualifierConnected {
		t.Errorf("INQUIRY data %+v, %v", q, err)
	}
	c.good(scsi.TestUnitReadyCDB(), 0, nil)
	c.bad(transfer(scsi.OpRead10, 0, 1), 512, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidCommand)
	for selected, want := range [][]uint64{{0}, {0xc101 << 48}, {0, 0xc101 << 48}} {
		r := c.good(scsi.ReportLUNs{Select: uint8(selected), Length: 4096}.CDB(), 4096, nil)
		if luns, _, err := scsi.ParseLUNs(r.data); err != nil || !slices.Equal(luns, want) {
			t.Errorf("REPORT LUNS %d: %x, %v", selected, luns, err)
		}
	}
}

func TestLogPages(t *testing.T) {
	f := newFailing()
	addr := serveDisk(t, f)
	connect(t, addr, withISID(2)).ready().good(transfer(scsi.OpWrite10, 0, 3), 0, make([]byte, 1536))
	c := connect(t, addr).ready()
	c.good(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
	f.errs.Store(&failures{write: os.ErrDeadlineExceeded})
	c.bad(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512), scsi.KeyMediumError, scsi.ASCWriteError)
	r := c.good(scsi.LogSense{Control: 1, Page: scsi.LogWriteErrors, Length: 255}.CDB(), 255, nil)
	page, list, err := scsi.ParseLogPage(r.data)
	if err != nil || page != scsi.LogWriteErrors || len(list) != 2 {
		t.Fatalf("page %v: %v, %v", page, list, err)
	}
	if want := []byte{0, 0, 0, 0, 0, 0, 10, 0}; list[0].Code != scsi.LogBytesProcessed || !bytes.Equal(list[0].Value, want) {
		t.Errorf("bytes processed: %+v, want %x", list[0], want)
	}
	if list[1].Code != scsi.LogUncorrectedErrors || list[1].Value[7] != 1 {
		t.Errorf("uncorrected errors: %+v, want 1", list[1])
	}
	c.bad(scsi.LogSense{Page: scsi.LogTemperature, Length: 255}.CDB(), 255, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
	c.bad(scsi.LogSense{Page: scsi.LogWriteErrors, Parameter: 7, Length: 255}.CDB(), 255, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
}

// copyList is EXTENDED COPY of one segment from the first unit to the last.
func copyList(units []scsi.Designator, s scsi.CopySegment) (scsi.CDB, []byte) {
	l := scsi.CopyList{ListID: 7}
	for _, d := range units {
		l.Targets = append(l.Targets, scsi.CopyTarget{Designator: d})
	}
	s.Destination = uint16(len(units) - 1)
	l.Segments = []scsi.CopySegment{s}
	data := l.Append(nil)
	return scsi.CopyCDB(uint32(len(data))), data
}

// naaOf asks a unit for its NAA identifier.
func naaOf(c *client) scsi.Designator {
	r := c.good(scsi.Inquiry{VPD: true, Page: scsi.VPDDeviceID, Length: 1024}.CDB(), 1024, nil)
	body, err := scsi.ParseVPD(r.data, scsi.VPDDeviceID)
	if err != nil {
		c.t.Fatal(err)
	}
	return scsi.ParseDesignators(body)[0]
}

// TestExtendedCopy copies from a LUN to one of another target with blocks of
// another size, which works only for an initiator that may use both.
func TestExtendedCopy(t *testing.T) {
	from, to := store.NewMemory(diskSize), store.NewMemory(diskSize)
	targets := []*target.Target{disk(from), {Name: otherTarget, LUNs: []target.LUN{{Store: to, BlockSize: 4096}}}}
	addr, srv := serve(t, target.Config{Targets: targets})
	c := connect(t, addr).ready()
	d := connect(t, addr, toTarget(otherTarget)).ready()
	data := pattern(3<<20, 9)
	if _, err := from.WriteAt(data, 512*8); err != nil {
		t.Fatal(err)
	}
	segment := scsi.CopySegment{SourceLBA: 8, DestinationLBA: 5, Blocks: 3 << 20 / 512}
	cdb, list := copyList([]scsi.Designator{naaOf(c), naaOf(d)}, segment)
	c.good(cdb, 0, list)
	if r := d.good(transfer(scsi.OpRead10, 5, 768), len(data), nil); !bytes.Equal(r.data, data) {
		t.Error("the copy differs")
	}
	status, err := scsi.ParseCopyStatus(c.good(scsi.CopyResults{Action: scsi.ActionCopyStatus, ListID: 7, Length: 12}.CDB(), 12, nil).data)
	if err != nil || status.State != scsi.CopyDone || status.Segments != 1 || status.Bytes != 3<<20 {
		t.Errorf("copy status %+v, %v", status, err)
	}
	c.bad(scsi.CopyResults{Action: scsi.ActionCopyStatus, ListID: 8, Length: 12}.CDB(), 12, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)

	segment.DestinationLBA = diskSize / 4096
	cdb, list = copyList([]scsi.Designator{naaOf(c), naaOf(d)}, segment)
	c.bad(cdb, 0, list, scsi.KeyCopyAborted, scsi.ASCNone)
	r := c.good(scsi.CopyResults{Action: scsi.ActionCopyFailed, ListID: 7, Length: 255}.CDB(), 255, nil)
	if s, err := scsi.ParseSense(r.data[60:]); err != nil || s.Key != scsi.KeyCopyAborted {
		t.Errorf("failed segment: %x", r.data)
	}

	targets[1].AllowedInitiators = []string{"iqn.2001-04.com.example:someone-else"}
	if err := srv.SetTarget(targets[1]); err != nil {
		t.Fatal(err)
	}
	segment.DestinationLBA = 0
	cdb, list = copyList([]scsi.Designator{naaOf(c), naaOf(d)}, segment)
	c.bad(cdb, 0, list, scsi.KeyCopyAborted, scsi.ASCCopyTargetNotReachable)
}

// TestSanitize overwrites a disk whose writes wait for the test.
func TestSanitize(t *testing.T) {
	g := newGated(store.NewMemory(1 << 20))
	c := connect(t, serveDisk(t, g)).ready()
	o := scsi.SanitizeOverwrite{Count: 2, Invert: true, Pattern: []byte{0xa5, 0x5a, 1}}
	list := o.Append(nil)
	cdb := scsi.Sanitize{Action: scsi.ActionSanitizeOverwrite, Immediate: true, Length: uint16(len(list))}.CDB()
	c.good(cdb, 0, list)
	<-g.entered
	r := c.bad(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512), scsi.KeyNotReady, scsi.ASCSanitizeInProgress)
	if _, ok := r.sense.Progress(); !ok {
		t.Errorf("no progress: %v", r.sense)
	}
	c.bad(cdb, 0, list, scsi.KeyNotReady, scsi.ASCSanitizeInProgress)
	c.good(scsi.Inquiry{Length: 36}.CDB(), 36, nil)
	if s, _ := scsi.ParseSense(c.good(scsi.RequestSense{Length: 18}.CDB(), 18, nil).data); s.ASC != scsi.ASCSanitizeInProgress {
		t.Errorf("REQUEST SENSE: %v", s)
	}
	close(g.gate)
	for c.do(scsi.TestUnitReadyCDB(), 0, nil).status != scsi.StatusGood {
		continue // the writes that are left need nobody: there is room in entered
	}
	want := bytes.Repeat([]byte{^byte(0xa5), ^byte(0x5a), ^byte(1)}, 200)[:512]
	if r := c.good(transfer(scsi.OpRead10, 2047, 1), 512, nil); !bytes.Equal(r.data, want) {
		t.Errorf("the last block is %x", r.data)
	}
}

// TestSanitizeFails finds the unit of no use after a SANITIZE that failed, until
// one succeeds.
func TestSanitizeFails(t *testing.T) {
	f := newFailing()
	c := connect(t, serveDisk(t, f)).ready()
	o := scsi.SanitizeOverwrite{Count: 1, Pattern: []byte{7}}
	list := o.Append(nil)
	overwrite := scsi.Sanitize{Action: scsi.ActionSanitizeOverwrite, Length: uint16(len(list))}
	exit := scsi.Sanitize{Action: scsi.ActionSanitizeExitFailure}.CDB()
	f.errs.Store(&failures{write: os.ErrDeadlineExceeded})
	c.bad(overwrite.CDB(), 0, list, scsi.KeyMediumError, scsi.ASCSanitizeFailed)
	c.bad(transfer(scsi.OpRead10, 0, 1), 512, nil, scsi.KeyMediumError, scsi.ASCSanitizeFailed)
	c.bad(exit, 0, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
	overwrite.Unrestricted = true
	c.bad(overwrite.CDB(), 0, list, scsi.KeyMediumError, scsi.ASCSanitizeFailed)
	c.good(exit, 0, nil)
	c.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
	f.errs.Store(&failures{})
	c.good(overwrite.CDB(), 0, list)
	c.good(exit, 0, nil)
}
