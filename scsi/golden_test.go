package scsi_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
)

// golden returns a block of testdata/tgt-data.txt.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, ok := goldens(t)[name]
	if !ok {
		t.Fatalf("testdata/tgt-data.txt has no %q", name)
	}
	return data
}

func goldens(t testing.TB) map[string][]byte {
	t.Helper()
	file, err := os.ReadFile("testdata/tgt-data.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	name := ""
	for line := range strings.Lines(string(file)) {
		offset, digits, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if len(offset) != 8 || digits == "" {
			name = strings.TrimSpace(line)
			continue
		}
		digits, _, _ = strings.Cut(digits, "|")
		data, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[name] = append(all[name], data...)
	}
	return all
}

// goldenCDBs returns the CDBs of testdata/libiscsi-cdbs.txt.
func goldenCDBs(t testing.TB) (list []scsi.CDB) {
	t.Helper()
	file, err := os.ReadFile("testdata/libiscsi-cdbs.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(file)) {
		cdb, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil || len(cdb) != 16 {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, scsi.CDB(cdb))
	}
	return list
}

// rebuild takes a command apart and builds it again; ok is false for commands that
// have no struct.
func rebuild(c *scsi.CDB) (again scsi.CDB, ok bool) {
	if t, ok := scsi.ParseTransfer(c); ok {
		again, err := t.CDB()
		return again, err == nil
	}
	switch c.Op() {
	case scsi.OpTestUnitReady:
		return scsi.TestUnitReadyCDB(), true
	case scsi.OpReadCapacity10:
		return scsi.ReadCapacity10CDB(), true
	case scsi.OpInquiry:
		return scsi.ParseInquiry(c).CDB(), true
	case scsi.OpReportLUNs:
		return scsi.ParseReportLUNs(c).CDB(), true
	case scsi.OpRequestSense:
		return scsi.ParseRequestSense(c).CDB(), true
	case scsi.OpModeSense6, scsi.OpModeSense10:
		return scsi.ParseModeSense(c).CDB(), true
	case scsi.OpModeSelect6, scsi.OpModeSelect10:
		return scsi.ParseModeSelect(c).CDB(), true
	case scsi.OpStartStopUnit:
		return scsi.ParseStartStopUnit(c).CDB(), true
	case scsi.OpPreventAllowRemoval:
		return scsi.ParsePreventAllowRemoval(c).CDB(), true
	case scsi.OpUnmap:
		return scsi.ParseUnmapCDB(c).CDB(), true
	case scsi.OpPersistentReserveIn:
		return scsi.ParsePersistentReserveIn(c).CDB(), true
	case scsi.OpPersistentReserveOut:
		return scsi.ParsePersistentReserveOut(c).CDB(), true
	}
	switch {
	case c.Op() == scsi.OpServiceActionIn16 && c.ServiceAction() == scsi.ActionReadCapacity16:
		return scsi.ParseReadCapacity16(c).CDB(), true
	case c.Op() == scsi.OpServiceActionIn16 && c.ServiceAction() == scsi.ActionGetLBAStatus:
		return scsi.ParseGetLBAStatus(c).CDB(), true
	case c.Op() == scsi.OpMaintenanceIn && c.ServiceAction() == scsi.ActionReportSupportedOpcodes:
		return scsi.ParseReportSupportedOpcodes(c).CDB(), true
	}
	return scsi.CDB{}, false
}

// TestGoldenCDBs takes libiscsi's CDBs apart and wants the same bytes built again.
func TestGoldenCDBs(t *testing.T) {
	names := map[string]bool{}
	for _, c := range goldenCDBs(t) {
		names[c.Name()] = true
		again, ok := rebuild(&c)
		if !ok || again != c {
			t.Errorf("% x, %v: built again % x, %v", c, &c, again, ok)
		}
	}
	if len(names) < 30 {
		t.Errorf("only %d commands are in the list", len(names))
	}
}
