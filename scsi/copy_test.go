package scsi_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/bootlun/bootlun/scsi"
)

func TestCopyList(t *testing.T) {
	limits := scsi.CopyLimits{Targets: 2, Segments: 2, Length: 128}
	list := scsi.CopyList{
		ListID: 9, Usage: scsi.CopyDiscard, Priority: 1,
		Targets: []scsi.CopyTarget{{Designator: scsi.NAADesignator(bytes.Repeat([]byte{0x61}, 16)), BlockLength: 4096}},
		Segments: []scsi.CopySegment{
			{SourceLBA: 1 << 40, DestinationLBA: 7, Blocks: 65535, DestinationCount: true},
			{SourceLBA: 2, DestinationLBA: 8, HasBytes: true, Bytes: 1 << 30, SourceByteOffset: 512, DestinationOffset: 1024},
		},
	}
	data := list.Append(nil)
	got, err := scsi.ParseCopyList(data, limits)
	if err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%+v became %+v, %v", list, got, err)
	}
	for name, tc := range map[string]struct {
		change func([]byte) []byte
		asc    scsi.ASC
	}{
		"cut":             {func(b []byte) []byte { return b[:len(b)-1] }, scsi.ASCParameterListLength},
		"no header":       {func(b []byte) []byte { return b[:15] }, scsi.ASCParameterListLength},
		"too long":        {func(b []byte) []byte { b[9] = 1; return append(b, make([]byte, 1<<16)...) }, scsi.ASCParameterListLength},
		"three targets":   {func(b []byte) []byte { b[3], b[11] = 96, 0; return b[:112] }, scsi.ASCTooManyTargetDescriptors},
		"other target":    {func(b []byte) []byte { b[16] = 0xe0; return b }, scsi.ASCUnsupportedTargetDescriptor},
		"long designator": {func(b []byte) []byte { b[23] = 21; return b }, scsi.ASCInvalidFieldInParameters},
		"other segment":   {func(b []byte) []byte { b[48] = 0x03; return b }, scsi.ASCUnsupportedSegmentDescriptor},
		"segment length":  {func(b []byte) []byte { b[51] = 0x1c; return b }, scsi.ASCInvalidFieldInParameters},
		"inline data":     {func(b []byte) []byte { b[15] = 1; return append(b, 0) }, scsi.ASCInvalidFieldInParameters},
	} {
		b := tc.change(append(bytes.Clone(data), make([]byte, 4)...)[:len(data)])
		var e *scsi.Error
		if _, err := scsi.ParseCopyList(b, limits); !errors.As(err, &e) || e.Sense.ASC != tc.asc {
			t.Errorf("%s: %v, want %v", name, err, tc.asc)
		}
	}
}

func TestCopyResults(t *testing.T) {
	status := scsi.CopyStatus{State: scsi.CopyFailed, Segments: 300, Bytes: 5 << 20}
	if got, err := scsi.ParseCopyStatus(status.Append(nil)); err != nil || got != status {
		t.Errorf("%+v became %+v, %v", status, got, err)
	}
	r := scsi.CopyResults{Action: scsi.ActionCopyFailed, ListID: 3, Length: 1 << 20}
	if cdb := r.CDB(); scsi.ParseCopyResults(&cdb) != r || cdb.Op() != scsi.OpReceiveCopyResults {
		t.Errorf("%+v became % x", r, cdb)
	}
}

func TestSanitizeForms(t *testing.T) {
	s := scsi.Sanitize{Action: scsi.ActionSanitizeOverwrite, Immediate: true, Unrestricted: true, Length: 516}
	if cdb := s.CDB(); scsi.ParseSanitize(&cdb) != s {
		t.Errorf("%+v became % x", s, cdb)
	}
	o := scsi.SanitizeOverwrite{Invert: true, Test: 2, Count: 31, Pattern: []byte{1, 2, 3}}
	data := o.Append(nil)
	if got, err := scsi.ParseSanitizeOverwrite(data); err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("%+v became %+v, %v", o, got, err)
	}
	if _, err := scsi.ParseSanitizeOverwrite(data[:6]); !errors.Is(err, scsi.ErrPatternCut) {
		t.Errorf("pattern cut off: %v", err)
	}
}

func TestLogPages(t *testing.T) {
	want := []scsi.LogParameter{{Code: 5, Value: []byte{1, 2}}, {Code: 6, Control: scsi.LogList, Value: []byte{3}}}
	data := scsi.AppendLogPage(nil, scsi.LogReadErrors, want)
	if page, got, err := scsi.ParseLogPage(data); err != nil || page != scsi.LogReadErrors || !reflect.DeepEqual(got, want) {
		t.Errorf("%v became %v, %v", want, got, err)
	}
	if _, got, err := scsi.ParseLogPage(data[:len(data)-1]); err != nil || len(got) != 1 {
		t.Errorf("cut off: %v, %v", got, err)
	}
	l := scsi.LogSense{Control: 1, Page: scsi.LogStartStop, Parameter: 0x1234, Length: 252}
	if cdb := l.CDB(); scsi.ParseLogSense(&cdb) != l {
		t.Errorf("%+v became % x", l, cdb)
	}
	e := scsi.ExtendedInquiry{HeadOfQueue: true, Simple: true, VolatileCache: true, ClearsNexus: true}
	if got := scsi.ParseExtendedInquiry(e.Append(nil)); got != e {
		t.Errorf("%+v became %+v", e, got)
	}
}
