package ibft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// memory is the first mebibyte with a table at each given address.
func memory(tables map[int][]byte) []byte {
	mem := bytes.Repeat([]byte{0xa5}, scanEnd)
	for at, b := range tables {
		copy(mem[at:], b)
	}
	return mem
}

func sources(found []Found) []string {
	var s []string
	for _, f := range found {
		s = append(s, f.Source)
	}
	return s
}

func TestScanMemory(t *testing.T) {
	b := foreignTables(t)["ipxe-chap"]
	broadcom := mustBuild(t, mustParse(t, b), BuildOptions{Signature: SignatureBroadcom})
	acpi := mustBuild(t, mustParse(t, b), BuildOptions{Signature: SignatureACPI})
	bad := slices.Clone(b)
	bad[9]++
	tooLong := slices.Clone(b)
	putLength(tooLong, scanEnd)
	for _, tt := range []struct {
		name   string
		tables map[int][]byte
		want   []string
	}{
		{"nothing", nil, nil},
		{"first place", map[int][]byte{0x80000: b}, []string{"memory at 0x80000"}},
		{"below the scan", map[int][]byte{0x7fff0: b}, nil},
		{"not aligned", map[int][]byte{0x9e228: b}, nil},
		{"Broadcom's, and two", map[int][]byte{0x9e220: broadcom, 0xe0000: b}, []string{"memory at 0x9e220", "memory at 0xe0000"}},
		{"signature of ACPI alone", map[int][]byte{0x9e220: acpi}, nil},
		{"in the VGA window", map[int][]byte{0xa0000: b, 0xbfff0: b}, nil},
		{"just below the end", map[int][]byte{0xfffff&^15 - 0x280: b}, []string{"memory at 0xffd70"}},
		{"over the end", map[int][]byte{0xffff0: b}, nil},
		{"into the VGA window", map[int][]byte{0x9fff0: b}, nil},
		{"cut by the VGA window", map[int][]byte{0x9ff00: b}, []string{"memory at 0x9ff00"}},
		{"longer than memory", map[int][]byte{0x9e220: tooLong}, nil},
		{"bad checksum", map[int][]byte{0x9e220: bad}, []string{"memory at 0x9e220"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := ScanMemory(bytes.NewReader(memory(tt.tables)))
			if err != nil || !slices.Equal(sources(found), tt.want) {
				t.Fatalf("found %v, %v; want %v", sources(found), err, tt.want)
			}
			for _, f := range found {
				wantErr := tt.name == "bad checksum" || tt.name == "cut by the VGA window"
				if (f.Err != nil) != wantErr || (f.Table == nil) != wantErr {
					t.Errorf("%s: table %v, error %v", f.Source, f.Table, f.Err)
				}
			}
		})
	}
}

func TestScanMemoryShort(t *testing.T) {
	b := foreignTables(t)["ipxe-plain"]
	mem := memory(map[int][]byte{0x9e220: b})
	if found, err := ScanMemory(bytes.NewReader(mem[:0xa0000])); err != nil || len(found) != 1 || !bytes.Equal(found[0].Raw, b) {
		t.Errorf("%v, %v", sources(found), err)
	}
	broken := errors.New("broken")
	if _, err := ScanMemory(failingReaderAt{broken}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

type failingReaderAt struct{ err error }

func (f failingReaderAt) ReadAt(b []byte, _ int64) (int, error) {
	return iotest.ErrReader(f.err).Read(b)
}

// writeRoot makes a directory tree of files by their paths.
func writeRoot(t *testing.T, files map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, b := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFindOrder(t *testing.T) {
	b := foreignTables(t)["ipxe-plain"]
	root := writeRoot(t, map[string][]byte{
		"sys/firmware/acpi/tables/iBFT":  b,
		"sys/firmware/acpi/tables/IBFT":  mustBuild(t, mustParse(t, b), BuildOptions{Signature: SignatureACPI}),
		"sys/firmware/acpi/tables/IBFT2": mustBuild(t, mustParse(t, b), BuildOptions{Signature: SignatureACPI}),
		"sys/firmware/acpi/tables/BIFT":  []byte("rubbish"),
		"sys/firmware/acpi/tables/APIC":  []byte("APIC"),
		"dev/mem":                        memory(map[int][]byte{0x9e220: b}),
	})
	writeSysfs(t, root, mustParse(t, b))
	found, err := Find(FindOptions{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	tables := "/sys/firmware/acpi/tables/"
	want := []string{"memory at 0x9e220", tables + "IBFT", tables + "IBFT2", tables + "iBFT", tables + "BIFT", "/sys/firmware/ibft"}
	if got := sources(found); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	for _, f := range found {
		if wantErr := strings.HasSuffix(f.Source, "BIFT"); (f.Err != nil) != wantErr {
			t.Errorf("%s: error %v", f.Source, f.Err)
		}
	}
}

func TestFindOnUEFI(t *testing.T) {
	b := foreignTables(t)["ipxe-plain"]
	root := writeRoot(t, map[string][]byte{"sys/firmware/efi/fw_platform_size": []byte("64\n")})
	found, err := Find(FindOptions{Root: root, Memory: bytes.NewReader(memory(map[int][]byte{0x9e220: b}))})
	if err != nil || found != nil {
		t.Errorf("found %v, %v: a UEFI machine's low memory was looked at", sources(found), err)
	}
}

func TestFindNothing(t *testing.T) {
	for name, mem := range map[string]io.ReaderAt{"no memory": nil, "memory not permitted": failingReaderAt{fs.ErrPermission}} {
		found, err := Find(FindOptions{Root: t.TempDir(), Memory: mem})
		if err != nil || found != nil {
			t.Errorf("%s: found %v, %v", name, sources(found), err)
		}
	}
	broken := errors.New("broken")
	if _, err := Find(FindOptions{Root: t.TempDir(), Memory: failingReaderAt{broken}}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

// writeSysfs writes the table under root as Linux shows it (its drivers/firmware/iscsi_ibft.c).
func writeSysfs(t *testing.T, root string, table *Table) {
	t.Helper()
	w := sysfsWriter{t: t, dir: filepath.Join(root, sysfsDir)}
	w.attr("acpi_header", "signature", string(table.Signature))
	w.attr("acpi_header", "oem_id", table.OEMID)
	w.attr("acpi_header", "oem_table_id", table.OEMTableID)
	if n := table.Initiator; n != nil {
		w.head("initiator", n.Index, uint8(n.Flags))
		w.addr("initiator", "isns-server", n.ISNS)
		w.addr("initiator", "slp-server", n.SLP)
		w.addr("initiator", "pri-radius-server", n.PrimaryRADIUS)
		w.addr("initiator", "sec-radius-server", n.SecondaryRADIUS)
		w.attr("initiator", "initiator-name", n.Name)
	}
	for _, n := range table.NICs {
		dir := fmt.Sprintf("ethernet%d", n.Index)
		w.head(dir, n.Index, uint8(n.Flags))
		w.addr(dir, "ip-addr", n.IP)
		w.number(dir, "prefix-len", int(n.PrefixLen))
		w.number(dir, "origin", int(n.Origin))
		w.addr(dir, "gateway", n.Gateway)
		w.addr(dir, "primary-dns", n.PrimaryDNS)
		w.addr(dir, "secondary-dns", n.SecondaryDNS)
		w.addr(dir, "dhcp", n.DHCP)
		w.number(dir, "vlan", int(n.VLAN))
		w.attr(dir, "mac", n.MAC.String())
		w.attr(dir, "hostname", n.Hostname)
		w.link(dir, "device", "../../../devices/pci0000:00/0000:"+n.PCI.String())
	}
	for _, n := range table.Targets {
		dir := fmt.Sprintf("target%d", n.Index)
		w.head(dir, n.Index, uint8(n.Flags))
		w.addr(dir, "ip-addr", n.IP)
		w.number(dir, "port", int(n.Port))
		w.attr(dir, "lun", sysfsLUN(n.LUN))
		w.number(dir, "chap-type", int(n.CHAP))
		w.number(dir, "nic-assoc", int(n.NIC))
		w.attr(dir, "target-name", n.Name)
		w.attr(dir, "chap-name", n.CHAPName)
		w.attr(dir, "chap-secret", n.CHAPSecret.Reveal())
		w.attr(dir, "rev-chap-name", n.ReverseCHAPName)
		w.attr(dir, "rev-chap-name-secret", n.ReverseCHAPSecret.Reveal())
	}
}

func sysfsLUN(l LUN) string {
	s := ""
	for _, b := range l {
		s += fmt.Sprintf("%x", b)
	}
	return s
}

type sysfsWriter struct {
	t   *testing.T
	dir string
}

func (w sysfsWriter) path(dir, name string) string {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o755); err != nil {
		w.t.Fatal(err)
	}
	return filepath.Join(w.dir, dir, name)
}

func (w sysfsWriter) attr(dir, name, value string) {
	w.t.Helper()
	if value == "" {
		return
	}
	if err := os.WriteFile(w.path(dir, name), []byte(value+"\n"), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w sysfsWriter) link(dir, name, to string) {
	w.t.Helper()
	if err := os.Symlink(to, w.path(dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w sysfsWriter) number(dir, name string, v int) { w.attr(dir, name, strconv.Itoa(v)) }

func (w sysfsWriter) head(dir string, index, flags uint8) {
	w.number(dir, "index", int(index))
	w.number(dir, "flags", int(flags))
}

func (w sysfsWriter) addr(dir, name string, addr netip.Addr) {
	if addr.IsValid() {
		w.attr(dir, name, addr.StringExpanded())
	}
}

func TestFindInSysfs(t *testing.T) {
	tables := map[string]*Table{"every field": values(sample(12)), "empty names": {}}
	tables["every field"].Control, tables["every field"].Reserved = 0, nil // which the kernel does not show
	for i := range tables["every field"].Targets {
		tables["every field"].Targets[i].LUN = NewLUN(uint16(i))
	}
	for name, b := range foreignTables(t) {
		tables[name] = values(mustParse(t, b))
	}
	for name, want := range tables {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			writeSysfs(t, root, want)
			found, err := Find(FindOptions{Root: root})
			if name == "empty names" {
				if err != nil || found != nil {
					t.Errorf("of an empty directory came %v, %v", found, err)
				}
				return
			}
			if err != nil || len(found) != 1 || found[0].Err != nil {
				t.Fatalf("%+v, %v", found, err)
			}
			if got := found[0].Table; !reflect.DeepEqual(got, want) {
				t.Error(diff(t, got, want))
			}
		})
	}
}

// Kernels before 4.5 show a mask only.
func TestFindInSysfsMask(t *testing.T) {
	root := writeRoot(t, map[string][]byte{sysfsDir + "/ethernet0/subnet-mask": []byte("255.255.252.0\n")})
	found, err := Find(FindOptions{Root: root})
	if err != nil || len(found) != 1 || found[0].Table.NICs[0].PrefixLen != 22 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestFindInSysfsErrors(t *testing.T) {
	for name, value := range map[string]string{
		"ethernet0/ip-addr": "nowhere", "ethernet0/vlan": "70000", "ethernet0/mac": "52:54", "target0/port": "-1",
		"target0/lun": "0100", "initiator/flags": "0x3",
	} {
		root := writeRoot(t, map[string][]byte{sysfsDir + "/" + name: []byte(value + "\n")})
		found, err := Find(FindOptions{Root: root})
		if err != nil || len(found) != 1 || found[0].Err == nil || !strings.Contains(found[0].Err.Error(), name) {
			t.Errorf("%s = %s: %+v, %v", name, value, found, err)
		}
	}
}

func TestParseSysfsLUN(t *testing.T) {
	for _, lun := range []LUN{{}, {0, 1}, {0, 0x10}, {0, 0xff}, {0x40, 0x10}, {0x41, 0}, {1, 2, 3, 4, 5, 6, 7, 8}, {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}} {
		if got, err := parseSysfsLUN(sysfsLUN(lun)); err != nil || got != lun {
			t.Errorf("%s: %v, %v; want %v", sysfsLUN(lun), got, err, lun)
		}
	}
	for _, s := range []string{"0", "0100000", "0100000g", "111111111", "11111111111111111", strings.Repeat("1", 1000)} {
		if got, err := parseSysfsLUN(s); err == nil {
			t.Errorf("%s reads as %v", s, got)
		}
	}
}
