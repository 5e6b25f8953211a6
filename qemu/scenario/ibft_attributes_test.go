package scenario_test

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// tableJSON is what "ibft show --json" prints, read without package ibft.
type tableJSON struct {
	Signature  string          `json:"signature"`
	OEMID      string          `json:"oem_id"`
	OEMTableID string          `json:"oem_table_id"`
	Initiator  structureJSON   `json:"initiator"`
	NICs       []structureJSON `json:"nics"`
	Targets    []structureJSON `json:"targets"`
}

// structureJSON holds strings and numbers.
type structureJSON map[string]any

// anyValue is the value of an attribute that is there and says nothing.
const anyValue = "\x00any"

// attributes are the files under /sys/firmware/ibft that the table makes, as
// Linux's drivers/firmware/iscsi_ibft.c prints them.
func (j tableJSON) attributes(t *testing.T) map[string]string {
	t.Helper()
	a := sysfsWriter{t: t, files: make(map[string]string)}
	a.dir = "acpi_header"
	a.put("signature", j.Signature)
	a.put("oem_id", j.OEMID)
	a.put("oem_table_id", j.OEMTableID)

	a.structure("initiator", j.Initiator)
	a.addrs(map[string]string{
		"isns": "isns-server", "slp": "slp-server", "primary_radius": "pri-radius-server", "secondary_radius": "sec-radius-server",
	})
	a.texts(map[string]string{"name": "initiator-name"})
	for _, n := range j.NICs {
		a.nic(n)
	}
	for _, target := range j.Targets {
		a.target(target)
	}
	return a.files
}

// sysfsWriter writes the attributes of one structure after another.
type sysfsWriter struct {
	t     *testing.T
	files map[string]string
	dir   string
	s     structureJSON
}

func (a *sysfsWriter) put(name, value string) { a.files[a.dir+"/"+name] = value }

// structure begins a structure, with the attributes that each has.
func (a *sysfsWriter) structure(dir string, s structureJSON) {
	a.dir, a.s = dir, s
	a.put("index", a.number("index"))
	a.put("flags", a.word("flags"))
}

func (a *sysfsWriter) nic(n structureJSON) {
	a.structure(fmt.Sprint("ethernet", n["index"]), n)
	a.put("origin", a.word("origin"))
	a.put("vlan", a.number("vlan"))
	a.put("mac", a.text("mac"))
	a.addrs(map[string]string{
		"ip": "ip-addr", "gateway": "gateway", "primary_dns": "primary-dns", "secondary_dns": "secondary-dns", "dhcp": "dhcp",
	})
	a.texts(map[string]string{"hostname": "hostname"})
	if bits, ok := n["prefix_len"].(float64); ok {
		a.put("prefix-len", fmt.Sprint(bits))
		a.put("subnet-mask", anyValue) // Linux has one for IPv6 too, which means nothing
		if bits <= 32 {
			a.put("subnet-mask", net.IP(net.CIDRMask(int(bits), 32)).String())
		}
	}
}

func (a *sysfsWriter) target(n structureJSON) {
	a.structure(fmt.Sprint("target", n["index"]), n)
	a.put("port", a.number("port"))
	a.put("chap-type", a.word("chap"))
	a.put("nic-assoc", a.number("nic"))
	number, err := strconv.ParseUint(a.text("lun"), 16, 8) // of one level below 256: its second byte
	if err != nil {
		a.t.Errorf("%s: LUN: %v", a.dir, err)
	}
	a.put("lun", fmt.Sprintf("0%x000000", number))
	a.addrs(map[string]string{"ip": "ip-addr"})
	a.texts(map[string]string{
		"name": "target-name", "chap_name": "chap-name", "chap_secret": "chap-secret",
		"reverse_chap_name": "rev-chap-name", "reverse_chap_secret": "rev-chap-name-secret",
	})
}

func (a *sysfsWriter) text(key string) string { s, _ := a.s[key].(string); return s }

// number is 0 where the JSON leaves it out.
func (a *sysfsWriter) number(key string) string {
	n, _ := a.s[key].(float64)
	return fmt.Sprint(n)
}

// words are the numbers behind the JSON's words.
func words() map[string]int {
	return map[string]int{
		"valid": 1, "boot-selected": 2, "global": 4, "radius-chap": 4, "radius-reverse-chap": 8, // flags
		"other": 0, "manual": 1, "well-known": 2, "dhcp": 3, "router-advertisement": 4, // origins
		"none": 0, "chap": 1, "mutual": 2, // CHAP types
	}
}

// word is the number behind words such as "valid,boot-selected", 0 where the
// JSON leaves them out.
func (a *sysfsWriter) word(key string) string {
	sum := 0
	for word := range strings.SplitSeq(cmp.Or(a.text(key), "none"), ",") {
		n, ok := words()[word]
		if !ok {
			a.t.Errorf("%s: %s: what is %q?", a.dir, key, word)
		}
		sum += n
	}
	return fmt.Sprint(sum)
}

func (a *sysfsWriter) texts(names map[string]string) {
	for key, name := range names {
		if s := a.text(key); s != "" {
			a.put(name, s)
		}
	}
}

// addrs prints addresses as Linux does: those of IPv6 with all their zeroes.
func (a *sysfsWriter) addrs(names map[string]string) {
	for key, name := range names {
		if s := a.text(key); s != "" {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				a.t.Errorf("%s: %s: %v", a.dir, key, err)
				continue
			}
			a.put(name, strings.ToLower(addr.StringExpanded()))
		}
	}
}
