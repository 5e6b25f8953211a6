package control

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/bootlun/bootlun/target"
)

func TestReachable(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:3260")
	if got := reachable(at); !slices.Equal(got, []netip.AddrPort{at}) {
		t.Errorf("%v is reached at %v", at, got)
	}
	for _, any := range []string{"0.0.0.0:3260", "[::]:3260"} {
		p := netip.MustParseAddrPort(any)
		for _, got := range reachable(p) {
			if a := got.Addr(); got.Port() != 3260 || a.IsUnspecified() || a.IsLoopback() || p.Addr().Is4() && !a.Is4() {
				t.Errorf("%s is said to be reached at %v", any, got)
			}
		}
	}
}

func TestExactNames(t *testing.T) {
	rule := func(name string) target.Rule { return target.Rule{Initiator: name} }
	for _, tt := range []struct {
		access *target.Access
		want   []string
	}{
		{nil, nil},
		{&target.Access{Rules: []target.Rule{rule("a"), rule("b")}}, []string{"a", "b"}},
		{&target.Access{Rules: []target.Rule{rule("a"), rule("b*")}}, nil},
		{&target.Access{Rules: []target.Rule{rule("a"), {Initiator: "b", User: "u"}}}, nil},
		{&target.Access{Rules: []target.Rule{{Network: netip.MustParsePrefix("192.0.2.0/24")}}}, nil},
	} {
		if got := exactNames(tt.access); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.access, got, tt.want)
		}
	}
}
