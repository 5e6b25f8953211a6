package ibft

import (
	"cmp"
	"slices"
)

// SysfsDifferences compares a table with what the kernel shows of it under /sys/firmware/ibft (the last of what
// [Find] returns, as the case may be). What the kernel does not show does not count: the header's reserved bytes,
// the control structure's flags and structures carried through; the header at all and a NIC's PCI address where it
// shows none. The kernel orders structures by their index, and so does this comparison.
func SysfsDifferences(table, sysfs *Table) []Difference {
	a, b := shownBySysfs(table), shownBySysfs(sysfs)
	if b.Signature == "" {
		a.Signature, a.OEMID, a.OEMTableID = "", b.OEMID, b.OEMTableID
	}
	for i := range min(len(a.NICs), len(b.NICs)) {
		if b.NICs[i].PCI == 0 {
			a.NICs[i].PCI = 0
		}
	}
	return Diff(a, b)
}

func shownBySysfs(t *Table) *Table {
	shown := &Table{
		Signature: t.Signature, OEMID: t.OEMID, OEMTableID: t.OEMTableID,
		Initiator: t.Initiator, NICs: slices.Clone(t.NICs), Targets: slices.Clone(t.Targets),
	}
	slices.SortStableFunc(shown.NICs, func(a, b NIC) int { return cmp.Compare(a.Index, b.Index) })
	slices.SortStableFunc(shown.Targets, func(a, b Target) int { return cmp.Compare(a.Index, b.Index) })
	return shown
}
