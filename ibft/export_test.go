package ibft

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/golden"
)

// exportSamples are tables that the formats are tried on, in the form in which settings make them.
func exportSamples(t *testing.T) map[string]*Table {
	t.Helper()
	static := Settings{
		RootPaths:     []string{"iscsi:192.0.2.1:::1:iqn.2026-01.com.example:disk", "iscsi:192.0.2.2::3261:1:iqn.2026-01.com.example:disk"},
		InitiatorName: "iqn.2026-01.com.example:machine", Hostname: "machine",
		NIC: NIC{
			IP: netip.MustParseAddr("192.0.2.10"), PrefixLen: 24, Origin: OriginManual, VLAN: 42,
			Gateway: netip.MustParseAddr("192.0.2.254"), PrimaryDNS: netip.MustParseAddr("192.0.2.53"),
			SecondaryDNS: netip.MustParseAddr("192.0.2.54"), MAC: MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56},
		},
		CHAPName: "machine", CHAPSecret: "machine-secret", ReverseCHAPName: "server", ReverseCHAPSecret: "server-secret",
	}
	ipv6 := Settings{
		RootPaths:     []string{"iscsi:[2001:db8::1]::::iqn.2026-01.com.example:disk"},
		InitiatorName: "iqn.2026-01.com.example:machine",
		NIC: NIC{
			IP: netip.MustParseAddr("2001:db8::10"), PrefixLen: 64, Origin: OriginManual,
			Gateway: netip.MustParseAddr("2001:db8::"), PrimaryDNS: netip.MustParseAddr("2001:db8::53"),
			MAC: MAC{0x52, 0x54, 0, 0x12, 0x34, 0x57},
		},
	}
	dhcp := static
	dhcp.NIC = NIC{Origin: OriginDHCP, MAC: static.NIC.MAC}
	dhcp.Hostname = ""
	samples := map[string]*Table{"nics": values(mustParse(t, foreignTables(t)["ipxe-nics"]))}
	for name, s := range map[string]Settings{"static": static, "ipv6": ipv6, "dhcp": dhcp} {
		table, err := s.Table(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		samples[name] = table
	}
	return samples
}

// exportFormats returns the formats that are written.
func exportFormats() []FormatInfo {
	return slices.DeleteFunc(Formats(), func(f FormatInfo) bool { return !f.Export })
}

func mustExport(t *testing.T, table *Table, f Format) *Exported {
	t.Helper()
	e, err := table.Export(f, ExportOptions{RevealSecrets: true, File: "/var/lib/a,b & c.bin"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Each format of each sample is as the golden file has it; -update writes them anew.
func TestExportGolden(t *testing.T) {
	for sample, table := range exportSamples(t) {
		for _, f := range exportFormats() {
			got := mustExport(t, table, f.Format).Bytes
			golden.Compare(t, filepath.Join("testdata", "export", sample+"."+string(f.Format)), got)
		}
	}
}

// What a format holds comes back from it.
func TestExportImport(t *testing.T) {
	for sample, table := range exportSamples(t) {
		for _, f := range exportFormats() {
			if !f.Import || sample == "nics" && f.Format != FormatJSON && f.Format != FormatDebian {
				continue // Settings have one NIC
			}
			got, err := Import(t.Context(), f.Format, mustExport(t, table, f.Format).Bytes, nil)
			if err != nil {
				t.Errorf("%s as %s: %v", sample, f.Format, err)
				continue
			}
			want := *table
			want.NICs = append([]NIC(nil), table.NICs...)
			want.Targets = append([]Target(nil), table.Targets...)
			held(&want, f.Format)
			if d := Diff(&want, got); d != nil {
				t.Errorf("%s as %s: %q", sample, f.Format, d)
			}
			for i := range got.Targets {
				if got.Targets[i].CHAPSecret != want.Targets[i].CHAPSecret || got.Targets[i].ReverseCHAPSecret != want.Targets[i].ReverseCHAPSecret {
					t.Errorf("%s as %s: other secrets", sample, f.Format)
				}
			}
		}
	}
}

// held takes from a table what a format does not hold.
func held(t *Table, f Format) {
	nic := &t.NICs[0]
	switch f {
	case FormatDebian: // one target, no LUN, no network
		t.OEMID, t.OEMTableID, t.Signature = "BOOTLN", "bootlun", ""
		t.NICs, t.Targets = []NIC{{Flags: Valid | BootSelected}}, t.Targets[:1]
		t.Targets[0].LUN = LUN{}
	case FormatIPXE: // the MAC is the machine's own
		nic.MAC = MAC{}
		nic.SecondaryDNS = netip.Addr{}
	case FormatOpenISCSI: // no host name, and DHCP only where a server is known
		nic.Hostname = ""
		if nic.Origin == OriginDHCP {
			nic.Origin = OriginOther
		}
	}
}

// Without leave no format has a secret, and a note says so.
func TestExportHidesSecrets(t *testing.T) {
	table := exportSamples(t)["static"]
	for _, f := range exportFormats() {
		e, err := table.Export(f.Format, ExportOptions{File: "/t.bin"})
		if err != nil {
			t.Fatal(err)
		}
		plain := string(e.Bytes)
		if f.Format == FormatHex {
			b, err := hex.DecodeString(strings.Join(strings.Fields(plain), ""))
			if err != nil {
				t.Fatal(err)
			}
			plain = string(b)
		}
		if strings.Contains(plain, "machine-secret") || strings.Contains(plain, "server-secret") {
			t.Errorf("%s gives a secret away", f.Format)
		}
		silent := slices.Contains([]Format{
			FormatQEMU, FormatXL, FormatLibvirt, FormatNetworkd, FormatNetworkManager, FormatNetplan,
		}, f.Format)
		if silent {
			if len(e.Notes) != 0 {
				t.Errorf("%s holds no secrets, and has notes %q", f.Format, e.Notes)
			}
			continue
		}
		if len(e.Notes) == 0 || !strings.Contains(e.Notes[0], "left out") {
			t.Errorf("%s: notes %q", f.Format, e.Notes)
		}
	}
	if table.Targets[0].CHAPSecret != "machine-secret" {
		t.Error("the table itself lost its secrets")
	}
}

func TestExportErrors(t *testing.T) {
	for name, c := range map[string]struct {
		format Format
		change func(*Table)
		want   string
	}{
		"unknown":          {"docx", func(*Table) {}, "not one of raw json hex"},
		"no NIC":           {FormatNetplan, func(t *Table) { t.NICs = nil }, "no NIC in use"},
		"no path":          {FormatIPXE, func(t *Table) { t.Targets = nil }, "no usable path"},
		"secrets differ":   {FormatDracut, func(t *Table) { t.Targets[1].CHAPSecret = "other" }, "differ"},
		"secret's space":   {FormatDracut, func(t *Table) { t.Targets[0].CHAPSecret, t.Targets[1].CHAPSecret = "a b", "a b" }, "rd.iscsi.password"},
		"setting":          {FormatIPXE, func(t *Table) { t.Initiator.Name = "${x}" }, `hold "${x}"`},
		"newline":          {FormatOpenISCSI, func(t *Table) { t.Targets[0].Name = "iqn.x\nnode.startup = automatic" }, "node.name"},
		"newline, shell":   {FormatDebian, func(t *Table) { t.Initiator.Name = "a\nb" }, "ISCSI_INITIATOR"},
		"no iqn":           {FormatDracut, func(t *Table) { t.Targets[0].Name = "disk" }, "begin with iqn."},
		"does not build":   {FormatHex, func(t *Table) { t.OEMID = "too long" }, "OEM ID"},
		"does not build 2": {FormatQEMU, func(t *Table) { t.OEMID = "too long" }, "OEM ID"},
		"does not build 3": {FormatCPIO, func(t *Table) { t.OEMID = "too long" }, "OEM ID"},
	} {
		table := exportSamples(t)["static"]
		c.change(table)
		_, err := table.Export(c.format, ExportOptions{RevealSecrets: true, File: "/t.bin"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		} else if strings.Contains(err.Error(), "a b") {
			t.Errorf("%s: gives the secret away: %v", name, err)
		}
	}
	for file, want := range map[string]string{"": "none is given", "t.bin": "begin at /", "/a\nb": "control characters", `/a"b'`: "cannot name it"} {
		if _, err := new(Table).Export(FormatXL, ExportOptions{File: file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("file %q: %v, want %q", file, err, want)
		}
	}
}

// acpixtract, of the program that acpidump comes from, makes of our text the table's bytes.
func TestACPIDumpForACPIXtract(t *testing.T) {
	if _, err := exec.LookPath("acpixtract"); err != nil {
		t.Skip("SKIP: needs acpixtract (apt install acpica-tools)")
	}
	for name, b := range foreignTables(t) {
		dir := t.TempDir()
		text := mustExport(t, mustParse(t, b), FormatACPIDump).Bytes
		if err := os.WriteFile(filepath.Join(dir, "dump"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "acpixtract", "-a", "dump")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		got, err := os.ReadFile(filepath.Join(dir, "ibft.dat"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, b) {
			t.Errorf("%s: acpixtract makes %d bytes of it, not the table's %d", name, len(got), len(b))
		}
	}
}

// libvirt's own schema takes the element, with the attribute's namespace.
func TestLibvirtSchema(t *testing.T) {
	if _, err := exec.LookPath("virt-xml-validate"); err != nil {
		t.Skip("SKIP: needs virt-xml-validate (apt install libvirt-clients)")
	}
	domain := "<domain type='kvm'><name>m</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os>" +
		string(mustExport(t, exportSamples(t)["static"], FormatLibvirt).Bytes) + "</domain>"
	file := filepath.Join(t.TempDir(), "domain.xml")
	if err := os.WriteFile(file, []byte(domain), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "virt-xml-validate", file, "domain").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, domain)
	}
}

// netplan reads the YAML, and makes networkd's files of it.
func TestNetplanGenerates(t *testing.T) {
	if _, err := exec.LookPath("netplan"); err != nil {
		t.Skip("SKIP: needs netplan (apt install netplan.io)")
	}
	for sample, table := range exportSamples(t) {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "etc/netplan"), 0o755); err != nil {
			t.Fatal(err)
		}
		text := mustExport(t, table, FormatNetplan).Bytes
		if err := os.WriteFile(filepath.Join(root, "etc/netplan/10-ibft.yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "netplan", "generate", "--root-dir", root).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s\n%s", sample, err, out, text)
		}
		made, _ := filepath.Glob(filepath.Join(root, "run/systemd/network/*.network"))
		if len(made) == 0 {
			t.Errorf("%s: netplan makes no files of\n%s", sample, text)
		}
	}
}

// A NIC without an Ethernet address is not told apart by zeros.
func TestExportWithoutMAC(t *testing.T) {
	table := values(exportSamples(t)["static"])
	table.NICs[0].MAC, table.NICs[0].VLAN = MAC{}, 0
	for format, want := range map[Format]string{FormatDracut: " ip=192.0.2.", FormatIPXE: "ifopen net0\n"} {
		if got := string(mustExport(t, table, format).Bytes); strings.Contains(got, "00:00:00") || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q", format, got, want)
		}
	}
	table.NICs = append(table.NICs, table.NICs[0])
	for _, format := range []Format{FormatNetworkd, FormatNetworkManager, FormatNetplan, FormatDracut} {
		if e, err := table.Export(format, ExportOptions{}); err == nil || !strings.Contains(err.Error(), "no Ethernet address") {
			t.Errorf("%s: %v, %v", format, e, err)
		}
	}
}

func TestFormatsAreDescribed(t *testing.T) {
	seen := make(map[Format]bool)
	for _, f := range Formats() {
		if f.About == "" || !f.Export && !f.Import || seen[f.Format] {
			t.Errorf("%+v", f)
		}
		seen[f.Format] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d formats", len(seen))
	}
}
