package scsi_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
)

// senses are round-tripped in both formats and pinned.
var senses = []struct {
	sense             scsi.Sense
	fixed, descriptor string
	text              string
}{
	{
		scsi.Sense{},
		"700000000000000a00000000000000000000", "7200000000000000",
		"NO SENSE: No additional sense information (00/00/00)",
	},
	{
		scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCLBAOutOfRange).Sense,
		"700005000000000a00000000210000000000", "7205210000000000",
		"ILLEGAL REQUEST: Logical block address out of range (05/21/00)",
	},
	{
		scsi.InvalidCDBField(2, 5).Sense,
		"700005000000000a000000002400" + "00" + "cd0002", "7205240000000008" + "02060000cd000200",
		"ILLEGAL REQUEST: Invalid field in CDB (05/24/00) at byte 2 of the CDB",
	},
	{
		scsi.InvalidParameterField(0x0102, -1).Sense,
		"700005000000000a000000002600" + "00" + "800102", "7205260000000008" + "0206000080010200",
		"ILLEGAL REQUEST: Invalid field in parameter list (05/26/00) at byte 258 of the parameter list",
	},
	{
		scsi.Sense{Key: scsi.KeyMediumError, ASC: scsi.ASCUnrecoveredReadError, HasInformation: true, Information: 0x01020304, FRU: 9},
		"f00003010203040a00000000110009000000", "7203110000000010" + "000a80000000000001020304" + "03020009",
		"MEDIUM ERROR: Unrecovered read error (03/11/00), information 0x1020304",
	},
	{
		scsi.Sense{
			Deferred: true, Key: scsi.KeyMiscompare, ASC: scsi.ASCMiscompareDuringVerify, Filemark: true, EOM: true, ILI: true,
			CommandInfo: 0x0a0b0c0d,
		},
		"7100ee000000000a0a0b0c0d1d0000000000", "730e1d0000000010" + "010a0000000000000a0b0c0d" + "040200e0",
		"MISCOMPARE: Miscompare during verify operation (0e/1d/00)",
	},
}

func TestSense(t *testing.T) {
	for _, tt := range senses {
		for format, wire := range map[string][]byte{tt.fixed: tt.sense.AppendFixed(nil), tt.descriptor: tt.sense.AppendDescriptor(nil)} {
			if got := hex.EncodeToString(wire); got != format {
				t.Errorf("%v:\n got %s\nwant %s", tt.sense, got, format)
			}
			// A target may send more than the data says it has.
			got, err := scsi.ParseSense(append(wire, 0xff, 0xff))
			if err != nil || got != tt.sense {
				t.Errorf("%s: %+v, %v", format, got, err)
			}
		}
		if got := tt.sense.String(); got != tt.text {
			t.Errorf("%q, want %q", got, tt.text)
		}
	}
}

// TestLongInformation: what does not fit 32 bits is in the descriptor format only.
func TestLongInformation(t *testing.T) {
	s := scsi.Sense{Key: scsi.KeyMediumError, HasInformation: true, Information: 1 << 40, CommandInfo: 1 << 41}
	if got, err := scsi.ParseSense(s.AppendFixed(nil)); err != nil || got.HasInformation || got.Information != 0 || got.CommandInfo != 0 {
		t.Errorf("fixed: %+v, %v", got, err)
	}
	if got, err := scsi.ParseSense(s.AppendDescriptor(nil)); err != nil || got != s {
		t.Errorf("descriptor: %+v, %v", got, err)
	}
}

func TestSenseCut(t *testing.T) {
	for _, tt := range senses {
		for _, wire := range [][]byte{tt.sense.AppendFixed(nil), tt.sense.AppendDescriptor(nil)} {
			for n := range len(wire) {
				got, err := scsi.ParseSense(wire[:n])
				enough := n >= 3 && wire[0]&2 == 0 || n >= 4
				if (err == nil) != enough {
					t.Errorf("%d of %d bytes: %v", n, len(wire), err)
				}
				if err == nil && got.Key != tt.sense.Key {
					t.Errorf("%d of %d bytes: %+v", n, len(wire), got)
				}
			}
		}
	}
	if s, err := scsi.ParseSense([]byte{0x7f, 0, 0, 0}); err == nil {
		t.Errorf("vendor format: %+v", s)
	}
}

func TestSenseGolden(t *testing.T) {
	for name, want := range map[string]string{
		"sense: unit attention":  "UNIT ATTENTION: Power on, reset, or bus device reset occurred (06/29/00)",
		"sense: out of range":    "ILLEGAL REQUEST: Logical block address out of range (05/21/00)",
		"sense: invalid command": "ILLEGAL REQUEST: Invalid command operation code (05/20/00)",
		"sense: invalid field":   "ILLEGAL REQUEST: Invalid field in CDB (05/24/00)",
	} {
		data := golden(t, name)
		s, err := scsi.ParseSense(data)
		if err != nil || s.String() != want {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if got := s.AppendFixed(nil); string(got) != string(data) {
			t.Errorf("%s:\nencoded  % x\nrecorded % x", name, got, data)
		}
	}
}

func TestField(t *testing.T) {
	for _, f := range []scsi.FieldPointer{
		{}, {Byte: 7}, {Data: true, Byte: 0xffff}, {HasBit: true}, {Data: true, Byte: 3, HasBit: true, Bit: 7},
	} {
		s := scsi.Sense{Key: scsi.KeyIllegalRequest}.WithField(f)
		if got, ok := s.Field(); !ok || got != f {
			t.Errorf("%+v: %+v, %v", f, got, ok)
		}
		s.Key = scsi.KeyMediumError
		if got, ok := s.Field(); ok {
			t.Errorf("a medium error has the field %+v", got)
		}
	}
	s := scsi.Sense{Key: scsi.KeyNotReady, KeySpecific: [3]byte{0x80, 0x80, 0x00}}
	if done, ok := s.Progress(); !ok || done != 0x8000 {
		t.Errorf("progress %d, %v", done, ok)
	}
	for _, s := range []scsi.Sense{{Key: scsi.KeyNotReady}, {Key: scsi.KeyMediumError, KeySpecific: [3]byte{0x80}}} {
		if done, ok := s.Progress(); ok {
			t.Errorf("%+v: progress %d", s, done)
		}
	}
}

func TestErrors(t *testing.T) {
	for want, err := range map[string]error{
		"scsi: ILLEGAL REQUEST: Logical block address out of range (05/21/00)": scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCLBAOutOfRange),
		"scsi: BUSY":                 scsi.StatusError(scsi.StatusBusy),
		"scsi: RESERVATION CONFLICT": scsi.ResultError(scsi.StatusReservationConflict, nil),
		"scsi: status 0x7f":          scsi.ResultError(0x7f, nil),
		"scsi: NO SENSE: No additional sense information (00/00/00)":                     scsi.ResultError(scsi.StatusCheckCondition, nil),
		"scsi: UNIT ATTENTION: Power on, reset, or bus device reset occurred (06/29/00)": scsi.ResultError(scsi.StatusCheckCondition, golden(t, "sense: unit attention")),
	} {
		var e *scsi.Error
		if !errors.As(err, &e) || err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	for _, s := range []scsi.Status{scsi.StatusGood, scsi.StatusConditionMet} {
		if err := scsi.ResultError(s, nil); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestCodeNames(t *testing.T) {
	for _, s := range []scsi.Status{0, 2, 4, 8, 0x18, 0x28, 0x30, 0x40} {
		if strings.HasPrefix(s.String(), "status") {
			t.Errorf("%v has no name", s)
		}
	}
	for key := range 256 {
		if scsi.SenseKey(key).String() == "" {
			t.Errorf("sense key %#x has no name", key)
		}
	}
	for asc, want := range map[scsi.ASC]string{
		0x2904: "Device internal reset",
		0x29ff: "Power on, reset, or bus device reset occurred (qualifier 0xff)",
		0x00ff: "Additional sense code 0x00/0xff",
		0x9912: "Additional sense code 0x99/0x12",
	} {
		if got := asc.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint16(asc), got, want)
		}
	}
}
