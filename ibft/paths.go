package ibft

import (
	"cmp"
	"slices"
)

// Path is one way to the disk: as whom, out of which NIC, to which target. It points into the table it came from.
type Path struct {
	Initiator string
	NIC       *NIC
	Target    *Target
}

// String returns the target's root path, and the Ethernet address of the NIC.
func (p Path) String() string { return p.Target.rootPath().String() + " by " + p.NIC.MAC.String() }

// Paths returns every usable path, those to a boot-selected target first, else in the table's order.
//
// A path is usable when its target has an address and a name, when some NIC has the index that the target names,
// and when both have any flag set. Any, because some firmware sets boot-selected without valid; open-iscsi reads
// it so as well. Of several NICs with one index the first that has a flag counts.
func (t *Table) Paths() []Path {
	var initiator string
	if t.Initiator != nil {
		initiator = t.Initiator.Name
	}
	var paths []Path
	for i := range t.Targets {
		target := &t.Targets[i]
		if target.Flags == 0 || !target.IP.IsValid() || target.Name == "" {
			continue
		}
		if nic := t.usableNIC(target.NIC); nic != nil {
			paths = append(paths, Path{Initiator: initiator, NIC: nic, Target: target})
		}
	}
	slices.SortStableFunc(paths, func(a, b Path) int {
		return cmp.Compare(b.Target.Flags&BootSelected, a.Target.Flags&BootSelected)
	})
	return paths
}

func (t *Table) usableNIC(index uint8) *NIC {
	for i := range t.NICs {
		if nic := &t.NICs[i]; nic.Index == index && nic.Flags != 0 {
			return nic
		}
	}
	return nil
}
