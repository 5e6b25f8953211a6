package ibft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// sample returns a table that uses every field: n NICs and n targets, IPv4 and IPv6 in turn, mutual CHAP.
func sample(n int) *Table {
	t := &Table{
		Signature:  SignatureIBFT,
		OEMID:      "ACME",
		OEMTableID: "ACMEBOOT",
		Reserved:   Bytes{1, 0, 0, 0, 'A', 'C', 'M', 'E', 2},
		Control:    SingleLogin,
		Initiator: &Initiator{
			Flags:           Valid | BootSelected,
			ISNS:            netip.MustParseAddr("192.0.2.5"),
			SLP:             netip.MustParseAddr("192.0.2.6"),
			PrimaryRADIUS:   netip.MustParseAddr("2001:db8::7"),
			SecondaryRADIUS: netip.MustParseAddr("192.0.2.8"),
			Name:            "iqn.2026-01.com.example:machine",
		},
	}
	for i := range n {
		addr := func(host int) netip.Addr {
			if i%2 == 1 {
				return netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%d", i, host))
			}
			return netip.MustParseAddr(fmt.Sprintf("192.0.%d.%d", i, host))
		}
		t.NICs = append(t.NICs, NIC{
			Index: uint8(i), Flags: Valid | BootSelected | Global,
			IP: addr(10), PrefixLen: 24, Origin: OriginDHCP, Gateway: addr(1),
			PrimaryDNS: addr(2), SecondaryDNS: addr(3), DHCP: addr(4),
			VLAN: uint16(100 + i), MAC: MAC{0x52, 0x54, 0, 0, 0, byte(i)}, PCI: 0x18 + PCIAddr(i),
			Hostname: "machine",
		})
		t.Targets = append(t.Targets, Target{
			Index: uint8(i), Flags: Valid | BootSelected, NIC: uint8(i),
			IP: addr(20), Port: uint16(3260 + i), LUN: LUN{0, byte(i), 0x12, 0x34}, CHAP: CHAPMutual,
			Name: fmt.Sprintf("iqn.2026-01.com.example:disk%d", i), CHAPName: "machine", CHAPSecret: "s3cret-of-machine",
			ReverseCHAPName: "server", ReverseCHAPSecret: "s3cret-of-server",
		})
	}
	return t
}

// values returns the table without what it remembers of its bytes.
func values(t *Table) *Table {
	c := *t
	c.raw = nil
	return &c
}

// diff returns the first line in which the two differ as JSON.
func diff(t *testing.T, got, want *Table) string {
	t.Helper()
	var lines [2][]string
	for i, table := range []*Table{got, want} {
		b, err := table.RevealJSON()
		if err != nil {
			t.Fatal(err)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, b, "", " "); err != nil {
			t.Fatal(err)
		}
		lines[i] = strings.Split(indented.String(), "\n")
	}
	for i, line := range lines[0] {
		if i >= len(lines[1]) || line != lines[1][i] {
			return fmt.Sprintf("line %d: got %s, want %s", i, line, lines[1][min(i, len(lines[1])-1)])
		}
	}
	return "no difference in JSON"
}

func mustBuild(t *testing.T, table *Table, o BuildOptions) []byte {
	t.Helper()
	b, err := table.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustParse(t *testing.T, b []byte) *Table {
	t.Helper()
	table, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

var layouts = []Layout{LayoutOwn, LayoutAligned, LayoutIPXE, LayoutEDK2, LayoutPacked}

func TestBuildParse(t *testing.T) {
	for _, layout := range layouts {
		for _, n := range []int{0, 1, 2, 4, 100} {
			if layout == LayoutEDK2 && n > 4 {
				continue // 2048 bytes hold no more
			}
			t.Run(fmt.Sprint(layout, n), func(t *testing.T) {
				want := sample(n)
				b := mustBuild(t, want, BuildOptions{Layout: layout})
				got := mustParse(t, b)
				if !reflect.DeepEqual(values(got), want) {
					t.Error(diff(t, got, want))
				}
				if again := mustBuild(t, got, BuildOptions{}); !bytes.Equal(again, b) {
					t.Error("an unchanged table built to other bytes")
				}
			})
		}
	}
}

// A changed table keeps the layout of the writer it came from.
func TestBuildChangedKeepsLayout(t *testing.T) {
	for _, layout := range layouts {
		changed := mustParse(t, mustBuild(t, sample(2), BuildOptions{Layout: layout}))
		changed.Targets[1].Name += "-renamed"
		want := mustBuild(t, values(changed), BuildOptions{Layout: layout})
		if got := mustBuild(t, changed, BuildOptions{}); !bytes.Equal(got, want) {
			t.Errorf("%v: a changed table left its layout", layout)
		}
	}
}

func TestBuildSignature(t *testing.T) {
	own := mustParse(t, mustBuild(t, sample(1), BuildOptions{}))
	for _, s := range []Signature{SignatureIBFT, SignatureACPI, SignatureBroadcom} {
		got := mustParse(t, mustBuild(t, own, BuildOptions{Signature: s}))
		if got.Signature != s {
			t.Errorf("signature %s, want %s", got.Signature, s)
		}
		got.Signature = SignatureIBFT
		if !reflect.DeepEqual(values(got), values(own)) {
			t.Errorf("%s: more than the signature has changed", s)
		}
	}
}

// What Linux and the specification ask of where things lie.
func TestBuildPlaces(t *testing.T) {
	table := sample(1)
	table.OEMID, table.OEMTableID = "", ""
	for _, tt := range []struct {
		layout                 Layout
		initiator, nic, target int
	}{
		{LayoutAligned, 0x48, 0x98, 0x100},
		{LayoutIPXE, 0x50, 0xa0, 0x180},
		{LayoutEDK2, 0x48, 0x98, 0x100},
		{LayoutPacked, 66, 66 + 74, 66 + 74 + 102},
	} {
		b := mustBuild(t, table, BuildOptions{Layout: tt.layout})
		for slot, want := range []int{0, tt.initiator, tt.nic, tt.target, 0, 0} {
			if got := int(getU16(b, headerLen+controlSlots+2*slot)); got != want {
				t.Errorf("%v: slot %d holds %#x, want %#x", tt.layout, slot, got, want)
			}
		}
		if tt.layout == LayoutEDK2 && len(b) != 2048 {
			t.Errorf("edk2: %d bytes, want 2048", len(b))
		}
		if int(getU16(b, headerLen+structLength)) != controlLen {
			t.Errorf("%v: a control structure longer than Linux before 5.6 takes", tt.layout)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Table)
		o      BuildOptions
		want   string
	}{
		{"signature", func(t *Table) { t.Signature = "DSDT" }, BuildOptions{}, `signature "DSDT"`},
		{"OEM ID", func(t *Table) { t.OEMID = "SEVENTH" }, BuildOptions{}, "OEM ID: 7 bytes long, at most 6"},
		{"OEM table ID", func(t *Table) { t.OEMTableID = "123456789" }, BuildOptions{}, "OEM table ID: 9 bytes"},
		{"reserved", func(t *Table) { t.Reserved = make(Bytes, 25) }, BuildOptions{}, "reserved bytes: 25 bytes"},
		{"name", func(t *Table) { t.Initiator.Name = strings.Repeat("x", 256) }, BuildOptions{}, "initiator: name: 256 bytes long"},
		{"NUL", func(t *Table) { t.NICs[1].Hostname = "a\x00b" }, BuildOptions{}, "NIC 1: hostname: holds a NUL"},
		{"zone", func(t *Table) { t.Targets[1].IP = netip.MustParseAddr("fe80::1%eth0") }, BuildOptions{}, "target 1: IP address: fe80::1%eth0 has a zone"},
		{"other", func(t *Table) { t.Other = []Structure{{Bytes: Bytes{5, 1, 9, 0, 0, 0}}} }, BuildOptions{}, "carried structure 0: its header"},
		{"slot", func(t *Table) { t.Other = []Structure{{Slot: -1, Bytes: Bytes{5, 1, 6, 0, 0, 0}}} }, BuildOptions{}, "carried structure 0: slot -1"},
		{"budget, string", func(t *Table) {}, BuildOptions{MaxSize: 600}, "target 1: name: does not fit"},
		{"budget, structure", func(t *Table) {}, BuildOptions{MaxSize: 450}, "target 1 does not fit"},
		{"budget, control", func(t *Table) { *t = Table{} }, BuildOptions{MaxSize: 60}, "control does not fit"},
		{"budget, fixed size", func(t *Table) {}, BuildOptions{Layout: LayoutEDK2, MaxSize: 2047}, "the layout takes 2048 bytes"},
		{"heap down", func(t *Table) { *t = *sample(10) }, BuildOptions{Layout: LayoutEDK2}, "does not fit: the heap has"},
		{"fifth path in iPXE's buffer", func(t *Table) { *t = *sample(5) }, BuildOptions{Layout: LayoutIPXE, MaxSize: 768}, "does not fit"},
		{"too many", func(t *Table) {
			*t = *sample(250)
			t.NICs = append(t.NICs, t.NICs...)
			t.NICs = append(t.NICs, t.NICs...)
		}, BuildOptions{}, "does not fit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := sample(2)
			tt.change(table)
			b, err := table.Build(tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%d bytes, error %v; want an error with %q", len(b), err, tt.want)
			}
		})
	}
}

// The budget holds for a table that is only passed on, too.
func TestBuildUnchangedBudget(t *testing.T) {
	table := mustParse(t, mustBuild(t, sample(2), BuildOptions{}))
	if _, err := table.Build(BuildOptions{MaxSize: 300}); err == nil {
		t.Error("no error")
	}
}

func TestBuildCarriesOthers(t *testing.T) {
	table := sample(2)
	table.Other = []Structure{
		{Slot: slotExtensions, Bytes: Bytes{5, 1, 8, 0, 0, 1, 0xca, 0xfe}},
		{Slot: 9, Bytes: Bytes{0x77, 1, 7, 0, 0, 1, 0xff}},
	}
	got := mustParse(t, mustBuild(t, table, BuildOptions{}))
	if !reflect.DeepEqual(values(got), table) {
		t.Errorf("read back %+v, want %+v", got.Other, table.Other)
	}

	got.Other[1].Slot = 2 // NIC 0 has it
	moved := mustParse(t, mustBuild(t, got, BuildOptions{}))
	if moved.Other[1].Slot != fixedSlots || !bytes.Equal(moved.Other[1].Bytes, table.Other[1].Bytes) {
		t.Errorf("structure whose slot is taken: %+v", moved.Other[1])
	}
}

func TestSecretsMasked(t *testing.T) {
	table := mustParse(t, mustBuild(t, sample(1), BuildOptions{}))
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "table", table, "target", table.Targets[0], "secret", table.Targets[0].CHAPSecret)
	masked, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	for form, s := range map[string]string{
		"%v": fmt.Sprintf("%v", table), "%+v": fmt.Sprintf("%+v", *table), "%#v": fmt.Sprintf("%#v", table),
		"%q":  fmt.Sprintf("%q", table.Targets[0].CHAPSecret),
		"%x":  fmt.Sprintf("%x", table.Targets[0].CHAPSecret),
		"log": log.String(), "JSON": string(masked),
	} {
		if strings.Contains(s, "s3cret") || strings.Contains(s, fmt.Sprintf("%x", "s3cret")) {
			t.Errorf("%s gives a secret away: %s", form, s)
		}
	}
	if got := table.Targets[0].CHAPSecret.Reveal(); got != "s3cret-of-machine" {
		t.Errorf("revealed %q", got)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	want := sample(3)
	want.Other = []Structure{{Slot: 9, Bytes: Bytes{0x77, 1, 7, 0, 0, 1, 0xff}}}
	b, err := want.RevealJSON()
	if err != nil {
		t.Fatal(err)
	}
	got := new(Table)
	if err := json.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error(diff(t, got, want))
	}

	masked, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(masked, new(Table)); err == nil || !strings.Contains(err.Error(), "masked") {
		t.Errorf("masked secrets were read as secrets: %v", err)
	}

	want.Targets[0].CHAPSecret = "\xff"
	if _, err := want.RevealJSON(); err == nil {
		t.Error("a secret that JSON cannot hold was written")
	}
}
