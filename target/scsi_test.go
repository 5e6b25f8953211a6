package target_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

func TestNoUnit(t *testing.T) {
	addr, _ := serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{
		{Number: 3, Store: store.NewMemory(diskSize)}, {Number: 300, Store: store.NewMemory(diskSize)},
	}}}})
	c := connect(t, addr)
	for _, lun := range []iscsi.LUN{0, 1 << 48, 0x0003000100000000, 0xc101000000000000, 0xffffffffffffffff} {
		c.lun = lun
		r := c.good(scsi.Inquiry{Length: 96}.CDB(), 96, nil)
		if q, err := scsi.ParseInquiryData(r.data); err != nil || q.Qualifier != scsi.QualifierNone || q.Type != scsi.TypeUnknown {
			t.Errorf("LUN %v: INQUIRY data %+v, %v", lun, q, err)
		}
		c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyIllegalRequest, scsi.ASCLUNNotSupported)
		c.bad(transfer(scsi.OpRead10, 0, 1), 512, nil, scsi.KeyIllegalRequest, scsi.ASCLUNNotSupported)
		c.bad(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512), scsi.KeyIllegalRequest, scsi.ASCLUNNotSupported)
		if s, _ := scsi.ParseSense(c.good(scsi.RequestSense{Length: 18}.CDB(), 18, nil).data); s.ASC != scsi.ASCLUNNotSupported {
			t.Errorf("LUN %v: REQUEST SENSE: %v", lun, s)
		}
		luns, total, err := scsi.ParseLUNs(c.good(scsi.ReportLUNs{Length: 4096}.CDB(), 4096, nil).data)
		if want := fmt.Sprint([]uint64{3 << 48, 0x412c << 48}); err != nil || total != 2 || fmt.Sprint(luns) != want {
			t.Errorf("LUN %v: REPORT LUNS: %x, %v", lun, luns, err)
		}
	}
	c.lun, _ = iscsi.MakeLUN(300)
	c.ready()
}

func TestUnitAttention(t *testing.T) {
	addr := serveDisk(t, store.NewMemory(diskSize))
	c := connect(t, addr, withISID(1))
	c.good(scsi.Inquiry{Length: 36}.CDB(), 36, nil) // these leave it alone
	c.good(scsi.ReportLUNs{Length: 36}.CDB(), 36, nil)
	c.ready()
	d := connect(t, addr, withISID(2))
	s, err := scsi.ParseSense(d.good(scsi.RequestSense{Length: 252}.CDB(), 252, nil).data)
	if err != nil || s.Key != scsi.KeyUnitAttention || s.ASC != scsi.ASCPowerOnOrReset {
		t.Errorf("REQUEST SENSE: %v, %v", s, err)
	}
	d.good(scsi.TestUnitReadyCDB(), 0, nil)
	if s, _ = scsi.ParseSense(d.good(scsi.RequestSense{Length: 252, Descriptor: true}.CDB(), 252, nil).data); s.Key != scsi.KeyNoSense {
		t.Errorf("REQUEST SENSE: %v", s)
	}
}

func TestRefusedCommands(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	last := uint64(diskSize/512 - 1)
	with := func(cdb scsi.CDB, at int, b byte) scsi.CDB {
		cdb[at] |= b
		return cdb
	}
	for name, tc := range map[string]struct {
		cdb     scsi.CDB
		in, out int
		asc     scsi.ASC
		field   int // byte of the CDB, -1 none
	}{
		"unknown command":        {scsi.CDB{0xee}, 0, 0, scsi.ASCInvalidCommand, -1},
		"unknown service action": {scsi.CDB{byte(scsi.OpServiceActionIn16), 0x1f}, 0, 0, scsi.ASCInvalidFieldInCDB, 1},
		"NACA":                   {with(scsi.TestUnitReadyCDB(), 5, 4), 0, 0, scsi.ASCInvalidFieldInCDB, 5},
		"after the end":          {transfer(scsi.OpRead10, last+1, 1), 512, 0, scsi.ASCLBAOutOfRange, -1},
		"over the end":           {transfer(scsi.OpRead16, last, 2), 1024, 0, scsi.ASCLBAOutOfRange, -1},
		"far after the end":      {transfer(scsi.OpRead16, 1<<64-1, 1), 512, 0, scsi.ASCLBAOutOfRange, -1},
		"write over the end":     {transfer(scsi.OpWrite16, last, 2), 0, 1024, scsi.ASCLBAOutOfRange, -1},
		"write far after":        {transfer(scsi.OpWrite16, 1<<63, 1<<31), 0, 512, scsi.ASCLBAOutOfRange, -1},
		"protection":             {with(transfer(scsi.OpRead10, 0, 1), 1, 0x20), 512, 0, scsi.ASCInvalidFieldInCDB, 1},
		"unknown VPD page":       {scsi.Inquiry{VPD: true, Page: 0xc5, Length: 255}.CDB(), 255, 0, scsi.ASCInvalidFieldInCDB, 2},
		"page without VPD":       {scsi.Inquiry{Page: 0x80, Length: 255}.CDB(), 255, 0, scsi.ASCInvalidFieldInCDB, 2},
		"unknown mode page":      {scsi.ModeSense{Page: 0x22, Length: 255}.CDB(), 255, 0, scsi.ASCInvalidFieldInCDB, 2},
		"saved mode pages":       {scsi.ModeSense{Page: 0x3f, Control: scsi.SavedValues, Length: 255}.CDB(), 255, 0, scsi.ASCSavingParametersNotSupported, -1},
		"eject":                  {scsi.StartStopUnit{Eject: true}.CDB(), 0, 0, scsi.ASCInvalidFieldInCDB, 4},
		"anchor":                 {with(transfer(scsi.OpWriteSame16, 0, 1), 1, 0x10), 0, 512, scsi.ASCInvalidFieldInCDB, 1},
		"short unmap list":       {scsi.Unmap{Length: 7}.CDB(), 0, 7, scsi.ASCParameterListLength, -1},
		"two blocks to repeat":   {transfer(scsi.OpWriteSame10, 0, 9), 0, 1024, scsi.ASCInvalidFieldInInfoUnit, -1},
		"verify reserved":        {with(transfer(scsi.OpVerify10, 0, 1), 1, 0x04), 0, 512, scsi.ASCInvalidFieldInCDB, 1},
	} {
		r := c.bad(tc.cdb, tc.in, make([]byte, tc.out), scsi.KeyIllegalRequest, tc.asc)
		if f, ok := r.sense.Field(); ok != (tc.field >= 0) || ok && (int(f.Byte) != tc.field || f.Data) {
			t.Errorf("%s: field %+v (%v), want byte %d of the CDB", name, f, ok, tc.field)
		}
	}
}

func TestIdentity(t *testing.T) {
	ask := func(lun target.LUN) (scsi.InquiryData, string, []scsi.Designator) {
		lun.Store = store.NewMemory(diskSize)
		addr, _ := serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{lun}}}})
		c := connect(t, addr)
		c.lun, _ = iscsi.MakeLUN(lun.Number)
		c.ready()
		q, err := scsi.ParseInquiryData(c.good(scsi.Inquiry{Length: 255}.CDB(), 255, nil).data)
		if err != nil {
			t.Fatal(err)
		}
		page := func(p scsi.VPDPage) []byte {
			body, err := scsi.ParseVPD(c.good(scsi.Inquiry{VPD: true, Page: p, Length: 1024}.CDB(), 1024, nil).data, p)
			if err != nil {
				t.Fatal(err)
			}
			return body
		}
		return q, string(page(scsi.VPDSerialNumber)), scsi.ParseDesignators(page(scsi.VPDDeviceID))
	}
	q, serial, ids := ask(target.LUN{})
	if q.Type != scsi.TypeDisk || q.Qualifier != scsi.QualifierConnected || q.Vendor == "" || q.Product == "" || q.Removable {
		t.Errorf("INQUIRY data %+v", q)
	}
	if len(ids) < 2 || ids[0].Type != scsi.DesignatorNAA || len(ids[0].Value) != 16 || ids[0].Value[0]>>4 != 6 {
		t.Fatalf("designators %v", ids)
	}
	if _, again, sameIDs := ask(target.LUN{Removable: true}); again != serial || sameIDs[0].String() != ids[0].String() {
		t.Error("the disk's identity is not the same on a server that is configured alike")
	}
	if _, other, otherIDs := ask(target.LUN{Number: 1}); other == serial || otherIDs[0].String() == ids[0].String() {
		t.Error("another disk has the same identity")
	}
	q, serial, ids = ask(target.LUN{Vendor: "ACME", Product: "Anvil", Revision: "7", Serial: "S123", Removable: true})
	if q.Vendor != "ACME" || q.Product != "Anvil" || q.Revision != "7" || serial != "S123" || !q.Removable {
		t.Errorf("INQUIRY data %+v, serial %q", q, serial)
	}
	var names []string
	for _, d := range ids {
		names = append(names, d.String())
	}
	for _, want := range []string{"t10.ACME    S123", "port 1", testTarget, testTarget + ",t,0x0001"} {
		if !strings.Contains("|"+strings.Join(names, "|")+"|", "|"+want+"|") {
			t.Errorf("designators %q lack %q", names, want)
		}
	}
}

func TestCapacity(t *testing.T) {
	for _, tc := range []struct {
		lun      target.LUN
		blocks   uint64
		exponent uint8
	}{
		{target.LUN{Store: store.NewMemory(diskSize)}, diskSize / 512, 3},
		{target.LUN{Store: store.NewMemory(diskSize + 511)}, diskSize / 512, 3},
		{target.LUN{Store: store.NewMemory(diskSize), PhysicalBlockSize: 512}, diskSize / 512, 0},
		{target.LUN{Store: store.NewMemory(diskSize), BlockSize: 4096}, diskSize / 4096, 0},
		{target.LUN{Store: store.NewMemory(4 << 40)}, 4 << 40 / 512, 3},
		{target.LUN{Store: slowly{store.NewMemory(diskSize)}}, diskSize / 512, 3},
	} {
		addr, _ := serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{tc.lun}}}})
		c := connect(t, addr).ready()
		r := c.good(scsi.ReadCapacity16{Length: 32}.CDB(), 32, nil)
		got, err := scsi.ParseCapacity16(r.data)
		if err != nil || got.Blocks != tc.blocks || got.PhysicalExponent != tc.exponent {
			t.Errorf("READ CAPACITY(16): %+v, %v; want %d blocks", got, err, tc.blocks)
		}
		if _, thin := tc.lun.Store.(store.Discarder); got.Provisioned != thin {
			t.Errorf("READ CAPACITY(16): %+v, thin %v", got, thin)
		}
		short, tooLarge, err := scsi.ParseCapacity10(c.good(scsi.ReadCapacity10CDB(), 8, nil).data)
		if err != nil || tooLarge != (tc.blocks > 1<<32) || !tooLarge && short.Blocks != tc.blocks {
			t.Errorf("READ CAPACITY(10): %+v, too large %v, %v", short, tooLarge, err)
		}
	}
}

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

func TestRemovable(t *testing.T) {
	addr, _ := serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{{Store: store.NewMemory(diskSize), Removable: true}}}}})
	a := connect(t, addr, withISID(1)).ready()
	b := connect(t, addr, withISID(2)).ready()
	eject, load := scsi.StartStopUnit{Eject: true}.CDB(), scsi.StartStopUnit{Eject: true, Start: true}.CDB()
	a.good(scsi.PreventAllowRemoval{Prevent: true}.CDB(), 0, nil)
	b.bad(eject, 0, nil, scsi.KeyIllegalRequest, scsi.ASCMediumRemovalPrevented)
	a.nc.Close() // and with it what it prevents
	for range 1000 {
		if b.do(eject, 0, nil).status == scsi.StatusGood {
			break
		}
	}
	b.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyNotReady, scsi.ASCMediumNotPresent)
	b.bad(transfer(scsi.OpRead10, 0, 1), 512, nil, scsi.KeyNotReady, scsi.ASCMediumNotPresent)
	b.good(load, 0, nil)
	b.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
}

func TestModeSelect(t *testing.T) {
	addr := serveDisk(t, store.NewMemory(diskSize))
	a := connect(t, addr, withISID(1)).ready()
	b := connect(t, addr, withISID(2)).ready()
	r := a.good(scsi.ModeSense{Page: scsi.ModePageControl, Length: 255}.CDB(), 255, nil)
	now, err := scsi.ParseModeData(r.data, false)
	if err != nil {
		t.Fatal(err)
	}
	set := func(c *client, change func(body []byte)) result {
		list := now
		list.WriteProtect, list.DPOFUA = false, false
		list.Pages = bytes.Clone(now.Pages)
		change(list.Pages[2:])
		data := list.Append(nil, false)
		return c.do(scsi.ModeSelect{PageFormat: true, Length: uint16(len(data))}.CDB(), 0, data)
	}
	if r := set(a, func(body []byte) { body[0] ^= 0x04 }); r.sense.ASC != scsi.ASCInvalidFieldInParameters {
		t.Errorf("D_SENSE: %v %v", r.status, r.sense)
	}
	if r := set(a, func(body []byte) { body[2] |= 0x08 }); r.status != scsi.StatusGood {
		t.Errorf("SWP: %v %v", r.status, r.sense)
	}
	b.bad(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512), scsi.KeyUnitAttention, scsi.ASCModeParametersChanged)
	b.bad(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512), scsi.KeyDataProtect, scsi.ASCWriteProtected)
	if r := set(b, func([]byte) {}); r.status != scsi.StatusGood {
		t.Errorf("SWP off: %v %v", r.status, r.sense)
	}
	b.good(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
}

func TestReportOpcodes(t *testing.T) {
	for name, s := range map[string]store.Store{"thin": store.NewMemory(diskSize), "thick": slowly{store.NewMemory(diskSize)}} {
		c := connect(t, serveDisk(t, s)).ready()
		r := c.good(scsi.ReportSupportedOpcodes{Length: 65535}.CDB(), 65535, nil)
		all, err := scsi.ParseSupportedOps(r.data)
		if err != nil || len(all) < 30 {
			t.Fatalf("%s: %d commands, %v", name, len(all), err)
		}
		unmap := false
		for _, o := range all {
			unmap = unmap || o.Op == scsi.OpUnmap
			options := uint8(1)
			if o.HasServiceAction {
				options = 2
			}
			r := c.good(scsi.ReportSupportedOpcodes{Options: options, Op: o.Op, ServiceAction: o.ServiceAction, Length: 255}.CDB(), 255, nil)
			ok, usage, err := scsi.ParseSupportedOp(r.data)
			if err != nil || !ok || len(usage) != o.Op.CDBLength() || usage[0] != byte(o.Op) {
				t.Errorf("%s: %v: supported %v, usage %x, %v", name, o.Op, ok, usage, err)
			}
		}
		if unmap != (name == "thin") {
			t.Errorf("%s: UNMAP supported: %v", name, unmap)
		}
		r = c.good(scsi.ReportSupportedOpcodes{Options: 1, Op: 0xee, Length: 255}.CDB(), 255, nil)
		if ok, _, err := scsi.ParseSupportedOp(r.data); ok || err != nil {
			t.Errorf("a command that is none is supported: %v, %v", ok, err)
		}
	}
}
