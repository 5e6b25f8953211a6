package ibft

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestDiffNothing(t *testing.T) {
	for name, b := range foreignTables(t) {
		for _, layout := range []Layout{LayoutAligned, LayoutIPXE, LayoutEDK2, LayoutPacked} {
			other := mustParse(t, mustBuild(t, values(mustParse(t, b)), BuildOptions{Layout: layout}))
			if d := Diff(mustParse(t, b), other); d != nil {
				t.Errorf("%s in layout %v: %v", name, layout, d)
			}
		}
	}
	if d := Diff(&Table{}, &Table{}); d != nil {
		t.Errorf("empty tables: %v", d)
	}
}

// Each field that Set changes is one difference.
func TestDiffEveryField(t *testing.T) {
	a := sample(2)
	for _, s := range a.settables() {
		b := sample(2)
		if err := b.Set(s.path, changedText(s)); err != nil {
			t.Fatal(err)
		}
		d := Diff(a, b)
		if len(d) != 1 || d[0].Path != s.path {
			t.Errorf("changed %s, found %v", s.path, d)
		}
	}
}

// changedText returns a text that the field takes and does not have.
func changedText(s settable) string {
	switch name := s.path[strings.LastIndex(s.path, ".")+1:]; name {
	case "signature":
		return "BIFT"
	case "reserved":
		return "ff"
	case "mac":
		return "52:54:00:ff:ff:ff"
	case "pci":
		return "ff:1f.7"
	case "flags", "control", "origin", "chap", "vlan", "port", "lun", "index", "prefix_len", "nic":
		return "77"
	case "oem_id", "oem_table_id", "hostname", "name", "chap_name", "chap_secret", "reverse_chap_name", "reverse_chap_secret":
		return "x"
	default:
		return "198.51.100.1"
	}
}

func TestDiffStructures(t *testing.T) {
	a, b := sample(2), sample(1)
	b.Initiator = nil
	b.Other = []Structure{{Slot: 0, Bytes: Bytes{0, 1, 6, 0, 0, 0}}}
	want := []Difference{
		{"initiator", "iqn.2026-01.com.example:machine (valid,boot-selected)", ""},
		{"nic1", "52:54:00:00:00:01 2001:db8:1::10/24 (valid,boot-selected,global)", ""},
		{"target1", "iqn.2026-01.com.example:disk1 LUN 1-1234 at [2001:db8:1::20]:3261 (valid,boot-selected)", ""},
		{"other0", "", "slot 0: 000106000000"},
	}
	if got := Diff(a, b); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for i, d := range Diff(b, a) {
		if (Difference{d.Path, d.B, d.A}) != want[i] {
			t.Errorf("the other way round: %q", d)
		}
	}
}

func TestDiffMasksSecrets(t *testing.T) {
	a, b := sample(1), sample(1)
	b.Targets[0].CHAPSecret, b.Targets[0].ReverseCHAPSecret = "another", ""
	want := []Difference{{"target0.chap_secret", mask, mask}, {"target0.reverse_chap_secret", mask, ""}}
	got := Diff(a, b)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if s := fmt.Sprintf("%+v %#v", got, got); strings.Contains(s, "s3cret") || strings.Contains(s, "another") {
		t.Errorf("gives a secret away: %s", s)
	}
}
