package modules

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// testIndex is a small kernel: a few real modules with their real lines.
func testIndex(t testing.TB) *Index {
	t.Helper()
	x := &Index{Version: "6.1.0-test"}
	for _, m := range []*Module{
		{Name: "ext4", Aliases: []string{"fs-ext4"}},
		{Name: "crc32c_generic", Aliases: []string{"crypto-crc32c", "crc32c"}},
		{Name: "crc32c_intel", Path: "kernel/arch/x86/crypto/crc32c-intel.ko", Aliases: []string{"cpu:type:x86,ven*fam*mod*:feature:*0094*", "crc32c"}},
		{Name: "virtio", Path: "kernel/drivers/virtio/virtio.ko"},
		{Name: "virtio_ring", Path: "kernel/drivers/virtio/virtio_ring.ko", Depends: []string{"virtio"}},
		{Name: "virtio_pci", Path: "kernel/drivers/virtio/virtio_pci.ko", Depends: []string{"virtio_ring", "virtio"}, Aliases: []string{"pci:v00001AF4d*sv*sd*bc*sc*i*"}},
		{Name: "net_failover", Path: "kernel/drivers/net/net_failover.ko"},
		{Name: "virtio_net", Path: "kernel/drivers/net/virtio_net.ko", Depends: []string{"virtio_ring", "virtio", "net-failover"}, Aliases: []string{"virtio:d00000001v*"}},
		{Name: "e1000", Path: "kernel/drivers/net/ethernet/intel/e1000/e1000.ko", Aliases: []string{"pci:v00008086d0000100Esv*sd*bc*sc*i*"}},
		{Name: "e1000e", Path: "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko", SoftPost: []string{"ptp"}},
		{Name: "ptp", Path: "kernel/drivers/ptp/ptp.ko", SoftPre: []string{"e1000e"}},
		{Name: "libcrc32c", Path: "kernel/lib/libcrc32c.ko", SoftPre: []string{"crc32c", "not-in-this-kernel"}},
		{Name: "xfs", Path: "kernel/fs/xfs/xfs.ko", Depends: []string{"libcrc32c"}, Aliases: []string{"fs-xfs"}, Firmware: []string{"xfs/none.bin"}},
		{Name: "broken", Path: "kernel/drivers/broken.ko", Depends: []string{"missing"}},
	} {
		if err := x.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func names(modules []*Module) string {
	var s []string
	for _, m := range modules {
		s = append(s, m.Name)
	}
	return strings.Join(s, " ")
}

func TestMatch(t *testing.T) {
	x := testIndex(t)
	for alias, want := range map[string]string{
		"pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00": "e1000",
		"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00": "virtio_pci",
		"virtio:d00000001v00001AF4":                             "virtio_net",
		"cpu:type:x86,ven0000fam0006mod0003:feature:,0000,0094": "crc32c_intel",
		"crc32c":        "crc32c_generic crc32c_intel",
		"crypto_crc32c": "crc32c_generic",
		"pci:v00008086": "",
		"":              "",
	} {
		if got := names(x.Match(alias)); got != want {
			t.Errorf("Match(%q) = %q, want %q", alias, got, want)
		}
	}
}

func TestAdd(t *testing.T) {
	x := testIndex(t)
	before := x.Len()
	if err := x.Add(&Module{Name: "ext4", Path: "kernel/fs/ext4/ext4.ko"}); err != nil || x.Len() != before {
		t.Errorf("a built-in that is a module too: %v, %d modules", err, x.Len()-before)
	}
	for _, m := range []*Module{{}, {Name: "a-b"}, {Name: "a b"}, {Name: "xfs", Path: "updates/xfs.ko"}} {
		if err := x.Add(m); err == nil {
			t.Errorf("Add(%+v) gave no error", *m)
		}
	}
}

func TestSelect(t *testing.T) {
	tests := []struct {
		name string
		s    Selection
		want string
	}{
		{"nothing", Selection{}, ""},
		{"dependencies first", Selection{Required: []string{"virtio-net"}}, "virtio virtio_ring net_failover virtio_net"},
		{"by alias", Selection{Required: []string{"fs-xfs"}}, "crc32c_intel libcrc32c xfs"},
		{"built in", Selection{Required: []string{"ext4"}}, ""},
		{"wanted and missing", Selection{Wanted: []string{"zfs", "e1000"}}, "e1000"},
		{"each once", Selection{Required: []string{"virtio_pci", "virtio_net", "virtio_pci"}}, "virtio virtio_ring virtio_pci net_failover virtio_net"},
		{"class, soft dependencies in a circle", Selection{Classes: []string{"drivers/net/ethernet"}}, "e1000 e1000e ptp"},
		{"class by pattern", Selection{Classes: []string{"drivers/n*"}}, "virtio virtio_ring net_failover virtio_net e1000 e1000e ptp"},
		{"excluded folder", Selection{Classes: []string{"drivers/net"}, Exclude: []string{"drivers/net/ethernet/intel/e1000e"}}, "net_failover virtio virtio_ring virtio_net e1000"},
		{"excluded name", Selection{Classes: []string{"drivers/net"}, Exclude: []string{"net_failover", "virtio_net", "e1000e"}}, "e1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := testIndex(t).Select(tt.s)
			if err != nil {
				t.Fatal(err)
			}
			if tt.name == "class by pattern" { // the order of the roots does not matter here
				have, want := strings.Fields(names(got)), strings.Fields(tt.want)
				slices.Sort(have)
				slices.Sort(want)
				if !slices.Equal(have, want) {
					t.Errorf("got %q, want %q", have, want)
				}
				return
			}
			if names(got) != tt.want {
				t.Errorf("got  %q\nwant %q", names(got), tt.want)
			}
		})
	}
}

func TestSelectErrors(t *testing.T) {
	for _, s := range []Selection{
		{Required: []string{"zfs"}},
		{Required: []string{"broken"}},
		{Classes: []string{"drivers"}}, // takes broken in
	} {
		if got, err := testIndex(t).Select(s); !errors.Is(err, ErrNotFound) {
			t.Errorf("Select(%+v) = %s, %v, want ErrNotFound", s, names(got), err)
		}
	}
	_, err := testIndex(t).Select(Selection{Required: []string{"zfs", "reiser5"}})
	if err == nil || !strings.Contains(err.Error(), "zfs") || !strings.Contains(err.Error(), "reiser5") {
		t.Errorf("the error does not name all that is missing: %v", err)
	}
}

func TestEncodeDecode(t *testing.T) {
	x := testIndex(t)
	chosen, err := x.Select(Selection{Required: []string{"xfs", "virtio_net"}})
	if err != nil {
		t.Fatal(err)
	}
	small := x.Subset(chosen)
	if want := 2 + len(chosen); small.Len() != want {
		t.Errorf("%d modules in the subset, want %d", small.Len(), want)
	}
	again, err := Decode(small.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if string(again.Encode()) != string(small.Encode()) {
		t.Errorf("became\n%s", again.Encode())
	}
	m, ok := again.Lookup("xfs")
	if !ok || m.Path != "kernel/fs/xfs/xfs.ko" || !slices.Equal(m.Depends, []string{"libcrc32c"}) || !slices.Equal(m.Firmware, []string{"xfs/none.bin"}) {
		t.Errorf("xfs became %+v", m)
	}
	if again.Version != x.Version || names(again.Match("virtio:d00000001v1")) != "virtio_net" {
		t.Errorf("version %q, match %s", again.Version, names(again.Match("virtio:d00000001v1")))
	}
}

func TestDecodeErrors(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"other file":      "alias a b\n",
		"no module first": heading + "6.1\nalias a\n",
		"unknown key":     heading + "6.1\nbuiltin a\ncolour blue\n",
		"no value":        heading + "6.1\nbuiltin\n",
		"no file":         heading + "6.1\nmodule a\n",
		"twice":           heading + "6.1\nmodule a b\nmodule a c\n",
		"bad name":        heading + "6.1\nmodule a-b c\n",
	} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
