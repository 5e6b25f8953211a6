package ibft

import "fmt"

// Difference is one field in which two tables differ. Path is as in [Table.Fields]; A and B are the two values,
// empty where absent. A secret is masked, and so is the same in both unless one lacks it. A structure that one table
// lacks is one difference: its path is "initiator", "nic1", "target1" or "other0", its value a summary.
type Difference struct {
	Path string `json:"path"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Diff compares two tables field by field; layout, checksum and unused bytes do not count. NICs and targets are
// compared in their order in the tables.
func Diff(a, b *Table) []Difference {
	var d differ
	d.fields(a.ownFields(), b.ownFields())
	d.structures(initiatorPath, a.Initiator.parts(), b.Initiator.parts())
	for i := range max(len(a.NICs), len(b.NICs)) {
		d.structures(nicPath(i), a.nicParts(i), b.nicParts(i))
	}
	for i := range max(len(a.Targets), len(b.Targets)) {
		d.structures(targetPath(i), a.targetParts(i), b.targetParts(i))
	}
	for i := range max(len(a.Other), len(b.Other)) {
		path := fmt.Sprintf("other%d", i)
		if a, b := a.otherText(i), b.otherText(i); a != b {
			d = append(d, Difference{path, a, b})
		}
	}
	return d
}

type differ []Difference

// parts are a structure's fields and what it amounts to; nil for one that is not there.
type parts struct {
	fields  []settable
	summary string
}

func (d *differ) structures(path string, a, b *parts) {
	switch {
	case a == nil && b == nil:
	case a == nil:
		*d = append(*d, Difference{Path: path, B: b.summary})
	case b == nil:
		*d = append(*d, Difference{Path: path, A: a.summary})
	default:
		d.fields(a.fields, b.fields)
	}
}

// fields compares the same fields of two structures.
func (d *differ) fields(a, b []settable) {
	for i := range a {
		x, y := a[i].text(), b[i].text()
		same := x == y
		if a[i].secret() {
			same = *a[i].ptr.(*Secret) == *b[i].ptr.(*Secret)
		}
		if !same {
			*d = append(*d, Difference{a[i].path, x, y})
		}
	}
}

func (n *Initiator) parts() *parts {
	if n == nil {
		return nil
	}
	return &parts{n.settables(), n.String()}
}

func (t *Table) nicParts(i int) *parts {
	if i >= len(t.NICs) {
		return nil
	}
	n := &t.NICs[i]
	return &parts{n.settables(nicPath(i)), n.String()}
}

func (t *Table) targetParts(i int) *parts {
	if i >= len(t.Targets) {
		return nil
	}
	n := &t.Targets[i]
	return &parts{n.settables(targetPath(i)), n.String()}
}

func (t *Table) otherText(i int) string {
	if i >= len(t.Other) {
		return ""
	}
	return fmt.Sprintf("slot %d: %x", t.Other[i].Slot, []byte(t.Other[i].Bytes))
}
