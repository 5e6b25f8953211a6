package target_test

import (
	"bytes"
	"fmt"
	"strings"
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
	for _, lun := range []iscsi.LUN{0, 1 << 48, 0x0003000100000000, 0xc102000000000000, 0xffffffffffffffff} {
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

func TestRemovable(t *testing.T) {
	ended := make(chan struct{}, 2)
	addr, _ := serve(t, target.Config{
		Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{{Store: store.NewMemory(diskSize), Removable: true}}}},
		Events: func(e target.Event) {
			if e.Kind == target.LogoutEvent {
				ended <- struct{}{}
			}
		},
	})
	a := connect(t, addr, withISID(1)).ready()
	b := connect(t, addr, withISID(2)).ready()
	eject, load := scsi.StartStopUnit{Eject: true}.CDB(), scsi.StartStopUnit{Eject: true, Start: true}.CDB()
	a.good(scsi.PreventAllowRemoval{Prevent: true}.CDB(), 0, nil)
	b.bad(eject, 0, nil, scsi.KeyIllegalRequest, scsi.ASCMediumRemovalPrevented)
	a.nc.Close() // and with it what it prevents
	<-ended
	b.good(eject, 0, nil)
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
	r = set(a, func(body []byte) { body[1] ^= 0x02 })
	if f, ok := r.sense.Field(); r.sense.ASC != scsi.ASCInvalidFieldInParameters || !ok || !f.Data || f.Byte != 4+8+2+1 || f.Bit != 1 {
		t.Errorf("QERR: %v %v", r.status, r.sense)
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
