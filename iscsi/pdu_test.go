package iscsi_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// fullPDUs has one PDU of every type with every field set, each to another value.
func fullPDUs() []iscsi.PDU {
	isid := iscsi.ISID{1, 2, 3, 4, 5, 6}
	const lun = 0x0102030405060708
	return []iscsi.PDU{
		&iscsi.NOPOut{Immediate: true, LUN: lun, ITT: 1, TTT: 2, CmdSN: 3, ExpStatSN: 4},
		&iscsi.SCSICommand{
			Immediate: true, Final: true, Read: true, Write: true, Attribute: iscsi.ACA, LUN: lun, ITT: 1,
			ExpectedLength: 2, CmdSN: 3, ExpStatSN: 4, CDB: [16]byte{0x28, 15: 9},
		},
		&iscsi.TaskManagementRequest{
			Immediate: true, Function: iscsi.TaskReassign, LUN: lun, ITT: 1, ReferencedITT: 2, CmdSN: 3,
			ExpStatSN: 4, RefCmdSN: 5, ExpDataSN: 6,
		},
		&iscsi.LoginRequest{
			Transit: true, Continue: true, CurrentStage: iscsi.OperationalStage, NextStage: iscsi.FullFeaturePhase,
			VersionMax: 1, VersionMin: 2, ISID: isid, TSIH: 3, ITT: 4, CID: 5, CmdSN: 6, ExpStatSN: 7,
		},
		&iscsi.TextRequest{Immediate: true, Final: true, Continue: true, LUN: lun, ITT: 1, TTT: 2, CmdSN: 3, ExpStatSN: 4},
		&iscsi.DataOut{Final: true, LUN: lun, ITT: 1, TTT: 2, ExpStatSN: 3, DataSN: 4, BufferOffset: 5},
		&iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutRecovery, ITT: 1, CID: 2, CmdSN: 3, ExpStatSN: 4},
		&iscsi.SNACK{Type: iscsi.SNACKRData, LUN: lun, ITT: 1, TTT: 2, ExpStatSN: 3, BegRun: 4, RunLength: 5},
		&iscsi.NOPIn{LUN: lun, ITT: 1, TTT: 2, StatSN: 3, ExpCmdSN: 4, MaxCmdSN: 5},
		&iscsi.SCSIResponse{
			Response: iscsi.CommandTargetFailure, Status: 2, Overflow: true, Underflow: true, ResidualCount: 3,
			BidiOverflow: true, BidiUnderflow: true, BidiResidualCount: 4, ITT: 5, SNACKTag: 6, StatSN: 7,
			ExpCmdSN: 8, MaxCmdSN: 9, ExpDataSN: 10,
		},
		&iscsi.TaskManagementResponse{Response: iscsi.TaskFunctionRejected, ITT: 1, StatSN: 2, ExpCmdSN: 3, MaxCmdSN: 4},
		&iscsi.LoginResponse{
			Transit: true, Continue: true, CurrentStage: iscsi.OperationalStage, NextStage: iscsi.FullFeaturePhase,
			VersionMax: 1, VersionActive: 2, ISID: isid, TSIH: 3, ITT: 4, StatSN: 5, ExpCmdSN: 6, MaxCmdSN: 7,
			Status: iscsi.StatusSessionDoesNotExist,
		},
		&iscsi.TextResponse{Final: true, Continue: true, LUN: lun, ITT: 1, TTT: 2, StatSN: 3, ExpCmdSN: 4, MaxCmdSN: 5},
		&iscsi.DataIn{
			Final: true, Acknowledge: true, Overflow: true, Underflow: true, HasStatus: true, Status: 1, LUN: lun,
			ITT: 2, TTT: 3, StatSN: 4, ExpCmdSN: 5, MaxCmdSN: 6, DataSN: 7, BufferOffset: 8, ResidualCount: 9,
		},
		&iscsi.LogoutResponse{
			Response: iscsi.LogoutCleanupFailed, ITT: 1, StatSN: 2, ExpCmdSN: 3, MaxCmdSN: 4, Time2Wait: 5, Time2Retain: 6,
		},
		&iscsi.R2T{
			LUN: lun, ITT: 1, TTT: 2, StatSN: 3, ExpCmdSN: 4, MaxCmdSN: 5, R2TSN: 6, BufferOffset: 7, DesiredLength: 8,
		},
		&iscsi.AsyncMessage{
			LUN: lun, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, Event: iscsi.AsyncVendor, VCode: 4, Param1: 5, Param2: 6, Param3: 7,
		},
		&iscsi.Reject{Reason: iscsi.RejectInvalidField, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, DataSN: 4},
	}
}

func TestPDURoundTrip(t *testing.T) {
	seen := map[iscsi.Opcode]bool{}
	for _, p := range fullPDUs() {
		seen[p.Opcode()] = true
		b := dirty()
		p.Encode(&b)
		if b.Opcode() != p.Opcode() || b.AHSLength() != 0 || b.DataSegmentLength() != 0 {
			t.Errorf("%v: encoded as %v", p.Opcode(), &b)
		}
		got, err := iscsi.DecodePDU(&b)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%v: error %v\n got %+v\nwant %+v", p.Opcode(), err, got, p)
		}
		checkEveryFieldSet(t, p)
	}
	if len(seen) != 18 {
		t.Errorf("%d PDU types, want RFC 7143's 18", len(seen))
	}
}

// dirty is a header that an Encode must overwrite wholly.
func dirty() (b iscsi.BHS) {
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// checkEveryFieldSet keeps fullPDUs full.
func checkEveryFieldSet(t *testing.T, p iscsi.PDU) {
	t.Helper()
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).IsZero() && name != "ExtendedCDB" && name != "BidiReadLength" {
			t.Errorf("%v: %s is not set", p.Opcode(), name)
		}
	}
}

// TestPDUZero: the bits that are always set, and nothing else.
func TestPDUZero(t *testing.T) {
	for _, full := range fullPDUs() {
		p := reflect.New(reflect.TypeOf(full).Elem()).Interface().(iscsi.PDU)
		b := dirty()
		p.Encode(&b)
		got, err := iscsi.DecodePDU(&b)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%v: error %v, got %+v", p.Opcode(), err, got)
		}
	}
}

func TestDecodeWrongOpcode(t *testing.T) {
	for _, p := range fullPDUs() {
		b := iscsi.BHS{0x3e}
		if err := p.Decode(&b); !errors.Is(err, iscsi.ErrWrongOpcode) {
			t.Errorf("%v: error %v", p.Opcode(), err)
		}
		if _, err := iscsi.DecodePDU(&b); !errors.Is(err, iscsi.ErrWrongOpcode) {
			t.Errorf("error %v", err)
		}
	}
}

func TestPDUsDoNotAllocate(t *testing.T) {
	for _, p := range fullPDUs() {
		var b iscsi.BHS
		p.Encode(&b)
		n := testing.AllocsPerRun(100, func() {
			p.Encode(&b)
			if err := p.Decode(&b); err != nil {
				t.Error(err)
			}
		})
		if n != 0 {
			t.Errorf("%v: %v allocations", p.Opcode(), n)
		}
	}
}

func TestAHS(t *testing.T) {
	for n := range 17 {
		cdb := make([]byte, n)
		for i := range cdb {
			cdb[i] = byte(i + 1)
		}
		want := iscsi.SCSICommand{Read: true, Write: true, ExtendedCDB: cdb, BidiReadLength: 0x01020304}
		ahs := want.AppendAHS(nil)
		if len(ahs)%4 != 0 {
			t.Errorf("%d bytes of CDB: %d bytes of AHS", n, len(ahs))
		}
		got := iscsi.SCSICommand{Read: true, Write: true}
		if err := got.DecodeAHS(ahs); err != nil {
			t.Fatal(err)
		}
		if string(got.ExtendedCDB) != string(cdb) || got.BidiReadLength != want.BidiReadLength {
			t.Errorf("%d bytes of CDB: got %+v", n, got)
		}
	}
	// RFC 7143, 11.2.2.3 and 11.2.2.4, by hand.
	cmd := iscsi.SCSICommand{Read: true, Write: true, ExtendedCDB: []byte{0xaa, 0xbb}, BidiReadLength: 0x200}
	want := []byte{0, 3, 1, 0, 0xaa, 0xbb, 0, 0, 0, 5, 2, 0, 0, 0, 2, 0}
	if got := cmd.AppendAHS(nil); string(got) != string(want) {
		t.Errorf("AHS % x, want % x", got, want)
	}
	if got := new(iscsi.SCSICommand).AppendAHS(nil); got != nil {
		t.Errorf("AHS of a plain command: % x", got)
	}
}

func TestAHSMalformed(t *testing.T) {
	for _, ahs := range [][]byte{
		{0},
		{0, 1, 1},
		{0, 0, 1, 0},                      // shorter than its reserved byte
		{0, 2, 1, 0},                      // longer than what follows
		{0xff, 0xff, 1, 0},                // much longer
		{0, 4, 2, 0, 0, 0, 0, 0},          // bidirectional length of three bytes
		{0, 1, 9, 0, 0, 5, 2, 0, 0, 0, 0}, // second segment cut
	} {
		var cmd iscsi.SCSICommand
		if err := cmd.DecodeAHS(ahs); !errors.Is(err, iscsi.ErrBadAHS) {
			t.Errorf("% x: error %v", ahs, err)
		}
	}
	var cmd iscsi.SCSICommand
	if err := cmd.DecodeAHS([]byte{0, 1, 9, 0}); err != nil {
		t.Errorf("unknown segment: %v", err)
	}
}

func TestSense(t *testing.T) {
	data := append(iscsi.AppendSense(nil, []byte{0x70, 1, 2}), 9)
	sense, rest, err := iscsi.SplitSense(data)
	if err != nil || string(sense) != "\x70\x01\x02" || string(rest) != "\x09" {
		t.Errorf("sense % x, rest % x, error %v", sense, rest, err)
	}
	if s, r, err := iscsi.SplitSense(nil); s != nil || r != nil || err != nil {
		t.Errorf("empty segment: % x, % x, %v", s, r, err)
	}
	for _, bad := range [][]byte{{0}, {0, 1}, {0xff, 0xff, 1}} {
		if _, _, err := iscsi.SplitSense(bad); err == nil {
			t.Errorf("% x: no error", bad)
		}
	}
}

func TestRejectedHeader(t *testing.T) {
	var want iscsi.BHS
	(&iscsi.DataOut{ITT: 77}).Encode(&want)
	got, err := iscsi.RejectedHeader(append(want[:], 0, 0))
	if err != nil || got != want {
		t.Errorf("%v, %v", &got, err)
	}
	if _, err := iscsi.RejectedHeader(want[:47]); err == nil {
		t.Error("47 bytes: no error")
	}
}

func TestBHS(t *testing.T) {
	var b iscsi.BHS
	b.SetAHSLength(5)
	b.SetDataSegmentLength(0x010203)
	b.SetITT(0xdeadbeef)
	if b.AHSLength() != 8 || b.DataSegmentLength() != 0x010203 || b.ITT() != 0xdeadbeef || b.Immediate() || b.Final() {
		t.Errorf("header %x", b)
	}
	if got := b.String(); got != "NOP-Out itt=0xdeadbeef ahs=8 data=66051" {
		t.Error(got)
	}
	b.SetAHSLength(iscsi.MaxAHSLength)
	b.SetDataSegmentLength(iscsi.MaxDataSegmentLength)
	if b.AHSLength() != iscsi.MaxAHSLength || b.DataSegmentLength() != iscsi.MaxDataSegmentLength {
		t.Errorf("header %x", b)
	}
}
