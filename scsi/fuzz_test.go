package scsi_test

import (
	"testing"

	"github.com/bootlun/bootlun/scsi"
)

// FuzzCDB takes any CDB apart. What is built of the parts must have the same parts.
func FuzzCDB(f *testing.F) {
	for _, c := range goldenCDBs(f) {
		f.Add(c[:], uint64(1000))
	}
	f.Fuzz(func(t *testing.T, data []byte, capacity uint64) {
		var c scsi.CDB
		copy(c[:], data)
		_ = c.String()
		c.Control()
		again, ok := rebuild(&c)
		if tr, is := scsi.ParseTransfer(&c); is {
			if !ok {
				t.Fatalf("%v: %+v cannot be built", &c, tr)
			}
			if err := tr.Check(capacity); err == nil && (tr.LBA > capacity || tr.LBA+uint64(tr.Blocks) > capacity) {
				t.Fatalf("%+v passes for a disk of %d blocks", tr, capacity)
			}
			if got, _ := scsi.ParseTransfer(&again); got != tr {
				t.Fatalf("%+v became %+v", tr, got)
			}
		}
		if !ok {
			return
		}
		if twice, ok := rebuild(&again); !ok || twice != again {
			t.Fatalf("% x became % x", again, twice)
		}
	})
}

// FuzzSense reads any sense data. What is read must survive the descriptor format.
func FuzzSense(f *testing.F) {
	for _, tt := range senses {
		f.Add(tt.sense.AppendFixed(nil))
		f.Add(tt.sense.AppendDescriptor(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := scsi.ParseSense(data)
		if err != nil {
			return
		}
		_ = (&scsi.Error{Status: scsi.StatusCheckCondition, Sense: s}).Error()
		s.Field()
		s.Progress()
		got, err := scsi.ParseSense(s.AppendDescriptor(nil))
		if !s.HasInformation {
			s.Information = 0
		}
		if s.KeySpecific[0]&0x80 == 0 {
			s.KeySpecific = [3]byte{}
		}
		if err != nil || got != s {
			t.Errorf("%+v became %+v, %v", s, got, err)
		}
	})
}

// FuzzData reads any bytes as every kind of data that a device sends.
func FuzzData(f *testing.F) {
	for _, data := range goldens(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		scsi.ParseInquiryData(data)
		for page := range 256 {
			scsi.ParseVPD(data, scsi.VPDPage(page))
		}
		scsi.ParseBlockLimits(data)
		scsi.ParseBlockCharacteristics(data)
		scsi.ParseProvisioning(data)
		for _, d := range scsi.ParseDesignators(data) {
			_ = d.String()
		}
		scsi.ParseCapacity10(data)
		scsi.ParseCapacity16(data)
		if luns, _, err := scsi.ParseLUNs(data); err == nil && 8*len(luns) > len(data) {
			t.Errorf("%d LUNs in %d bytes", len(luns), len(data))
		}
		for _, ten := range []bool{false, true} {
			if m, err := scsi.ParseModeData(data, ten); err == nil {
				scsi.ParseModePages(m.Pages)
			}
		}
		scsi.ParseModePages(data)
		scsi.ParseControlPage(data)
		if ranges, err := scsi.ParseUnmap(data); err == nil && 16*len(ranges) > len(data) {
			t.Errorf("%d ranges in %d bytes", len(ranges), len(data))
		}
		scsi.ParseLBAStatus(data)
		scsi.ParsePortGroups(data)
		scsi.ParseSetPortGroups(data)
		limits := scsi.CopyLimits{Targets: 4, Segments: 4, Length: 240}
		if l, err := scsi.ParseCopyList(data, limits); err == nil && (len(l.Targets) > 4 || len(l.Segments) > 4) {
			t.Errorf("%d targets and %d segments", len(l.Targets), len(l.Segments))
		}
		scsi.ParseCopyStatus(data)
		scsi.ParseSanitizeOverwrite(data)
		scsi.ParseLogPage(data)
		scsi.ParseExtendedInquiry(data)
		scsi.ParseMediaEvent(data)
		scsi.ParseSupportedOps(data)
		scsi.ParseSupportedOp(data)
	})
}
