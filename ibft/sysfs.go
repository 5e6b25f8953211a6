package ibft

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

const sysfsDir = "sys/firmware/ibft"

// findInSysfs makes a table of what the kernel's iscsi_ibft module shows, nil if it shows nothing.
func findInSysfs(fsys fs.FS) (*Found, error) {
	entries, err := fs.ReadDir(fsys, sysfsDir)
	if err != nil {
		return nil, ignoreUnreadable(err)
	}
	r := sysfsReader{fsys: fsys}
	t := &Table{}
	for _, e := range sortedByNumber(entries) {
		r.dir = path.Join(sysfsDir, e)
		switch kind := strings.TrimRight(e, "0123456789"); kind {
		case "acpi_header":
			t.Signature = Signature(r.text("signature"))
			t.OEMID = strings.TrimRight(r.text("oem_id"), "\x00")
			t.OEMTableID = strings.TrimRight(r.text("oem_table_id"), "\x00")
		case "initiator":
			t.Initiator = r.initiator()
		case "ethernet":
			t.NICs = append(t.NICs, r.nic())
		case "target":
			t.Targets = append(t.Targets, r.target())
		}
	}
	if t.Initiator == nil && t.NICs == nil && t.Targets == nil && len(r.errs) == 0 {
		return nil, nil // the module is there, a table is not
	}
	f := &Found{Source: "/" + sysfsDir, Table: t}
	if err := errors.Join(r.errs...); err != nil {
		f.Table, f.Err = nil, err
	}
	return f, nil
}

// sortedByNumber returns the names, target2 before target10.
func sortedByNumber(entries []fs.DirEntry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names
}

// sysfsReader reads attributes of one directory. A missing attribute is zero: the kernel leaves out what is absent.
type sysfsReader struct {
	fsys fs.FS
	dir  string
	errs []error
}

func (r *sysfsReader) fail(name string, err error) {
	r.errs = append(r.errs, fmt.Errorf("/%s/%s: %w", r.dir, name, err))
}

func (r *sysfsReader) text(name string) string {
	b, err := fs.ReadFile(r.fsys, path.Join(r.dir, name))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.fail(name, err)
		}
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

func (r *sysfsReader) number(name string, bits int) uint64 {
	s := r.text(name)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		r.fail(name, err)
	}
	return v
}

func (r *sysfsReader) byte(name string) uint8 { return uint8(r.number(name, 8)) }

func (r *sysfsReader) addr(name string) netip.Addr {
	s := r.text(name)
	if s == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		r.fail(name, err)
	}
	if addr = addr.Unmap(); addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr
}

// parse hands an attribute that is there to a parser.
func (r *sysfsReader) parse(name string, unmarshal func([]byte) error) {
	if s := r.text(name); s != "" {
		if err := unmarshal([]byte(s)); err != nil {
			r.fail(name, err)
		}
	}
}

func (r *sysfsReader) initiator() *Initiator {
	return &Initiator{
		Index:           r.byte("index"),
		Flags:           InitiatorFlags(r.byte("flags")),
		ISNS:            r.addr("isns-server"),
		SLP:             r.addr("slp-server"),
		PrimaryRADIUS:   r.addr("pri-radius-server"),
		SecondaryRADIUS: r.addr("sec-radius-server"),
		Name:            r.text("initiator-name"),
	}
}

func (r *sysfsReader) nic() NIC {
	n := NIC{
		Index:        r.byte("index"),
		Flags:        NICFlags(r.byte("flags")),
		IP:           r.addr("ip-addr"),
		PrefixLen:    r.prefixLen(),
		Origin:       Origin(r.byte("origin")),
		Gateway:      r.addr("gateway"),
		PrimaryDNS:   r.addr("primary-dns"),
		SecondaryDNS: r.addr("secondary-dns"),
		DHCP:         r.addr("dhcp"),
		VLAN:         uint16(r.number("vlan", 16)),
		Hostname:     r.text("hostname"),
	}
	r.parse("mac", n.MAC.UnmarshalText)
	if device, err := fs.ReadLink(r.fsys, path.Join(r.dir, "device")); err == nil {
		if pci, err := ParsePCIAddr(path.Base(device)); err == nil {
			n.PCI = pci // the link of a device that is not PCI's says nothing that a table holds
		}
	}
	return n
}

// prefixLen reads the prefix length, or the mask where the kernel (before 4.5) shows only that.
func (r *sysfsReader) prefixLen() uint8 {
	if r.text("prefix-len") != "" {
		return r.byte("prefix-len")
	}
	ones := 0
	if mask := r.addr("subnet-mask"); mask.Is4() {
		for _, b := range mask.As4() {
			for ; b&0x80 != 0; b <<= 1 {
				ones++
			}
		}
	}
	return uint8(ones)
}

func (r *sysfsReader) target() Target {
	t := Target{
		Index:             r.byte("index"),
		Flags:             TargetFlags(r.byte("flags")),
		IP:                r.addr("ip-addr"),
		Port:              uint16(r.number("port", 16)),
		CHAP:              CHAPType(r.byte("chap-type")),
		NIC:               r.byte("nic-assoc"),
		Name:              r.text("target-name"),
		CHAPName:          r.text("chap-name"),
		CHAPSecret:        Secret(r.text("chap-secret")),
		ReverseCHAPName:   r.text("rev-chap-name"),
		ReverseCHAPSecret: Secret(r.text("rev-chap-name-secret")),
	}
	if s := r.text("lun"); s != "" {
		lun, err := parseSysfsLUN(s)
		if err != nil {
			r.fail("lun", err)
		}
		t.LUN = lun
	}
	return t
}

// parseSysfsLUN reads a LUN as Linux prints it: its 8 bytes in hexadecimal, each without a leading zero and with
// nothing between them. That is ambiguous once some byte takes two digits. Of several readings the one that is a
// single-level LUN is taken; when that does not decide either, it is an error.
func parseSysfsLUN(s string) (LUN, error) {
	var all, singleLevel []LUN
	var split func(rest string, sofar LUN, n int)
	split = func(rest string, sofar LUN, n int) {
		if n == len(sofar) {
			if rest != "" {
				return
			}
			all = append(all, sofar)
			if sofar.singleLevel() {
				singleLevel = append(singleLevel, sofar)
			}
			return
		}
		for digits := 1; digits <= min(2, len(rest)); digits++ {
			v, err := strconv.ParseUint(rest[:digits], 16, 8)
			if err != nil || digits == 2 && v < 0x10 {
				return
			}
			sofar[n] = byte(v)
			split(rest[digits:], sofar, n+1)
		}
	}
	if len(s) <= 2*len(LUN{}) {
		split(s, LUN{}, 0)
	}
	switch {
	case len(singleLevel) == 1:
		return singleLevel[0], nil
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0:
		return LUN{}, fmt.Errorf("%q is not 8 bytes in hexadecimal", s)
	}
	return LUN{}, fmt.Errorf("%q may be %d LUNs: read the table itself instead, under /sys/firmware/acpi/tables", s, len(all))
}
