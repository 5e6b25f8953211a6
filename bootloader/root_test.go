package bootloader

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// threeRoots is a disk with a GPT of an ESP, swap and three file systems that could be roots, the last two of them typed so for
// this architecture and for another. Their bytes come from testdata.
func threeRoots(t *testing.T) Disk {
	t.Helper()
	disk := make([]byte, 2<<20)
	var entries [][]byte
	for i, p := range []struct{ golden, kind, label string }{
		{"vfat32", espType, "EFI"},
		{"swap", linuxType, "swap"},
		{"ext4", linuxType, "old"},
		{"xfs", gptRootType(runtime.GOARCH), "new"},
		{"btrfs", linuxType, "data"},
	} {
		const blocks = 160
		first := uint64(256 + i*blocks)
		copy(disk[first*512:(first+blocks)*512], readGolden(t, p.golden))
		e := gptEntry(first, first+blocks-1)
		putGUID(e, p.kind)
		putGUID(e[16:], "00000000-0000-0000-0000-00000000000"+string(rune('1'+i)))
		for j, c := range p.label {
			e[56+2*j] = byte(c)
		}
		entries = append(entries, e)
	}
	copy(disk[:256*512], buildGPT(nil, entries...))
	return Disk{ReaderAt: bytes.NewReader(disk), Size: int64(len(disk)), Name: "sda"}
}

// putGUID is guid's opposite.
func putGUID(b []byte, s string) {
	hex := strings.ReplaceAll(s, "-", "")
	for i, at := range []int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		var v byte
		for _, c := range hex[2*i : 2*i+2] {
			v = v<<4 | byte(strings.IndexRune("0123456789abcdef", c))
		}
		b[at] = v
	}
}

// holds is a Look that knows which volumes hold an init.
func holds(names ...string) Look {
	return func(_ context.Context, v Volume) (System, error) {
		for _, n := range names {
			if n == v.Name {
				return System{Init: "/sbin/init"}, nil
			}
		}
		return System{}, nil
	}
}

func TestFindRoot(t *testing.T) {
	if gptRootType(runtime.GOARCH) == "" {
		t.Skip("SKIP: no GPT root type is known for " + runtime.GOARCH)
	}
	d := threeRoots(t)
	for _, c := range []struct {
		name, root string
		look       Look
		want       string // volume
		err        error
		text       string // in the error
	}{
		{"by UUID", "UUID=CAFE-BABE", nil, "sda1", nil, ""},
		{"by UUID in capitals", "PARTUUID=00000000-0000-0000-0000-000000000005", nil, "sda5", nil, ""},
		{"by label", "LABEL=rootxfs", nil, "sda4", nil, ""},
		{"by partition label", "PARTLABEL=old", nil, "sda3", nil, ""},
		{"by name", "/dev/sda3", nil, "sda3", nil, ""},
		{"same UUID on three", "UUID=" + testUUID, nil, "", ErrAmbiguousRoot, "sda3: ext4"},
		{"no such label", "LABEL=none", nil, "", ErrNoRoot, "root=LABEL=none; it has sda1: vfat"},
		{"name of another disk", "/dev/vda1", nil, "", ErrNoRoot, "root=UUID="},
		{"one init", "", holds("sda5"), "sda5", nil, ""},
		{"two inits, one typed", "", holds("sda3", "sda4"), "sda4", nil, ""},
		{"two inits, none typed", "", holds("sda3", "sda5"), "", ErrAmbiguousRoot, "sda5: btrfs"},
		{"no init", "", holds(), "", ErrNoRoot, "sda3: ext4, 0 MiB, LABEL=\"root\", UUID=" + testUUID + " (holds no init)"},
		{"no look", "", nil, "sda4", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sel, err := ParseSelector(c.root)
			if err != nil {
				t.Fatal(err)
			}
			v, err := FindRoot(t.Context(), d, Spec{Root: sel}, c.look)
			if v.Name != c.want || !errors.Is(err, c.err) {
				t.Fatalf("FindRoot = %v, %v; want %q, %v", v, err, c.want, c.err)
			}
			if c.err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%q: want %q in it", err, c.text)
			}
		})
	}
}

func TestFindRootLookFails(t *testing.T) {
	d := threeRoots(t)
	broken := errors.New("bad superblock")
	look := func(ctx context.Context, v Volume) (System, error) {
		if v.Name == "sda4" {
			return System{}, broken
		}
		return holds("sda3")(ctx, v)
	}
	if v, err := FindRoot(t.Context(), d, Spec{}, look); v.Name != "sda3" || err != nil {
		t.Errorf("FindRoot = %v, %v; want the volume that can be looked into", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := func(context.Context, Volume) (System, error) { cancel(); return System{}, broken }
	if _, err := FindRoot(ctx, d, Spec{}, stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want %v", err, context.Canceled)
	}
}

// TestFindRootOnlyOne does not look where there is no choice.
func TestFindRootOnlyOne(t *testing.T) {
	head := readGolden(t, "ext4")
	d := Disk{ReaderAt: bytes.NewReader(head), Size: int64(len(head)), Name: "sda"}
	look := func(context.Context, Volume) (System, error) {
		t.Error("looked into the only volume")
		return System{}, nil
	}
	if v, err := FindRoot(t.Context(), d, Spec{}, look); v.Name != "sda" || err != nil {
		t.Errorf("FindRoot = %v, %v", v, err)
	}
}

func TestParseSelector(t *testing.T) {
	for in, want := range map[string]Selector{
		"":                                {},
		"UUID=ab-cd":                      {ByUUID, "ab-cd"},
		`LABEL="my root"`:                 {ByLabel, "my root"},
		"PARTUUID=1234abcd-01":            {ByPartUUID, "1234abcd-01"},
		"PARTLABEL=root=x":                {ByPartLabel, "root=x"},
		"/dev/nvme0n1p2":                  {ByName, "nvme0n1p2"},
		"/dev/disk/by-uuid/ab":            {ByUUID, "ab"},
		`/dev/disk/by-label/my\x20root\x`: {ByLabel, `my root\x`},
		"/dev/disk/by-partuuid/ab":        {ByPartUUID, "ab"},
		"/dev/disk/by-partlabel/ab":       {ByPartLabel, "ab"},
	} {
		got, err := ParseSelector(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"sda1", "UUID=", "/dev/", "/dev/mapper/vg-root", "/dev/disk/by-path/x", "PARTUUID=x/PARTNROFF=1", "0801"} {
		if got, err := ParseSelector(in); err == nil || !strings.Contains(err.Error(), "root="+in) {
			t.Errorf("%q: %+v, %v, want an error that names it", in, got, err)
		}
	}
	if got := (Selector{ByName, "sda1"}).String(); got != "/dev/sda1" {
		t.Errorf("%q", got)
	}
}

func TestParseCommandLine(t *testing.T) {
	got, err := ParseCommandLine("BOOT_IMAGE=/vmlinuz quiet root=/dev/sda9 ro rootfstype=ext4 \"rootflags=noatime,data=journal\" " +
		"init=/bin/sh rw single root=LABEL=\"my root\" bootlun.debug -- --verbose ro\n")
	want := Spec{
		Root: Selector{ByLabel, "my root"}, FSType: "ext4", Options: "noatime,data=journal", ReadWrite: true,
		Init: "/bin/sh", Args: []string{"single", "--verbose", "ro"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("spec\n %+v, %v\nwant\n %+v", got, err, want)
	}
	if _, err := ParseCommandLine("root=nonsense"); err == nil {
		t.Error("root=nonsense is taken")
	}
	if got, err := ParseCommandLine(""); err != nil || !reflect.DeepEqual(got, Spec{}) {
		t.Errorf("empty: %+v, %v", got, err)
	}
}
