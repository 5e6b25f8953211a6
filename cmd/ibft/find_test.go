package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli"
)

// machine returns a root directory that holds the files named, with /sys/firmware before their names.
func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		name = filepath.Join(root, "sys/firmware", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// plainSysfs is what Linux shows of ipxe-plain.bin.
func plainSysfs() map[string]string {
	return map[string]string{
		"ibft/acpi_header/signature": "iBFT\n", "ibft/acpi_header/oem_id": "FENSYS\n", "ibft/acpi_header/oem_table_id": "iPXE\n",
		"ibft/initiator/index": "0\n", "ibft/initiator/flags": "3\n", "ibft/initiator/initiator-name": "iqn.2026-01.com.example:machine\n",
		"ibft/ethernet0/index": "0\n", "ibft/ethernet0/flags": "3\n", "ibft/ethernet0/ip-addr": "10.0.2.15\n",
		"ibft/ethernet0/prefix-len": "24\n", "ibft/ethernet0/subnet-mask": "255.255.255.0\n", "ibft/ethernet0/origin": "3\n",
		"ibft/ethernet0/gateway": "10.0.2.2\n", "ibft/ethernet0/primary-dns": "10.0.2.3\n", "ibft/ethernet0/dhcp": "10.0.2.2\n",
		"ibft/ethernet0/vlan": "0\n", "ibft/ethernet0/mac": "52:54:00:12:34:56\n", "ibft/ethernet0/hostname": "machine\n",
		"ibft/target0/index": "0\n", "ibft/target0/flags": "3\n", "ibft/target0/ip-addr": "10.0.2.2\n", "ibft/target0/port": "13260\n",
		"ibft/target0/lun": "01000000\n", "ibft/target0/chap-type": "0\n", "ibft/target0/nic-assoc": "0\n",
		"ibft/target0/target-name": "iqn.2026-01.com.example:disk\n",
	}
}

func TestFindInterface(t *testing.T) {
	b, err := os.ReadFile(goldenDir + "ipxe-plain.bin")
	if err != nil {
		t.Fatal(err)
	}
	root := machine(t, map[string]string{
		"acpi/tables/iBFT": string(b), "../class/net/br0/address": "52:54:00:12:34:56\n",
		"../class/net/ens3/address": "52:54:00:12:34:56\n", "../class/net/ens3/device/vendor": "0x1af4\n",
	})
	if _, out, _ := runIn(t, "", "find --root "+root); !strings.Contains(out, "  NIC 0, 52:54:00:12:34:56, is ens3\n") {
		t.Errorf("%s", out)
	}
}

func TestFind(t *testing.T) {
	b, err := os.ReadFile(goldenDir + "ipxe-plain.bin")
	if err != nil {
		t.Fatal(err)
	}
	raw := string(b)
	for name, c := range map[string]struct {
		change func(map[string]string)
		code   int
		want   []string
	}{
		"nothing": {func(m map[string]string) { clear(m) }, exitNotWell, []string{"no table"}},
		"agrees": {func(m map[string]string) { m["acpi/tables/iBFT"] = raw }, cli.ExitOK, []string{
			"/sys/firmware/acpi/tables/iBFT\n  iBFT, ", "by FENSYS iPXE; targets 1, usable paths 1\n  Linux uses this one\n",
			"  NIC 0, 52:54:00:12:34:56, is no interface's", "\n  agrees with the bytes\n",
		}},
		"differs": {func(m map[string]string) {
			m["acpi/tables/iBFT"], m["ibft/target0/port"] = raw, "3260\n"
		}, exitNotWell, []string{"differs from the bytes:\n", "target0.port               13260 in the table, 3260 here\n"}},
		"alone": {func(map[string]string) {}, cli.ExitOK, []string{"no bytes of a table are in sight"}},
		"refused": {func(m map[string]string) {
			clear(m)
			m["acpi/tables/IBFT"], m["acpi/tables/iBFT"] = raw[:100], raw
		}, exitNotWell, []string{"IBFT\n  broken: ", "tries no other\n", "is not there: modprobe iscsi_ibft"}},
		"unreadable": {func(m map[string]string) {
			m["acpi/tables/iBFT"], m["ibft/target0/port"] = raw, "x\n"
		}, cli.ExitOK, []string{"cannot be read"}},
	} {
		files := plainSysfs()
		c.change(files)
		root := machine(t, files)
		code, out, errout := runIn(t, "", "find --root "+root)
		if code != c.code || errout != "" {
			t.Errorf("%s: exit %d, %s", name, code, errout)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in:\n%s", name, want, out)
			}
		}
		if _, js, _ := runIn(t, "", "find --json --root "+root); !strings.Contains(js, `"sysfs": "`) || !strings.Contains(js, `"tables": [`) {
			t.Errorf("%s: as JSON:\n%s", name, js)
		}
	}
	if code, out, _ := runIn(t, "", "find --help"); code != cli.ExitOK || !strings.Contains(out, "Examples:") {
		t.Errorf("help: exit %d, %s", code, out)
	}
}
