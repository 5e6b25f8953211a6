package ibft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// Where the sample table's first structures lie in LayoutAligned.
const (
	atInitiator = 0x48
	atNIC       = 0x98
	atTarget    = 0x100
)

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
		want   ParseError
	}{
		{"empty", func([]byte) []byte { return nil }, ParseError{"header", "", 0, "0 bytes"}},
		{"cut in the header", func(b []byte) []byte { return b[:47] }, ParseError{"header", "", 0, "47 bytes"}},
		{"signature", func(b []byte) []byte { b[0] = 'x'; return b }, ParseError{"header", "signature", 0, `"xBFT"`}},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, ParseError{"header", "length", 4, ""}},
		{"length 0", func(b []byte) []byte { putLength(b, 0); return b }, ParseError{"header", "length", 4, "0, want 66"}},
		{"length 65", func(b []byte) []byte { putLength(b, 65); return b }, ParseError{"header", "length", 4, "65"}},
		{"length huge", func(b []byte) []byte { putLength(b, 1<<32-1); return b }, ParseError{"header", "length", 4, "4294967295"}},
		{"revision", func(b []byte) []byte { b[8] = 2; return b }, ParseError{"header", "revision", 8, "2, want 1"}},
		{"checksum", func(b []byte) []byte { b[9] = 0; b[10] = 0; return b }, ParseError{"header", "checksum", 9, "0x00, want 0x"}},
		{"control id", func(b []byte) []byte { b[48] = 5; return b }, ParseError{"control", "id", 48, "5, want 1"}},
		{"control too short", func(b []byte) []byte { putU16(b, 50, 17); return b }, ParseError{"control", "length", 50, "17, want 18"}},
		{"control too long", func(b []byte) []byte { putU16(b, 50, 0xffff); return b }, ParseError{"control", "length", 50, "65535"}},
		{"slot in the header", func(b []byte) []byte { putU16(b, 58, 8); return b }, ParseError{"structure in slot 2", "", 8, "outside"}},
		{"slot behind the end", func(b []byte) []byte { putU16(b, 58, 0xfff0); return b }, ParseError{"structure in slot 2", "", 0xfff0, "outside"}},
		{"slot at the end", func(b []byte) []byte { putU16(b, 58, uint16(len(b)-5)); return b }, ParseError{"structure in slot 2", "", 0, "outside"}},
		{"structure of no length", func(b []byte) []byte { putU16(b, atNIC+2, 5); return b }, ParseError{"structure in slot 2", "", atNIC, "length 5"}},
		{"structure too long", func(b []byte) []byte { putU16(b, atNIC+2, 0xfff0); return b }, ParseError{"structure in slot 2", "", atNIC, "length 65520"}},
		{"slot twice", func(b []byte) []byte { putU16(b, 62, atNIC); return b }, ParseError{"NIC in slot 4", "", atNIC, "overlaps the NIC in slot 2"}},
		{"slot on control", func(b []byte) []byte { putU16(b, 58, 48); return b }, ParseError{"control in slot 2", "", 48, "overlaps the control"}},
		{"overlap", func(b []byte) []byte {
			b[atNIC-6], b[atNIC-4] = 3, 6
			b[atNIC-2] = 0
			putU16(b, 58, atNIC-6-80)
			b[atNIC-6-80+2] = 100
			return b
		}, ParseError{"", "", 0, "overlaps"}},
		{"string behind the end", func(b []byte) []byte { putU16(b, atTarget+40, 0xffff); return b }, ParseError{"target in slot 3", "CHAP name", atTarget + 38, "7 bytes at 0xffff lie outside"}},
		{"string over the end", func(b []byte) []byte { putU16(b, atInitiator+70, uint16(len(b))); return b }, ParseError{"initiator in slot 1", "name", atInitiator + 70, "lie outside"}},
		{"string in the header", func(b []byte) []byte { putU16(b, atNIC+100, 10); return b }, ParseError{"NIC in slot 2", "hostname", atNIC + 98, "7 bytes at 0xa lie outside"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.change(mustBuild(t, sample(1), BuildOptions{}))
			if len(b) >= headerLen && tt.want.Field != "checksum" {
				n := min(int(binary.LittleEndian.Uint32(b[4:])), len(b))
				b[9] += sum(b[:n])
			}
			table, err := Parse(b)
			var got *ParseError
			if !errors.As(err, &got) {
				t.Fatalf("table %v, error %v; want a ParseError", table, err)
			}
			if got.Structure != tt.want.Structure && tt.want.Structure != "" || got.Field != tt.want.Field ||
				got.Offset != tt.want.Offset && tt.want.Offset != 0 || !strings.Contains(got.Reason, tt.want.Reason) {
				t.Errorf("error %+v, want %+v", *got, tt.want)
			}
		})
	}
}

func putLength(b []byte, n uint32) { binary.LittleEndian.PutUint32(b[4:], n) }

// patched returns the sample table with some bytes changed and its checksum mended.
func patched(t *testing.T, n int, change func(b []byte)) *Table {
	t.Helper()
	b := mustBuild(t, sample(n), BuildOptions{})
	change(b)
	putChecksum(b)
	table := mustParse(t, b)
	if again := mustBuild(t, table, BuildOptions{}); !bytes.Equal(again, b) {
		t.Error("unchanged, it builds to other bytes")
	}
	return table
}

func TestParseIgnoresTail(t *testing.T) {
	b := mustBuild(t, sample(1), BuildOptions{})
	table := mustParse(t, append(b, "what follows in memory"...))
	if got := mustBuild(t, table, BuildOptions{}); !bytes.Equal(got, b) {
		t.Errorf("%d bytes, want %d", len(got), len(b))
	}
}

func TestParseKeepsNothing(t *testing.T) {
	b := mustBuild(t, sample(1), BuildOptions{})
	table := mustParse(t, b)
	clear(b)
	if !reflect.DeepEqual(values(table), sample(1)) {
		t.Error("the table changed with the bytes it was read from")
	}
}

func TestParseAbsentAddress(t *testing.T) {
	table := patched(t, 1, func(b []byte) {
		copy(b[atNIC+nicDHCP:], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00")
		clear(b[atNIC+nicGateway:][:16])
	})
	if n := table.NICs[0]; n.DHCP.IsValid() || n.Gateway.IsValid() {
		t.Errorf("DHCP %v, gateway %v: want both absent", n.DHCP, n.Gateway)
	}
}

// Linux skips a structure whose length is not the specification's; here it is carried along.
func TestParseOddLength(t *testing.T) {
	table := patched(t, 2, func(b []byte) { putU16(b, atNIC+2, 100) })
	if len(table.NICs) != 1 || table.NICs[0].Index != 1 {
		t.Errorf("NICs %+v, want the second only", table.NICs)
	}
	if len(table.Other) != 1 || table.Other[0].Slot != 2 || len(table.Other[0].Bytes) != 100 {
		t.Errorf("other structures %+v, want one of 100 bytes in slot 2", table.Other)
	}
}

// Readers go by the id they find, whatever the slot's name.
func TestParseAnySlot(t *testing.T) {
	table := patched(t, 2, func(b []byte) {
		slots := b[headerLen+controlSlots:]
		nic1 := getU16(slots, 2*4)
		putU16(slots, 2*4, getU16(slots, 2*3))
		putU16(slots, 2*3, nic1)
		putU16(slots, 2*0, getU16(slots, 2*1))
		putU16(slots, 2*1, 0)
	})
	want := sample(2)
	if !reflect.DeepEqual(values(table), want) {
		t.Error(diff(t, table, want))
	}
}

func TestParseSecondInitiator(t *testing.T) {
	table := patched(t, 1, func(b []byte) { b[atNIC], b[atNIC+2] = idInitiator, initiatorLen })
	if table.Initiator == nil || table.Initiator.Name != sample(1).Initiator.Name || len(table.Other) != 1 {
		t.Errorf("initiator %+v, %d others", table.Initiator, len(table.Other))
	}
}

func TestParseStringEndsAtNUL(t *testing.T) {
	table := patched(t, 1, func(b []byte) {
		putU16(b, atNIC+nicHostname, getU16(b, atNIC+nicHostname)+1) // counts its NUL in
	})
	if got := table.NICs[0].Hostname; got != "machine" {
		t.Errorf("hostname %q", got)
	}
}

func TestPaths(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	nic := func(index uint8, flags NICFlags) NIC { return NIC{Index: index, Flags: flags} }
	target := func(index, nic uint8, flags TargetFlags) Target {
		return Target{Index: index, NIC: nic, Flags: flags, IP: ip, Name: "iqn.x"}
	}
	noAddress, noName := target(0, 0, Valid), target(0, 0, Valid)
	noAddress.IP, noName.Name = netip.Addr{}, ""
	for _, tt := range []struct {
		name    string
		nics    []NIC
		targets []Target
		want    [][2]uint8 // target and NIC index of each path
	}{
		{"none", nil, nil, nil},
		{"one", []NIC{nic(0, Valid)}, []Target{target(0, 0, Valid)}, [][2]uint8{{0, 0}}},
		{
			"boot-selected first, else in order",
			[]NIC{nic(1, Valid), nic(0, Valid)},
			[]Target{target(0, 0, Valid), target(1, 1, Valid), target(2, 0, Valid|BootSelected), target(3, 1, Valid|BootSelected)},
			[][2]uint8{{2, 0}, {3, 1}, {0, 0}, {1, 1}},
		},
		{"boot-selected without valid", []NIC{nic(0, BootSelected)}, []Target{target(0, 0, BootSelected)}, [][2]uint8{{0, 0}}},
		{"target without flags", []NIC{nic(0, Valid)}, []Target{target(0, 0, 0)}, nil},
		{"NIC without flags", []NIC{nic(0, 0)}, []Target{target(0, 0, Valid)}, nil},
		{"no such NIC", []NIC{nic(0, Valid)}, []Target{target(0, 7, Valid)}, nil},
		{"NIC index twice", []NIC{nic(0, 0), nic(0, Valid)}, []Target{target(0, 0, Valid)}, [][2]uint8{{0, 0}}},
		{"no address, no name", []NIC{nic(0, Valid)}, []Target{noAddress, noName}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := &Table{Initiator: &Initiator{Name: "iqn.me"}, NICs: tt.nics, Targets: tt.targets}
			var got [][2]uint8
			for _, p := range table.Paths() {
				if p.Initiator != "iqn.me" || p.NIC.Flags == 0 {
					t.Errorf("path %+v", p)
				}
				got = append(got, [2]uint8{p.Target.Index, p.NIC.Index})
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("paths %v, want %v", got, tt.want)
			}
		})
	}
}
