package ibft

import (
	"reflect"
	"testing"
)

func TestSysfsDifferences(t *testing.T) {
	shown := func(change func(*Table)) *Table {
		s := sample(2)
		s.Reserved, s.Control = nil, 0
		change(s)
		return s
	}
	for name, c := range map[string]struct {
		change func(*Table)
		want   []Difference
	}{
		"all of it":      {func(*Table) {}, nil},
		"no acpi_header": {func(s *Table) { s.Signature, s.OEMID, s.OEMTableID = "", "", "" }, nil},
		"no PCI device":  {func(s *Table) { s.NICs[0].PCI = 0 }, nil},
		"another PCI":    {func(s *Table) { s.NICs[0].PCI = 0x28 }, []Difference{{"nic0.pci", "00:03.0", "00:05.0"}}},
		"no initiator":   {func(s *Table) { s.Initiator = nil }, []Difference{{"initiator", "iqn.2026-01.com.example:machine (valid,boot-selected)", ""}}},
		"another port":   {func(s *Table) { s.Targets[1].Port = 1 }, []Difference{{"target1.port", "3261", "1"}}},
	} {
		table := sample(2)
		table.Other = []Structure{{Slot: 0, Bytes: Bytes{0, 1, 6, 0, 0, 0}}}
		table.NICs[0], table.NICs[1] = table.NICs[1], table.NICs[0] // the kernel goes by their index
		if got := SysfsDifferences(table, shown(c.change)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if table.NICs[0].Index != 1 {
			t.Errorf("%s: the table changed", name)
		}
	}
}
