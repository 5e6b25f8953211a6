package scsi_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/bootlun/bootlun/scsi"
)

func TestInquiryData(t *testing.T) {
	data := golden(t, "inquiry")
	d, err := scsi.ParseInquiryData(data)
	want := scsi.InquiryData{
		Type: scsi.TypeDisk, Version: 5, HiSup: true, CmdQue: true, Vendor: "IET", Product: "VIRTUAL-DISK", Revision: "0001",
		Descriptors: []uint16{0x04c0, 0x0960, 0x0300},
	}
	if err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("%+v, %v", d, err)
	}
	// Ours has room for all eight descriptors; tgt's ends after its own.
	ours := d.Append(nil)
	if len(ours) != 96 || ours[4] != 91 || !bytes.Equal(ours[5:len(data)], data[5:]) || !bytes.Equal(ours[:4], data[:4]) {
		t.Errorf("encoded % x", ours)
	}
	for n := range len(data) {
		d, err := scsi.ParseInquiryData(data[:n])
		if (err == nil) != (n >= 5) || n >= 16 && d.Vendor != "IET" {
			t.Errorf("%d bytes: %+v, %v", n, d, err)
		}
	}
}

func TestInquiryRoundTrip(t *testing.T) {
	full := scsi.InquiryData{
		Qualifier: 3, Type: scsi.TypeUnknown, Removable: true, Version: 6, NormACA: true, HiSup: true, TPGS: 3, ThirdParty: true,
		Protect: true, MultiPort: true, CmdQue: true, Vendor: "BOOTLUN8", Product: "0123456789abcdef", Revision: "1.00",
		Descriptors: []uint16{1, 2, 3, 4, 5, 6, 7, 8},
	}
	for _, d := range []scsi.InquiryData{{}, full} {
		got, err := scsi.ParseInquiryData(d.Append(nil))
		if err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("%+v became %+v, %v", d, got, err)
		}
	}
	long := scsi.InquiryData{Vendor: "much too long", Product: "very much too long", Revision: "12345", Descriptors: make([]uint16, 12)}
	if b := long.Append(nil); len(b) != 96 || string(b[8:36]) != "much toovery much too lo1234" {
		t.Errorf("%q", b)
	}
	if got := len((&scsi.InquiryData{}).Append(nil)); got != 36 {
		t.Errorf("%d bytes without descriptors", got)
	}
}

func TestVPD(t *testing.T) {
	for name, page := range map[string]scsi.VPDPage{
		"vpd 00": scsi.VPDSupportedPages, "vpd 80": scsi.VPDSerialNumber, "vpd 83": scsi.VPDDeviceID,
		"vpd b0": scsi.VPDBlockLimits, "vpd b2": scsi.VPDProvisioning,
	} {
		data := golden(t, name)
		body, err := scsi.ParseVPD(data, page)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := scsi.AppendVPD(nil, data[0], page, body); !bytes.Equal(got, data) {
			t.Errorf("%s: encoded % x", name, got)
		}
		if _, err := scsi.ParseVPD(data, page+1); err == nil {
			t.Errorf("%s: taken for another page", name)
		}
		if cut, err := scsi.ParseVPD(data[:6], page); err != nil || !bytes.Equal(cut, body[:2]) {
			t.Errorf("%s: cut off: % x, %v", name, cut, err)
		}
		if _, err := scsi.ParseVPD(data[:3], page); err == nil {
			t.Errorf("%s: three bytes: no error", name)
		}
	}
	for page := range 256 {
		if scsi.VPDPage(page).String() == "" {
			t.Errorf("page %#x has no name", page)
		}
	}
}

func TestBlockLimits(t *testing.T) {
	body, err := scsi.ParseVPD(golden(t, "vpd b0"), scsi.VPDBlockLimits)
	if err != nil {
		t.Fatal(err)
	}
	l := scsi.ParseBlockLimits(body)
	if l != (scsi.BlockLimits{MaxCompareAndWrite: 128, MaxUnmapBlocks: 1<<32 - 1, MaxUnmapRanges: 1<<32 - 1}) {
		t.Errorf("%+v", l)
	}
	if got := l.Append(nil); !bytes.Equal(got, body) {
		t.Errorf("encoded % x", got)
	}
	full := scsi.BlockLimits{
		WriteSameNonZero: true, MaxCompareAndWrite: 1, OptimalGranularity: 2, MaxTransfer: 3, OptimalTransfer: 4, MaxPreFetch: 5,
		MaxUnmapBlocks: 6, MaxUnmapRanges: 7, UnmapGranularity: 8, HasUnmapAlignment: true, UnmapAlignment: 9, MaxWriteSame: 10,
		MaxAtomic: 11, AtomicAlignment: 12, AtomicGranularity: 13, MaxAtomicWithBounds: 14, MaxAtomicBoundary: 15,
	}
	wire := full.Append(nil)
	if got := scsi.ParseBlockLimits(wire); got != full {
		t.Errorf("%+v became %+v", full, got)
	}
	const want = "01010002000000030000000400000005000000060000000700000008800000090000" +
		"00000000000a0000000b0000000c0000000d0000000e0000000f"
	if got := hex.EncodeToString(wire); got != want {
		t.Errorf("encoded %s", got)
	}
	if got := scsi.ParseBlockLimits(wire[:12]); got.OptimalTransfer != 4 || got.MaxPreFetch != 0 {
		t.Errorf("short page: %+v", got)
	}
}

func TestCharacteristicsAndProvisioning(t *testing.T) {
	c := scsi.BlockCharacteristics{RotationRate: scsi.NonRotating, ProductType: 2, FormFactor: 5, FUAB: true, VBULS: true}
	if got := scsi.ParseBlockCharacteristics(c.Append(nil)); got != c {
		t.Errorf("%+v became %+v", c, got)
	}
	if wire := c.Append(nil); len(wire) != 60 || hex.EncodeToString(wire[:5]) != "0001020503" {
		t.Errorf("encoded % x", wire)
	}
	body, err := scsi.ParseVPD(golden(t, "vpd b2"), scsi.VPDProvisioning)
	if err != nil {
		t.Fatal(err)
	}
	p := scsi.ParseProvisioning(body)
	want := scsi.Provisioning{Unmap: true, WriteSame16: true, WriteSame10: true, ReadZeros: 1, Type: scsi.ProvisioningThin}
	if p != want {
		t.Errorf("%+v", p)
	}
	if got := p.Append(nil); !bytes.Equal(got, body) {
		t.Errorf("encoded % x", got)
	}
	full := scsi.Provisioning{ThresholdExponent: 1, Unmap: true, WriteSame16: true, WriteSame10: true, ReadZeros: 7, Anchor: true, Type: 1}
	if got := scsi.ParseProvisioning(full.Append(nil)); got != full {
		t.Errorf("%+v became %+v", full, got)
	}
}

func TestDesignators(t *testing.T) {
	body, err := scsi.ParseVPD(golden(t, "vpd 83"), scsi.VPDDeviceID)
	if err != nil {
		t.Fatal(err)
	}
	list := scsi.ParseDesignators(body)
	var names []string
	for _, d := range list {
		names = append(names, d.String())
	}
	want := []string{"t10.bootlun-id", "naa.3000000100000001", "naa.6000000000000000000000b00000000d"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("%q", names)
	}
	if got := scsi.AppendDesignators(nil, list); !bytes.Equal(got, body) {
		t.Errorf("encoded % x\nrecorded % x", got, body)
	}
}

func TestDesignatorForms(t *testing.T) {
	tests := []struct {
		d    scsi.Designator
		wire string
		text string
	}{
		{scsi.NAADesignator([]byte{0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}), "0103001060" + "0102030405060708090a0b0c0d0e0f", "naa.600102030405060708090a0b0c0d0e0f"},
		{scsi.EUI64Designator(0x0102030405060708), "010200080102030405060708", "eui.0102030405060708"},
		{scsi.T10Designator("BOOTLUN", "x1"), "0201000a424f4f544c554e207831", "t10.BOOTLUN x1"},
		{scsi.SCSINameDesignator(scsi.OfTarget, "iqn.x"), "53a8000869716e2e78000000", "iqn.x"},
		{scsi.SCSINameDesignator(scsi.OfLogicalUnit, "naa.612"), "030800086e61612e36313200", "naa.612"},
		{scsi.RelativePortDesignator(1), "5194000400000001", "port 1"},
		{scsi.PortGroupDesignator(2), "5195000400000002", "port group 2"},
		{scsi.Designator{Type: scsi.DesignatorVendor, CodeSet: 1, Value: []byte{1, 2}}, "010000020102", "designator type 0: 0102"},
		{scsi.Designator{Type: scsi.DesignatorT10, CodeSet: 2, Value: []byte("a\x1b[2Jb\xff")}, "02010007611b5b324a62ff", "t10.a.[2Jb."},
	}
	for _, tt := range tests {
		wire := scsi.AppendDesignators(nil, []scsi.Designator{tt.d})
		if got := hex.EncodeToString(wire); got != tt.wire {
			t.Errorf("%v:\n got %s\nwant %s", tt.d, got, tt.wire)
		}
		if got := scsi.ParseDesignators(append(wire, 1, 3, 0, 99)); len(got) != 1 || !reflect.DeepEqual(got[0], tt.d) {
			t.Errorf("%v: read back as %+v", tt.d, got)
		}
		if got := tt.d.String(); got != tt.text {
			t.Errorf("%q, want %q", got, tt.text)
		}
	}
	long := scsi.Designator{Value: make([]byte, 300)}
	if got := scsi.AppendDesignators(nil, []scsi.Designator{long}); len(got) != 259 || got[3] != 255 {
		t.Errorf("a value of 300 bytes became %d", len(got))
	}
}

func TestCapacity(t *testing.T) {
	c, tooLarge, err := scsi.ParseCapacity10(golden(t, "read capacity 10"))
	if err != nil || tooLarge || c != (scsi.Capacity{Blocks: 2048, BlockLength: 512}) {
		t.Errorf("%+v, %v, %v", c, tooLarge, err)
	}
	if got := c.Append10(nil); !bytes.Equal(got, golden(t, "read capacity 10")) {
		t.Errorf("encoded % x", got)
	}
	c, err = scsi.ParseCapacity16(golden(t, "read capacity 16"))
	want := scsi.Capacity{Blocks: 2048, BlockLength: 512, PhysicalExponent: 3, Provisioned: true, ReadZeros: true}
	if err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
	if got := c.Append16(nil); !bytes.Equal(got, golden(t, "read capacity 16")) {
		t.Errorf("encoded % x", got)
	}
	for blocks, last := range map[uint64]string{1: "00000000", 1 << 32: "ffffffff", 1<<32 - 1: "fffffffe", 1 << 40: "ffffffff"} {
		c := scsi.Capacity{Blocks: blocks, BlockLength: 4096}
		if got := hex.EncodeToString(c.Append10(nil)); got != last+"00001000" {
			t.Errorf("%d blocks: %s", blocks, got)
		}
		got, tooLarge, err := scsi.ParseCapacity10(c.Append10(nil))
		if err != nil || tooLarge != (blocks >= 1<<32) || !tooLarge && got != c {
			t.Errorf("%d blocks: %+v, %v, %v", blocks, got, tooLarge, err)
		}
		if got, err := scsi.ParseCapacity16(c.Append16(nil)); err != nil || got != c {
			t.Errorf("%d blocks: %+v, %v", blocks, got, err)
		}
	}
	for protection := range uint8(4) {
		c := scsi.Capacity{Blocks: 1, BlockLength: 512, ProtectionType: protection, LowestAligned: 0x3fff, Provisioned: true}
		if got, err := scsi.ParseCapacity16(c.Append16(nil)); err != nil || got != c {
			t.Errorf("%+v became %+v, %v", c, got, err)
		}
	}
	if got, err := scsi.ParseCapacity16(want.Append16(nil)[:12]); err != nil || got.Blocks != 2048 || got.Provisioned {
		t.Errorf("twelve bytes: %+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, make([]byte, 7)} {
		if _, _, err := scsi.ParseCapacity10(bad); err == nil {
			t.Errorf("% x: no error", bad)
		}
	}
	for _, bad := range [][]byte{make([]byte, 11), bytes.Repeat([]byte{0xff}, 32)} {
		if _, err := scsi.ParseCapacity16(bad); err == nil {
			t.Errorf("% x: no error", bad)
		}
	}
}

func TestLUNs(t *testing.T) {
	data := golden(t, "report luns")
	luns, total, err := scsi.ParseLUNs(data)
	if err != nil || total != 2 || !reflect.DeepEqual(luns, []uint64{0, 1 << 48}) {
		t.Errorf("%x, %d, %v", luns, total, err)
	}
	if got := scsi.AppendLUNs(nil, luns); !bytes.Equal(got, data) {
		t.Errorf("encoded % x", got)
	}
	if luns, total, err := scsi.ParseLUNs(data[:16]); err != nil || total != 2 || len(luns) != 1 {
		t.Errorf("cut off: %x, %d, %v", luns, total, err)
	}
	if luns, total, err := scsi.ParseLUNs(bytes.Repeat([]byte{0xff}, 40)); err != nil || total < 4 || len(luns) != 4 {
		t.Errorf("a length beyond the data: %x, %d, %v", luns, total, err)
	}
	if _, _, err := scsi.ParseLUNs(data[:7]); err == nil {
		t.Error("seven bytes: no error")
	}
}

func TestModeData(t *testing.T) {
	for name, ten := range map[string]bool{"mode sense 6": false, "mode sense 10": true} {
		data := golden(t, name)
		m, err := scsi.ParseModeData(data, ten)
		if err != nil || m.BlockLength != 512 || m.Blocks != 0 || m.WriteProtect {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		pages, err := scsi.ParseModePages(m.Pages)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var again []byte
		seen := map[uint8]bool{}
		for _, p := range pages {
			again = scsi.AppendModePage(again, p)
			seen[p.Page] = true
			if p.Page == scsi.ModePageCaching && !scsi.ParseCachingPage(p.Body).WriteCache {
				t.Errorf("%s: tgt's write cache is off", name)
			}
			if p.Page == scsi.ModePageControl && p.Subpage == 0 && scsi.ParseControlPage(p.Body).Reorder != 1 {
				t.Errorf("%s: control page % x", name, p.Body)
			}
		}
		if !seen[scsi.ModePageCaching] || !seen[scsi.ModePageControl] || !seen[scsi.ModePageInformational] {
			t.Errorf("%s: pages %+v", name, pages)
		}
		m.Pages = again
		if got := m.Append(nil, ten); !bytes.Equal(got, data) {
			t.Errorf("%s:\nencoded  % x\nrecorded % x", name, got, data)
		}
	}
}

func TestModeRoundTrip(t *testing.T) {
	caching := scsi.AppendModePage(nil, scsi.CachingPage{WriteCache: true, ReadCacheDisable: true}.Page())
	for _, m := range []scsi.ModeData{
		{Pages: []byte{}},
		{MediumType: 1, WriteProtect: true, DPOFUA: true, Blocks: 1000, BlockLength: 512, Pages: caching},
		{DPOFUA: true, Blocks: 1<<32 - 1, BlockLength: 4096, Pages: caching},
	} {
		for _, ten := range []bool{false, true} {
			got, err := scsi.ParseModeData(m.Append(nil, ten), ten)
			if err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("%+v became %+v, %v", m, got, err)
			}
		}
	}
	long := scsi.ModeData{LongLBA: true, Blocks: 1 << 40, BlockLength: 512, Pages: caching}
	if got, err := scsi.ParseModeData(long.Append(nil, true), true); err != nil || !reflect.DeepEqual(got, long) {
		t.Errorf("%+v became %+v, %v", long, got, err)
	}
	if got, err := scsi.ParseModeData(long.Append(nil, false), false); err != nil || got.Blocks != 1<<32-1 {
		t.Errorf("a large disk in the short form: %+v, %v", got, err)
	}
	wire := long.Append(nil, true)
	for n := range 24 {
		if _, err := scsi.ParseModeData(wire[:n], true); err == nil {
			t.Errorf("%d bytes: no error", n)
		}
	}
}

func TestModePages(t *testing.T) {
	control := scsi.ControlPage{TaskSets: 1, DescriptorSense: true, Reorder: 1, ErrorPolicy: 2, WriteProtect: true, TaskAborted: true, BusyTimeout: 0xffff}
	p := control.Page()
	if got := scsi.ParseControlPage(p.Body); got != control {
		t.Errorf("%+v became %+v", control, got)
	}
	if got := hex.EncodeToString(scsi.AppendModePage(nil, p)); got != "0a0a24140840"+"0000ffff0000" {
		t.Errorf("control page %s", got)
	}
	if got := hex.EncodeToString(scsi.AppendModePage(nil, scsi.CachingPage{WriteCache: true}.Page())); got != "081204"+"0000000000000000000000000000000000" {
		t.Errorf("caching page %s", got)
	}
	if got := scsi.ParseCachingPage(nil); got != (scsi.CachingPage{}) {
		t.Errorf("empty caching page: %+v", got)
	}
	sub := scsi.ModePage{Saveable: true, Page: 0x0a, Subpage: 1, Body: []byte{1, 2, 3}}
	wire := scsi.AppendModePage(scsi.AppendModePage(nil, p), sub)
	got, err := scsi.ParseModePages(wire)
	if err != nil || !reflect.DeepEqual(got, []scsi.ModePage{p, sub}) {
		t.Errorf("%+v, %v", got, err)
	}
	for n := 13; n < len(wire); n++ {
		if got, err := scsi.ParseModePages(wire[:n]); !errors.Is(err, scsi.ErrModePageCut) || len(got) != 1 {
			t.Errorf("%d bytes: %+v, %v", n, got, err)
		}
	}
}

func TestUnmap(t *testing.T) {
	ranges := []scsi.UnmapRange{{LBA: 1, Blocks: 2}, {LBA: 1 << 40, Blocks: 1<<32 - 1}}
	wire := scsi.AppendUnmap(nil, ranges)
	const want = "0026002000000000" + "00000000000000010000000200000000" + "0000010000000000ffffffff00000000"
	if got := hex.EncodeToString(wire); got != want {
		t.Errorf("encoded %s", got)
	}
	got, err := scsi.ParseUnmap(wire)
	if err != nil || !reflect.DeepEqual(got, ranges) {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range len(wire) {
		got, err := scsi.ParseUnmap(wire[:n])
		if (err == nil) != (n >= 8) || len(got) > max(0, n-8)/16 {
			t.Errorf("%d bytes: %+v, %v", n, got, err)
		}
	}
	for _, length := range []string{"00000020", "00060020", "00260000", "0026000f", "00150020"} {
		bad, _ := hex.DecodeString(length)
		if got, err := scsi.ParseUnmap(append(bad, wire[4:]...)); err != nil || len(got) != 0 {
			t.Errorf("lengths %s: %+v, %v", length, got, err)
		}
	}
}

func TestLBAStatus(t *testing.T) {
	data := golden(t, "lba status")
	list, err := scsi.ParseLBAStatus(data)
	if err != nil || !reflect.DeepEqual(list, []scsi.LBAStatus{{Blocks: 2048, State: scsi.BlocksMapped}}) {
		t.Errorf("%+v, %v", list, err)
	}
	if got := scsi.AppendLBAStatus(nil, list); !bytes.Equal(got, data) {
		t.Errorf("encoded % x", got)
	}
	list = append(list, scsi.LBAStatus{LBA: 2048, Blocks: 1, State: scsi.BlocksAnchored})
	if got, err := scsi.ParseLBAStatus(scsi.AppendLBAStatus(nil, list)); err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%+v became %+v, %v", list, got, err)
	}
	if got, err := scsi.ParseLBAStatus(bytes.Repeat([]byte{0xff}, 30)); err != nil || len(got) != 1 {
		t.Errorf("a length beyond the data: %+v, %v", got, err)
	}
	if got, err := scsi.ParseLBAStatus(make([]byte, 40)); err != nil || len(got) != 0 {
		t.Errorf("a length of zero: %+v, %v", got, err)
	}
	if _, err := scsi.ParseLBAStatus(data[:7]); err == nil {
		t.Error("seven bytes: no error")
	}
}

func TestSupportedOps(t *testing.T) {
	data := golden(t, "supported opcodes")
	ops, err := scsi.ParseSupportedOps(data)
	if err != nil || len(ops) != 50 {
		t.Fatalf("%d commands, %v", len(ops), err)
	}
	if got := scsi.AppendSupportedOps(nil, ops, false); !bytes.Equal(got, data) {
		t.Errorf("encoded % x", got)
	}
	for _, o := range ops {
		if want := o.Op.CDBLength(); len(o.Usage) != want {
			t.Errorf("%v: %d bytes, want %d", o.Op, len(o.Usage), want)
		}
	}
	if got, err := scsi.ParseSupportedOps(scsi.AppendSupportedOps(nil, ops, true)); err != nil || !reflect.DeepEqual(got, ops) {
		t.Errorf("with timeouts: %+v, %v", got, err)
	}
	if _, err := scsi.ParseSupportedOps(data[:3]); err == nil {
		t.Error("three bytes: no error")
	}
	if got, err := scsi.ParseSupportedOps(bytes.Repeat([]byte{0xff}, 20)); err != nil || len(got) != 1 || got[0].Usage != nil {
		t.Errorf("nonsense: %+v, %v", got, err)
	}
}

func TestSupportedOp(t *testing.T) {
	data := golden(t, "supported opcode 28")
	supported, usage, err := scsi.ParseSupportedOp(data)
	if err != nil || !supported || len(usage) != 10 || usage[0] != 0x28 {
		t.Fatalf("%v, % x, %v", supported, usage, err)
	}
	o := &scsi.SupportedOp{Op: scsi.OpRead10, Usage: usage}
	if got := scsi.AppendSupportedOp(nil, o, false); !bytes.Equal(got, data) {
		t.Errorf("encoded % x", got)
	}
	wire := scsi.AppendSupportedOp(nil, o, true)
	if len(wire) != len(data)+12 || wire[1] != 0x83 || wire[len(data)+1] != 10 {
		t.Errorf("with timeouts % x", wire)
	}
	if supported, again, err := scsi.ParseSupportedOp(wire); err != nil || !supported || !bytes.Equal(again, usage) {
		t.Errorf("with timeouts: %v, % x, %v", supported, again, err)
	}
	if supported, _, err := scsi.ParseSupportedOp(scsi.AppendSupportedOp(nil, nil, true)); err != nil || supported {
		t.Errorf("a command that is not there: %v, %v", supported, err)
	}
	if _, _, err := scsi.ParseSupportedOp(data[:3]); err == nil {
		t.Error("three bytes: no error")
	}
}
