package ibft

import (
	"context"
	"net/netip"
	"strings"
	"testing"
)

func importText(t *testing.T, f Format, text string) (*Table, error) {
	t.Helper()
	return Import(t.Context(), f, []byte(text), func(_ context.Context, host string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("192.0.2.99")}, nil
	})
}

// Ways to say things that Export has no use for.
func TestImport(t *testing.T) {
	const dracut = "rd.iscsi.initiator=iqn.m netroot=iscsi:192.0.2.1::::iqn.d "
	for name, c := range map[string]struct {
		format Format
		text   string
		want   map[string]string // fields
	}{
		"credentials": {FormatDracut, "root=/dev/sda1 rd.iscsi.initiator=iqn.m netroot=iscsi:u:p@ss@192.0.2.1::::iqn.d", map[string]string{
			"target0.chap": "chap", "target0.chap_name": "u", "target0.ip": "192.0.2.1", "target0.port": "3260", "target0.lun": "0",
		}},
		"mutual": {FormatDracut, "rd.iscsi.initiator=iqn.m netroot=iscsi:u:p:v:q@[2001:db8::1]:6:3261:1:eui.02004567A425678D", map[string]string{
			"target0.chap": "mutual", "target0.reverse_chap_name": "v", "target0.ip": "2001:db8::1", "target0.port": "3261",
			"target0.lun": "1", "target0.name": "eui.02004567A425678D",
		}},
		"interface":       {FormatDracut, "rd.iscsi.initiator=iqn.m netroot=iscsi:disks.example::3262:default:eth0:2:iqn.d", map[string]string{"target0.ip": "192.0.2.99", "target0.lun": "2"}},
		"as root=":        {FormatDracut, "rd.iscsi.initiator=iqn.m root=iscsi:192.0.2.1::::iqn.d:x", map[string]string{"target0.name": "iqn.d:x"}},
		"ip=dhcp":         {FormatDracut, dracut + "ip=dhcp", map[string]string{"nic0.origin": "dhcp"}},
		"ip=device":       {FormatDracut, dracut + "ip=eth0:dhcp:1500:52:54:00:12:34:56", map[string]string{"nic0.origin": "dhcp", "nic0.mac": "52:54:00:12:34:56"}},
		"router":          {FormatDracut, dracut + "ip=eth0:auto6", map[string]string{"nic0.origin": "router-advertisement"}},
		"MTU and MAC":     {FormatDracut, dracut + "ip=192.0.2.10:::24:m:eth0:none:1500:52:54:00:12:34:56", map[string]string{"nic0.prefix_len": "24", "nic0.mac": "52:54:00:12:34:56", "nic0.hostname": "m", "nic0.origin": "manual"}},
		"no first DNS":    {FormatDracut, dracut + "ip=192.0.2.10:::24::eth0:none::192.0.2.53", map[string]string{"nic0.primary_dns": "192.0.2.53"}},
		"nameserver":      {FormatDracut, dracut + "nameserver=192.0.2.53 nameserver=[2001:db8::53]", map[string]string{"nic0.primary_dns": "192.0.2.53", "nic0.secondary_dns": "2001:db8::53"}},
		"vlan0042":        {FormatDracut, dracut + "vlan=vlan0042:eth0 ifname=eth0:52:54:00:12:34:56", map[string]string{"nic0.vlan": "42", "nic0.mac": "52:54:00:12:34:56"}},
		"ifname, ip=dhcp": {FormatDracut, dracut + "ip=dhcp ifname=eth0:52:54:00:12:34:56", map[string]string{"nic0.mac": "52:54:00:12:34:56", "nic0.origin": "dhcp"}},
		"two NICs": {FormatDracut, "bootdev=b ifname=a:02:00:00:00:00:0a ifname=b:02:00:00:00:00:0b vlan=b.7:b ip=192.0.2.10:::24::a:none ip=b.7:dhcp rd.iscsi.initiator=iqn.m " +
			"netroot=iscsi:203.0.113.1::::iqn.d netroot=iscsi:192.0.2.1::::iqn.d netroot=iscsi:203.0.113.2:::default:a:2:iqn.d nameserver=192.0.2.53", map[string]string{
			"nic0.mac": "02:00:00:00:00:0a", "nic0.ip": "192.0.2.10", "nic0.vlan": "0", "nic0.index": "0", "nic0.primary_dns": "192.0.2.53", "nic1.mac": "02:00:00:00:00:0b",
			"nic1.vlan": "7", "nic1.origin": "dhcp", "nic1.index": "1", "target0.ip": "192.0.2.1", "target0.nic": "0", "target2.ip": "203.0.113.1", "target2.nic": "1",
			"target1.ip": "203.0.113.2", "target1.nic": "0", "target1.lun": "2",
		}},
		"quotes": {FormatDracut, `rd.iscsi.initiator="iqn.m" netroot=iscsi:192.0.2.1::::iqn.d rd.break="a b"`, map[string]string{"initiator.name": "iqn.m"}},
		"Debian": {FormatDebian, "# comment\nISCSI_INITIATOR=\"iqn.m\" # this machine\niscsi_target_name='iqn.d'\nISCSI_TARGET_IP=[2001:db8::1]\nISCSI_USERNAME='it'\\''s'\nISCSI_PASSWORD=\"p w\"\n", map[string]string{"target0.ip": "2001:db8::1", "target0.chap_name": "it's", "target0.port": "3260"}},
		"record": {FormatOpenISCSI, "# BEGIN RECORD 2.1.8\niface.initiatorname = iqn.m\niface.hwaddress = <empty>\niface.subnet_mask = 255.255.254.0\nnode.name = iqn.d\nnode.conn[0].address = 192.0.2.1\nnode.boot_lun = 4010000000\n# END RECORD\n", map[string]string{"nic0.prefix_len": "23", "target0.lun": "4010", "nic0.mac": "00:00:00:00:00:00"}},
		"lease": {FormatDHCP, "# as a server saw it\n17 = iscsi:192.0.2.1::::iqn.d iscsi:192.0.2.2::::iqn.d\n203=iqn.m\n1 255.255.255.0\n3 = 192.0.2.254, 192.0.2.253\n6 = 192.0.2.53, 192.0.2.54\n175.190 = u\n175.191 = p\nfixed-address 192.0.2.10\n", map[string]string{
			"nic0.ip": "192.0.2.10", "nic0.prefix_len": "24", "nic0.gateway": "192.0.2.254", "nic0.origin": "dhcp",
			"nic0.secondary_dns": "192.0.2.54", "target1.ip": "192.0.2.2", "target0.chap": "chap", "initiator.name": "iqn.m",
		}},
		"dhclient": {FormatDHCP, "lease {\n  option root-path \"iscsi:192.0.2.9::::iqn.old\";\n}\nlease {\n  interface \"eth0\";\n  fixed-address 192.0.2.10;\n  option host-name \"m\";\n" +
			"  option dhcp-server-identifier 192.0.2.3;\n  option root-path \"iscsi:192.0.2.1::::iqn.d\";\n  option initiator-iqn \"iqn.m\";\n  renew 0 2026/11/22 17:00:00;\n}\n", map[string]string{
			"nic0.ip": "192.0.2.10", "nic0.dhcp": "192.0.2.3", "nic0.hostname": "m", "target0.name": "iqn.d",
		}},
		"JSON": {FormatDHCP, `{"ip-address": "192.0.2.10", "hw-address": "52:54:00:12:34:56", "options": {"1": "255.255.255.0", "3": ["192.0.2.254"],
			"6": ["192.0.2.53", "192.0.2.54"], "12": "m", "17": "iscsi:192.0.2.1::::iqn.d", "54": "192.0.2.3", "59": 3150, "203": "iqn.m",
			"175": {"190": "u", "191": 123456789012, "192": "v", "193": "q"}, "121": null}}`, map[string]string{
			"nic0.ip": "192.0.2.10", "nic0.prefix_len": "24", "nic0.mac": "52:54:00:12:34:56", "nic0.gateway": "192.0.2.254", "nic0.secondary_dns": "192.0.2.54",
			"nic0.hostname": "m", "nic0.dhcp": "192.0.2.3", "nic0.origin": "dhcp", "target0.chap": "mutual", "target0.chap_name": "u", "target0.reverse_chap_name": "v",
		}},
		"JSON, DHCPv6": {FormatDHCP, `[{"59": "iscsi:[2001:db8::9]::::iqn.old"}, {"address": "2001:db8::10", "23": "2001:db8::53", "12": "m", "203": "iqn.m",
			"59": "iscsi:[2001:db8::1]:6:3261:2:iqn.d"}]`, map[string]string{
			"nic0.ip": "2001:db8::10", "nic0.prefix_len": "64", "nic0.primary_dns": "2001:db8::53", "target0.ip": "2001:db8::1", "target0.port": "3261", "target0.lun": "2",
		}},
		"dhclient, DHCPv6": {FormatDHCP, "lease6 {\n  ia-na 12:34:56 {\n    iaaddr 2001:db8::10 {\n      starts 1;\n    }\n  }\n  option dhcp6.name-servers 2001:db8::53,2001:db8::54;\n" +
			"  option dhcp6.bootfile-url \"iscsi:[2001:db8::1]::::iqn.d\";\n  option initiator-iqn \"iqn.m\";\n}\n", map[string]string{
			"nic0.ip": "2001:db8::10", "nic0.secondary_dns": "2001:db8::54", "target0.ip": "2001:db8::1",
		}},
		"dhclient, options it does not know": {FormatDHCP, "lease {\n  fixed-address 192.0.2.10;\n  option root-path \"iscsi:192.0.2.1::::iqn.d\";\n" +
			"  option unknown-203 69:71:6e:2e:6d;\n  option vendor-encapsulated-options be:1:75:bf:2:70:77:0:ff:1;\n  option unknown-175 c0:1:76:c1:1:71;\n}\n", map[string]string{
			"initiator.name": "iqn.m", "target0.chap": "mutual", "target0.chap_name": "u", "target0.reverse_chap_name": "v",
		}},
		"networkd":       {FormatDHCP, "# This is private data. Do not parse.\nADDRESS=192.0.2.10\nNETMASK=255.255.255.0\nROUTER=192.0.2.254\nSERVER_ADDRESS=192.0.2.3\nDNS=192.0.2.53 192.0.2.54\nHOSTNAME=m\nROOT_PATH=iscsi:192.0.2.1::::iqn.d\nOPTION_203=69716e2e6d\n", map[string]string{"nic0.ip": "192.0.2.10", "nic0.secondary_dns": "192.0.2.54", "nic0.dhcp": "192.0.2.3", "initiator.name": "iqn.m"}},
		"NetworkManager": {FormatDHCP, "DHCP4.OPTION[1]:  host_name = m\nDHCP4.OPTION[2]:  ip_address = 192.0.2.10\nDHCP4.OPTION[3]:  root_path = iscsi:192.0.2.1::::iqn.d\n203 = iqn.m", map[string]string{"nic0.ip": "192.0.2.10", "target0.ip": "192.0.2.1", "nic0.hostname": "m"}},
		"ipconfig":       {FormatDHCP, "DEVICE='eth0'\nIPV4ADDR='192.0.2.10'\nIPV4NETMASK='255.255.255.0'\nIPV4DNS0='192.0.2.53'\nIPV4DNS1='0.0.0.0'\nROOTPATH='iscsi:192.0.2.1::::iqn.d'\ninitiator_iqn=iqn.m", map[string]string{"nic0.ip": "192.0.2.10", "nic0.primary_dns": "192.0.2.53", "nic0.secondary_dns": ""}},
		"iPXE settings":  {FormatIPXE, "initiator-iqn=iqn.m\nnet0/ip:ipv4=192.0.2.10\nnetmask=255.255.255.0\nroot-path=iscsi:192.0.2.1::::iqn.d\ndhcp-server=192.0.2.3", map[string]string{"nic0.ip": "192.0.2.10", "nic0.dhcp": "192.0.2.3", "target0.ip": "192.0.2.1"}},
		"iPXE script":    {FormatIPXE, "#!ipxe\ndhcp\nset initiator-iqn iqn.m\nset root-path iscsi:192.0.2.7::::iqn.no\nsanboot --keep iscsi:192.0.2.1::::iqn.d || shell", map[string]string{"nic0.origin": "dhcp", "target0.name": "iqn.d"}},
	} {
		table, err := importText(t, c.format, c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range table.settables() {
			if want, ok := c.want[s.path]; ok && s.text() != want {
				t.Errorf("%s: %s is %q, want %q", name, s.path, s.text(), want)
			}
			delete(c.want, s.path)
		}
		for path := range c.want {
			t.Errorf("%s: no %s", name, path)
		}
	}
}

// The records of a machine with two NICs make a table with two NICs, and those of one NIC share it.
func TestImportRecords(t *testing.T) {
	for name, n := range map[string]int{"ipxe-nics": 2, "ipxe-paths": 1} {
		want := mustParse(t, foreignTables(t)[name])
		e, err := want.Export(FormatOpenISCSI, ExportOptions{RevealSecrets: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := importText(t, FormatOpenISCSI, string(e.Bytes))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.NICs) != n || len(got.Targets) != 2 {
			t.Errorf("%s: %d NICs, %d targets", name, len(got.NICs), len(got.Targets))
		}
		again, err := got.Export(FormatOpenISCSI, ExportOptions{RevealSecrets: true})
		if err != nil || strings.ReplaceAll(string(again.Bytes), "STATIC", "DHCP") != string(e.Bytes) {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, again.Bytes, e.Bytes)
		}
	}
	const record = "iface.initiatorname = iqn.%s\nnode.name = iqn.d\nnode.conn[0].address = 192.0.2.1\n# END RECORD\n"
	_, err := importText(t, FormatOpenISCSI, strings.ReplaceAll(record, "%s", "a")+strings.ReplaceAll(record, "%s", "b"))
	if err == nil || !strings.Contains(err.Error(), `"iqn.a" and "iqn.b"`) {
		t.Errorf("two initiators: %v", err)
	}
}

func TestImportSecret(t *testing.T) {
	table, err := importText(t, FormatDracut, "rd.iscsi.initiator=iqn.m netroot=iscsi:u:p@ss@192.0.2.1::::iqn.d")
	if err != nil || table.Targets[0].CHAPSecret.Reveal() != "p@ss" {
		t.Errorf("%v, %+v", err, table)
	}
}

func TestImportErrors(t *testing.T) {
	const dracut = "rd.iscsi.initiator=iqn.m netroot=iscsi:192.0.2.1::::iqn.d "
	for text, c := range map[string]struct {
		format Format
		want   string
	}{
		"x":                    {"docx", "not one of json dracut"},
		"y":                    {FormatNetplan, "not one of"},
		`{"colour":1}`:         {FormatJSON, "unknown field"},
		`{} {}`:                {FormatJSON, "more than one"},
		"quiet":                {FormatDracut, "none is there"},
		"rd.iscsi.firmware":    {FormatDracut, "firmware's own table"},
		"ip=ibft":              {FormatDracut, "firmware's own table"},
		dracut + "ip=eth0:foo": {FormatDracut, `"foo" is no way`},
		dracut + "ip=192.0.2.1:::255.0.255.0::eth0:none":        {FormatDracut, "neither a prefix length nor a mask"},
		dracut + "ip=192.0.2:::24::eth0:none":                   {FormatDracut, "not an IP address"},
		dracut + "vlan=bond0:eth0,eth1":                         {FormatDracut, "not a VLAN"},
		dracut + "rd.iscsi.initiator=iqn.other":                 {FormatDracut, `"iqn.m" and "iqn.other"`},
		dracut + "rd.iscsi.username=u":                          {FormatDracut, "CHAP wants both"},
		dracut + "rd.iscsi.password=pp1 rd.iscsi.password=p2":   {FormatDracut, "said twice"},
		"netroot=iscsi:192.0.2.1::::disk":                       {FormatDracut, "begins with iqn."},
		"netroot=iscsi:192.0.2.1:::iqn.d":                       {FormatDracut, "3 fields"},
		"netroot=iscsi:u@192.0.2.1::::iqn.d":                    {FormatDracut, "1 fields before the @"},
		"netroot=iscsi:192.0.2.1::x::iqn.d":                     {FormatDracut, `port "x"`},
		"ISCSI_TARGET_NAME=iqn.d":                               {FormatDebian, "both are wanted"},
		"ISCSI_TARGET_NAME=$(hostname)":                         {FormatDebian, "only a shell"},
		"ISCSI_TARGET_NAME=\"$x\"":                              {FormatDebian, "only a shell"},
		"ISCSI_TARGET_NAME='x":                                  {FormatDebian, "not closed"},
		"ISCSI_TARGET_NAME=a b":                                 {FormatDebian, "more than one word"},
		"if true; then":                                         {FormatDebian, "NAME=value"},
		"node.name = iqn.d":                                     {FormatOpenISCSI, "both are wanted"},
		"nonsense":                                              {FormatOpenISCSI, "key = value"},
		"node.boot_lun = zz":                                    {FormatOpenISCSI, "both are wanted"},
		"set net0/ip 192.0.2.1\nset net1/ip 192.0.2.2":          {FormatIPXE, "both net0 and net1"},
		"set initiator-iqn iqn.${mac}":                          {FormatIPXE, "refers to another"},
		"17 = nfs:192.0.2.1:/":                                  {FormatDHCP, "no iSCSI root path"},
		"203 = iqn.m":                                           {FormatDHCP, "the lease has none"},
		"1 = 24x":                                               {FormatDHCP, "neither a prefix length"},
		"sanboot iscsi:192.0.2.1":                               {FormatIPXE, "root path"},
		`{"17": "iscsi:192.0.2.1::::iqn.d", "203"`:              {FormatDHCP, "not to be understood"},
		`["iscsi:192.0.2.1::::iqn.d"]`:                          {FormatDHCP, "no object"},
		`{"17": "iscsi:192.0.2.1::::iqn.d", "175": "be:99:70"}`: {FormatDHCP, "longer than it"},
		"59 = 3150":                                             {FormatDHCP, "the lease has none"},
		"set initiator-iqn iqn.m":                               {FormatIPXE, "no root path"},
	} {
		_, err := importText(t, c.format, text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", text, err, c.want)
		} else if strings.Contains(err.Error(), "pp1") {
			t.Errorf("gives a secret away: %v", err)
		}
	}
}

// No text panics, and what is read builds or says why not.
func FuzzImport(f *testing.F) {
	f.Add(uint8(0), `{"targets":[{"lun":"1"}]}`)
	f.Add(uint8(1), "rd.iscsi.initiator=iqn.m ip=[2001:db8::1]:::64::eth0:none:[::2] netroot=iscsi:u:p@[::1]::::iqn.d")
	f.Add(uint8(2), "ISCSI_TARGET_NAME='a'\\''b'\nISCSI_TARGET_IP=\"x\"")
	f.Add(uint8(3), "node.name = a\nnode.conn[0].address = 192.0.2.1\nnode.boot_lun = 01000000")
	f.Add(uint8(4), "set net0/ip 192.0.2.1\nsanboot iscsi:192.0.2.1::::iqn.d\nvcreate --tag")
	f.Add(uint8(5), "lease {\noption 17 \"iscsi:192.0.2.1::::iqn.d\";\n}\n203 = iqn.m")
	formats := []Format{FormatJSON, FormatDracut, FormatDebian, FormatOpenISCSI, FormatIPXE, FormatDHCP}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		table, err := Import(t.Context(), formats[int(which)%len(formats)], []byte(text), nil)
		if err != nil {
			return
		}
		for _, format := range Formats() {
			if e, err := table.Export(format.Format, ExportOptions{RevealSecrets: true, File: "/f"}); err == nil && len(e.Bytes) == 0 {
				t.Errorf("%s is empty", format.Format)
			}
		}
	})
}
