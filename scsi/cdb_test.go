package scsi_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
)

// TestTransfer pins the layout of every block command, field by field.
func TestTransfer(t *testing.T) {
	tests := []struct {
		transfer scsi.Transfer
		want     string // the CDB, without its padding
	}{
		{scsi.Transfer{Op: scsi.OpRead6, LBA: 0x1abcde, Blocks: 1}, "081abcde0100"},
		{scsi.Transfer{Op: scsi.OpWrite6, LBA: 1, Blocks: 256}, "0a0000010000"},
		{scsi.Transfer{Op: scsi.OpRead10, LBA: 0x01020304, Blocks: 0x0506, DPO: true, FUA: true, Protect: 5, Group: 7}, "28b801020304070506" + "00"},
		{scsi.Transfer{Op: scsi.OpWrite10, LBA: 0xffffffff, Blocks: 0xffff}, "2a00ffffffff00ffff00"},
		{scsi.Transfer{Op: scsi.OpWriteAndVerify10, LBA: 1, Blocks: 2, DPO: true, ByteCheck: 1, Protect: 1}, "2e320000000100000200"},
		{scsi.Transfer{Op: scsi.OpVerify10, LBA: 1, Blocks: 2, ByteCheck: 3}, "2f060000000100000200"},
		{scsi.Transfer{Op: scsi.OpPreFetch10, LBA: 1, Immediate: true}, "34020000000100000000"},
		{scsi.Transfer{Op: scsi.OpSynchronizeCache10, Immediate: true}, "35020000000000000000"},
		{scsi.Transfer{Op: scsi.OpWriteSame10, LBA: 1, Blocks: 2, Anchor: true, Unmap: true, Protect: 7}, "41f80000000100000200"},
		{scsi.Transfer{Op: scsi.OpRead12, LBA: 1, Blocks: 0x01020304, Group: 31}, "a80000000001010203041f00"},
		{scsi.Transfer{Op: scsi.OpWrite12, LBA: 1, Blocks: 2, FUA: true}, "aa0800000001000000020000"},
		{scsi.Transfer{Op: scsi.OpWriteAndVerify12, LBA: 1, Blocks: 2, ByteCheck: 1}, "ae0200000001000000020000"},
		{scsi.Transfer{Op: scsi.OpVerify12, LBA: 1, Blocks: 2}, "af0000000001000000020000"},
		{scsi.Transfer{Op: scsi.OpRead16, LBA: 1<<64 - 1, Blocks: 1<<32 - 1, Group: 1}, "8800ffffffffffffffffffffffff0100"},
		{scsi.Transfer{Op: scsi.OpCompareAndWrite, LBA: 0x0102030405060708, Blocks: 9, FUA: true}, "89080102030405060708000000090000"},
		{scsi.Transfer{Op: scsi.OpWrite16, LBA: 1, Blocks: 2, FUA: true}, "8a080000000000000001000000020000"},
		{scsi.Transfer{Op: scsi.OpOrWrite16, LBA: 1, Blocks: 2, Protect: 2}, "8b400000000000000001000000020000"},
		{scsi.Transfer{Op: scsi.OpWriteAndVerify16, LBA: 1, Blocks: 2, ByteCheck: 2}, "8e040000000000000001000000020000"},
		{scsi.Transfer{Op: scsi.OpVerify16, LBA: 1, Blocks: 2, DPO: true}, "8f100000000000000001000000020000"},
		{scsi.Transfer{Op: scsi.OpPreFetch16, LBA: 1, Blocks: 2}, "90000000000000000001000000020000"},
		{scsi.Transfer{Op: scsi.OpSynchronizeCache16, LBA: 1, Blocks: 2}, "91000000000000000001000000020000"},
		{scsi.Transfer{Op: scsi.OpWriteSame16, LBA: 1, Blocks: 2, Unmap: true, NoData: true}, "93090000000000000001000000020000"},
		{scsi.Transfer{Op: scsi.OpWriteAtomic16, LBA: 1, Blocks: 2, Boundary: 3, FUA: true}, "9c080000000000000001000300020000"},
	}
	for _, tt := range tests {
		c, err := tt.transfer.CDB()
		if err != nil {
			t.Errorf("%+v: %v", tt.transfer, err)
			continue
		}
		n := c.Op().CDBLength()
		if got := hex.EncodeToString(c[:n]); got != tt.want || c != scsi.CDB(append(c[:n:n], make([]byte, 16-n)...)) {
			t.Errorf("%v:\n got %s\nwant %s", tt.transfer.Op, got, tt.want)
		}
		if back, ok := scsi.ParseTransfer(&c); !ok || back != tt.transfer {
			t.Errorf("%v: taken apart as %+v", tt.transfer.Op, back)
		}
	}
}

func TestTransferDoesNotFit(t *testing.T) {
	for _, tr := range []scsi.Transfer{
		{Op: scsi.OpInquiry},
		{Op: scsi.OpRead6, LBA: 1 << 21, Blocks: 1},
		{Op: scsi.OpRead6, LBA: 1, Blocks: 257},
		{Op: scsi.OpRead6, LBA: 1}, // zero blocks would mean 256
		{Op: scsi.OpRead10, LBA: 1 << 32},
		{Op: scsi.OpRead10, Blocks: 1 << 16},
		{Op: scsi.OpRead12, LBA: 1 << 32},
		{Op: scsi.OpCompareAndWrite, Blocks: 256},
		{Op: scsi.OpWriteAtomic16, Blocks: 1 << 16},
	} {
		if c, err := tr.CDB(); err == nil {
			t.Errorf("%+v: % x", tr, c)
		}
	}
	if tr, ok := scsi.ParseTransfer(&scsi.CDB{byte(scsi.OpUnmap)}); ok {
		t.Errorf("UNMAP: %+v", tr)
	}
}

func TestShortestForm(t *testing.T) {
	for _, tt := range []struct {
		cdb    scsi.CDB
		op     scsi.OpCode
		lba    uint64
		blocks uint32
	}{
		{scsi.ReadCDB(1, 8), scsi.OpRead10, 1, 8},
		{scsi.ReadCDB(1<<32-1, 65535), scsi.OpRead10, 1<<32 - 1, 65535},
		{scsi.ReadCDB(1<<32, 8), scsi.OpRead16, 1 << 32, 8},
		{scsi.ReadCDB(1, 65536), scsi.OpRead16, 1, 65536},
		{scsi.WriteCDB(1, 8), scsi.OpWrite10, 1, 8},
		{scsi.WriteCDB(1<<40, 8), scsi.OpWrite16, 1 << 40, 8},
		{scsi.SynchronizeCacheCDB(0, 0), scsi.OpSynchronizeCache10, 0, 0},
		{scsi.SynchronizeCacheCDB(1<<40, 1), scsi.OpSynchronizeCache16, 1 << 40, 1},
	} {
		got, ok := scsi.ParseTransfer(&tt.cdb)
		if !ok || got != (scsi.Transfer{Op: tt.op, LBA: tt.lba, Blocks: tt.blocks}) {
			t.Errorf("%+v, want %v %d %d", got, tt.op, tt.lba, tt.blocks)
		}
	}
}

func TestTransferCheck(t *testing.T) {
	const capacity = 1000
	for _, tt := range []struct {
		lba    uint64
		blocks uint32
		ok     bool
	}{
		{0, 0, true},
		{0, 1000, true},
		{999, 1, true},
		{1000, 0, true}, // nothing, at the end
		{999, 2, false},
		{1000, 1, false},
		{1001, 0, false},
		{0, 1001, false},
		{1<<64 - 1, 1, false}, // the sum wraps
		{1<<64 - 1, 1<<32 - 1, false},
	} {
		err := scsi.Transfer{Op: scsi.OpRead16, LBA: tt.lba, Blocks: tt.blocks}.Check(capacity)
		if (err == nil) != tt.ok {
			t.Errorf("LBA %d, %d blocks: %v", tt.lba, tt.blocks, err)
		}
		var e *scsi.Error
		if err != nil && (!errors.As(err, &e) || e.Sense.ASC != scsi.ASCLBAOutOfRange || e.Sense.Key != scsi.KeyIllegalRequest) {
			t.Errorf("LBA %d, %d blocks: %v", tt.lba, tt.blocks, err)
		}
	}
}

// TestCommands pins the layout of the other commands, field by field.
func TestCommands(t *testing.T) {
	tests := []struct {
		cdb  scsi.CDB
		want string
	}{
		{scsi.TestUnitReadyCDB(), "000000000000"},
		{scsi.ReadCapacity10CDB(), "25000000000000000000"},
		{scsi.Inquiry{Length: 0x0102}.CDB(), "120000010200"},
		{scsi.Inquiry{VPD: true, Page: scsi.VPDDeviceID, Length: 255}.CDB(), "12018300ff00"},
		{scsi.ReadCapacity16{Length: 32}.CDB(), "9e100000000000000000000000200000"},
		{scsi.ReportLUNs{Select: 2, Length: 0x01020304}.CDB(), "a00002000000010203040000"},
		{scsi.RequestSense{Descriptor: true, Length: 252}.CDB(), "03010000fc00"},
		{scsi.ModeSense{Page: 0x3f, Subpage: 0xff, NoDescriptor: true, Control: scsi.SavedValues, Length: 255}.CDB(), "1a08ffffff00"},
		{scsi.ModeSense{Ten: true, LongLBA: true, Control: scsi.ChangeableValues, Page: 8, Length: 0x0102}.CDB(), "5a104800000000010200"},
		{scsi.ModeSelect{PageFormat: true, Save: true, Length: 24}.CDB(), "151100001800"},
		{scsi.ModeSelect{Ten: true, PageFormat: true, Length: 0x0102}.CDB(), "55100000000000010200"},
		{scsi.StartStopUnit{Immediate: true, PowerCondition: 3, NoFlush: true, Eject: true, Start: true}.CDB(), "1b0100003700"},
		{scsi.PreventAllowRemoval{Prevent: true}.CDB(), "1e0000000100"},
		{scsi.Unmap{Anchor: true, Group: 5, Length: 24}.CDB(), "42010000000005001800"},
		{scsi.GetLBAStatus{LBA: 0x0102030405060708, Length: 24, ReportType: 1}.CDB(), "9e120102030405060708000000180100"},
		{scsi.ReportSupportedOpcodes{Timeouts: true, Options: 3, Op: scsi.OpServiceActionIn16, ServiceAction: 0x10, Length: 512}.CDB(), "a30c839e0010000002000000"},
		{scsi.PersistentReserveIn{Action: scsi.ActionPRInReadFullStatus, Length: 0x0102}.CDB(), "5e030000000000010200"},
		{scsi.PersistentReserveOut{Action: scsi.ActionPROutReserve, Scope: 1, Type: 5, Length: 24}.CDB(), "5f011500000000001800"},
	}
	for _, tt := range tests {
		n := tt.cdb.Op().CDBLength()
		if got := hex.EncodeToString(tt.cdb[:n]); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.cdb.Name(), got, tt.want)
		}
		if again, ok := rebuild(&tt.cdb); !ok || again != tt.cdb {
			t.Errorf("%s: built again % x, %v", tt.cdb.Name(), again, ok)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		cdb  scsi.CDB
		want string
	}{
		{scsi.ReadCDB(2048, 8), "READ(10) lba=2048 blocks=8"},
		{scsi.ReadCapacity16{}.CDB(), "READ CAPACITY(16)"},
		{scsi.GetLBAStatus{}.CDB(), "GET LBA STATUS"},
		{scsi.ReportSupportedOpcodes{}.CDB(), "REPORT SUPPORTED OPERATION CODES"},
		{scsi.CDB{0xa3, 0x0a}, "REPORT TARGET PORT GROUPS"},
		{scsi.CDB{0xa3, 0x0d}, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS"},
		{scsi.CDB{0xa3, 0x1f}, "MAINTENANCE IN service action 0x1f"},
		{scsi.CDB{0xff}, "operation code 0xff"},
		{scsi.CDB{0x12, 1}, "INQUIRY"},
	} {
		if got := tt.cdb.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	for op := range 256 {
		if scsi.OpCode(op).String() == "" {
			t.Errorf("operation code %#x has no text", op)
		}
	}
}

func TestCDBLengthAndControl(t *testing.T) {
	for op, want := range map[scsi.OpCode]int{
		scsi.OpTestUnitReady: 6, scsi.OpRead10: 10, scsi.OpModeSense10: 10, scsi.OpRead16: 16, scsi.OpReportLUNs: 12,
		scsi.OpVariableLength: 0, 0xc0: 0, 0xff: 0,
	} {
		if got := op.CDBLength(); got != want {
			t.Errorf("%v: %d bytes, want %d", op, got, want)
		}
	}
	c := scsi.CDB{0x28, 9: 0x04}
	if got := c.Control(); got != 4 {
		t.Errorf("control byte %d", got)
	}
	if c = (scsi.CDB{0xff, 15: 4}); c.Control() != 0 {
		t.Error("a command of unknown length has a control byte")
	}
}

// TestAssignable: a CDB goes into a PDU without conversion.
func TestAssignable(t *testing.T) {
	var raw [16]byte = scsi.TestUnitReadyCDB()
	var c scsi.CDB = raw
	if !strings.HasPrefix(c.String(), "TEST UNIT READY") {
		t.Error(c.String())
	}
}
