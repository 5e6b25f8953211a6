package ibft

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseRootPath(t *testing.T) {
	const iqn = "iqn.2026-01.com.example:disk:1"
	for _, tt := range []struct {
		in   string
		want RootPath
		out  string // what String gives, in when empty
	}{
		{"iscsi:192.0.2.1::::" + iqn, RootPath{"192.0.2.1", "", 3260, LUN{}, iqn}, ""},
		{"iscsi:192.0.2.1:6:3260:0:" + iqn, RootPath{"192.0.2.1", "6", 3260, LUN{}, iqn}, "iscsi:192.0.2.1:6:::" + iqn},
		{"ISCSI:disks.example.com:tcp:0:1:" + iqn, RootPath{"disks.example.com", "tcp", 3260, LUN{0, 1}, iqn}, "iscsi:disks.example.com:tcp::1:" + iqn},
		{"iscsi:[2001:db8::1]::13260:4752-3A4F-6b7e-2F99:" + iqn, RootPath{"2001:db8::1", "", 13260, LUN{0x47, 0x52, 0x3a, 0x4f, 0x6b, 0x7e, 0x2f, 0x99}, iqn}, "iscsi:[2001:db8::1]::13260:4752-3a4f-6b7e-2f99:" + iqn},
		{"iscsi:a:::6734-9-156f-127:" + iqn, RootPath{"a", "", 3260, LUN{0x67, 0x34, 0, 9, 0x15, 0x6f, 1, 0x27}, iqn}, ""},
		{"iscsi:a:::4186-9:" + iqn, RootPath{"a", "", 3260, LUN{0x41, 0x86, 0, 9}, iqn}, ""},
		{"iscsi:a::::x%3ay%20z%25", RootPath{"a", "", 3260, LUN{}, "x:y z%"}, "iscsi:a::::x:y%20z%25"},
		{"iscsi:a%2eb::::x", RootPath{"a.b", "", 3260, LUN{}, "x"}, "iscsi:a.b::::x"},
		{"iscsi:[fe80::1%25eth0]::::x", RootPath{"fe80::1%eth0", "", 3260, LUN{}, "x"}, ""},
		{"iscsi:::::" + iqn, RootPath{"", "", 3260, LUN{}, iqn}, ""},
	} {
		got, err := ParseRootPath(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.in, got, err, tt.want)
			continue
		}
		out := tt.out
		if out == "" {
			out = tt.in
		}
		if s := got.String(); s != out {
			t.Errorf("%s: prints as %s, want %s", tt.in, s, out)
		}
		if again, err := ParseRootPath(got.String()); err != nil || again != got {
			t.Errorf("%s: its own form reads as %+v, %v", tt.in, again, err)
		}
	}
}

func TestParseRootPathErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                             `begin with "iscsi:"`,
		"nfs:server:/path":             `begin with "iscsi:"`,
		"iscsi:192.0.2.1":              "1 fields",
		"iscsi:192.0.2.1:::iqn":        "4 fields",
		"iscsi:192.0.2.1::::":          "no target name",
		"iscsi:192.0.2.1::x::iqn":      `port "x"`,
		"iscsi:192.0.2.1::65536::iqn":  `port "65536"`,
		"iscsi:192.0.2.1::-1::iqn":     `port "-1"`,
		"iscsi:192.0.2.1:::10000:iqn":  `group "10000"`,
		"iscsi:192.0.2.1:::g:iqn":      `group "g"`,
		"iscsi:192.0.2.1:::1-:iqn":     `group ""`,
		"iscsi:192.0.2.1:::0x1:iqn":    `group "0x1"`,
		"iscsi:192.0.2.1:::0-0-0-0-0:": "5 groups",
		"iscsi:2001:db8::1::::iqn":     "brackets",
		"iscsi:[2001:db8::1::::iqn":    "1 fields",
		"iscsi:[192.0.2.1]::::iqn":     "brackets hold an IPv6 address",
		"iscsi:[]::::iqn":              "brackets",
		"iscsi:a]b::::iqn":             "not a host name",
		"iscsi:a%3Ab::::iqn":           "not a host name",
		"iscsi:%zz::::iqn":             "invalid URL escape",
	} {
		if got, err := ParseRootPath(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, error %v; want one with %q", in, got, err, want)
		}
	}
}

func TestSettingsTable(t *testing.T) {
	nic := NIC{IP: netip.MustParseAddr("192.0.2.10"), PrefixLen: 24, MAC: MAC{2}, Index: 3}
	s := Settings{
		RootPaths: []string{
			"iscsi:192.0.2.1:::1:iqn.disk", "iscsi:disks.example.com::13260::iqn.disk", "iscsi:[2001:db8::1]::::iqn.disk",
		},
		InitiatorName: "iqn.machine",
		Hostname:      "machine",
		NIC:           nic,
		CHAPName:      "user", CHAPSecret: "secret", ReverseCHAPName: "server", ReverseCHAPSecret: "reverse",
	}
	resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "disks.example.com" {
			t.Errorf("asked for %q", host)
		}
		return []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")}, nil
	}
	got, err := s.Table(t.Context(), resolve)
	if err != nil {
		t.Fatal(err)
	}
	target := func(index uint8, ip string, port uint16, lun LUN) Target {
		return Target{
			Index: index, Flags: Valid | BootSelected, IP: netip.MustParseAddr(ip), Port: port, LUN: lun, NIC: 3, Name: "iqn.disk",
			CHAP: CHAPMutual, CHAPName: "user", CHAPSecret: "secret", ReverseCHAPName: "server", ReverseCHAPSecret: "reverse",
		}
	}
	nic.Flags, nic.Hostname = Valid|BootSelected|Global, "machine"
	want := &Table{
		OEMID: "BOOTLN", OEMTableID: "bootlun",
		Initiator: &Initiator{Flags: Valid | BootSelected, Name: "iqn.machine"},
		NICs:      []NIC{nic},
		Targets: []Target{
			target(0, "192.0.2.1", 3260, LUN{0, 1}), target(1, "192.0.2.2", 13260, LUN{}), target(2, "2001:db8::1", 3260, LUN{}),
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Error(diff(t, got, want))
	}
	if n := len(got.Paths()); n != 3 {
		t.Errorf("%d paths, want 3", n)
	}
	mustParse(t, mustBuild(t, got, BuildOptions{}))
}

func TestSettingsErrors(t *testing.T) {
	fails := func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
	for _, tt := range []struct {
		name    string
		change  func(*Settings)
		resolve Resolver
		want    string
	}{
		{"initiator", func(s *Settings) { s.InitiatorName = "" }, nil, "no initiator name"},
		{"root path", func(s *Settings) { s.RootPaths = nil }, nil, "no root path"},
		{"too many", func(s *Settings) { s.RootPaths = make257(s.RootPaths[0]) }, nil, "at most 256"},
		{"bad root path", func(s *Settings) { s.RootPaths[0] = "iscsi:" }, nil, "root path"},
		{"no server", func(s *Settings) { s.RootPaths[0] = "iscsi:::::iqn" }, nil, "no server"},
		{"name without resolver", func(s *Settings) { s.RootPaths[0] = "iscsi:a::::iqn" }, nil, "no resolver is at hand"},
		{"resolver fails", func(s *Settings) { s.RootPaths[0] = "iscsi:a::::iqn" }, fails, "no such host"},
		{"resolver knows none", func(s *Settings) { s.RootPaths[0] = "iscsi:a::::iqn" }, func(context.Context, string) ([]netip.Addr, error) { return nil, nil }, "knows no address"},
		{"CHAP name alone", func(s *Settings) { s.CHAPName = "a" }, nil, "CHAP wants both"},
		{"CHAP secret alone", func(s *Settings) { s.CHAPSecret = "a" }, nil, "CHAP wants both"},
		{"reverse CHAP name alone", func(s *Settings) { s.ReverseCHAPName = "a" }, nil, "reverse CHAP wants both"},
		{"reverse CHAP alone", func(s *Settings) { s.ReverseCHAPName, s.ReverseCHAPSecret = "a", "b" }, nil, "own CHAP"},
	} {
		s := Settings{RootPaths: []string{"iscsi:192.0.2.1::::iqn.disk"}, InitiatorName: "iqn.machine"}
		tt.change(&s)
		if got, err := s.Table(t.Context(), tt.resolve); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, error %v; want one with %q", tt.name, got, err, tt.want)
		}
	}
}

func make257(path string) []string {
	return strings.Split(strings.Repeat(path+" ", 256)+path, " ")
}
