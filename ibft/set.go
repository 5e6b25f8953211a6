package ibft

import (
	"encoding"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// settable is one field of a table under the path by which people name it.
type settable struct {
	path string
	ptr  any // to the field
}

// settables returns every field of the table. NICs and targets are counted from 0 in the table's order, whatever
// their Index says: an index may be given twice, a place not.
func (t *Table) settables() []settable {
	fields := t.ownFields()
	if t.Initiator != nil {
		fields = append(fields, t.Initiator.settables()...)
	}
	for i := range t.NICs {
		fields = append(fields, t.NICs[i].settables(nicPath(i))...)
	}
	for i := range t.Targets {
		fields = append(fields, t.Targets[i].settables(targetPath(i))...)
	}
	return fields
}

// ownFields returns the fields of the header and the control structure.
func (t *Table) ownFields() []settable {
	return []settable{
		{"signature", &t.Signature},
		{"oem_id", &t.OEMID},
		{"oem_table_id", &t.OEMTableID},
		{"reserved", &t.Reserved},
		{"control", &t.Control},
	}
}

const initiatorPath = "initiator"

func nicPath(i int) string    { return "nic" + strconv.Itoa(i) }
func targetPath(i int) string { return "target" + strconv.Itoa(i) }

func (n *Initiator) settables() []settable {
	return under(initiatorPath, []settable{
		{"index", &n.Index},
		{"flags", &n.Flags},
		{"isns", &n.ISNS},
		{"slp", &n.SLP},
		{"primary_radius", &n.PrimaryRADIUS},
		{"secondary_radius", &n.SecondaryRADIUS},
		{"name", &n.Name},
	})
}

func (n *NIC) settables(path string) []settable {
	return under(path, []settable{
		{"index", &n.Index},
		{"flags", &n.Flags},
		{"ip", &n.IP},
		{"prefix_len", &n.PrefixLen},
		{"origin", &n.Origin},
		{"gateway", &n.Gateway},
		{"primary_dns", &n.PrimaryDNS},
		{"secondary_dns", &n.SecondaryDNS},
		{"dhcp", &n.DHCP},
		{"vlan", &n.VLAN},
		{"mac", &n.MAC},
		{"pci", &n.PCI},
		{"hostname", &n.Hostname},
	})
}

func (t *Target) settables(path string) []settable {
	return under(path, []settable{
		{"index", &t.Index},
		{"flags", &t.Flags},
		{"ip", &t.IP},
		{"port", &t.Port},
		{"lun", &t.LUN},
		{"chap", &t.CHAP},
		{"nic", &t.NIC},
		{"name", &t.Name},
		{"chap_name", &t.CHAPName},
		{"chap_secret", &t.CHAPSecret},
		{"reverse_chap_name", &t.ReverseCHAPName},
		{"reverse_chap_secret", &t.ReverseCHAPSecret},
	})
}

func under(path string, fields []settable) []settable {
	for i := range fields {
		fields[i].path = path + "." + fields[i].path
	}
	return fields
}

// secret says whether the field is never to be shown.
func (s settable) secret() bool {
	_, ok := s.ptr.(*Secret)
	return ok
}

// text returns the field in the form that set reads, empty for an absent address or string, a mask for a secret.
func (s settable) text() string {
	switch p := s.ptr.(type) {
	case *string:
		return *p
	case *Signature:
		return string(*p)
	case *uint8:
		return strconv.Itoa(int(*p))
	case *uint16:
		return strconv.Itoa(int(*p))
	case encoding.TextMarshaler: // none of the types here has an error to return
		text, _ := p.MarshalText()
		return string(text)
	}
	panic(fmt.Sprintf("ibft: %s is a %T", s.path, s.ptr))
}

func (s settable) set(value string) error {
	switch p := s.ptr.(type) {
	case *string:
		*p = value
	case *Signature:
		if !Signature(value).known() {
			return fmt.Errorf("%q is not iBFT, IBFT or BIFT", value)
		}
		*p = Signature(value)
	case *uint8:
		v, err := parseNumber(value, 8)
		*p = uint8(v)
		return err
	case *uint16:
		v, err := parseNumber(value, 16)
		*p = uint16(v)
		return err
	case *netip.Addr:
		addr, err := parseOptionalAddr(value)
		*p = addr
		return err
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(value))
	}
	return nil
}

func parseNumber(s string, bits int) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number up to %d", s, 1<<bits-1)
	}
	return v, nil
}

// parseOptionalAddr reads an address. Nothing, and the unspecified address, is an absent one.
func parseOptionalAddr(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", s)
	}
	if addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q has a zone, which a table cannot hold", s)
	}
	if addr = addr.Unmap(); addr.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return addr, nil
}

// FieldError says that a table has no field of a name.
type FieldError struct {
	Path   string
	Fields []string // those there are
}

// Error names the fields there are.
func (e *FieldError) Error() string {
	return fmt.Sprintf("ibft: the table has no field %q, it has: %s", e.Path, strings.Join(e.Fields, " "))
}

// Fields returns the paths of all fields that Set knows in this table, such as "initiator.name", "nic0.vlan" and
// "target1.chap_secret". The number is the place in NICs or Targets; the names are those of the JSON form.
func (t *Table) Fields() []string {
	var paths []string
	for _, s := range t.settables() {
		paths = append(paths, s.path)
	}
	return paths
}

// Set changes one field, named as in Fields, to the value whose text form (that of the JSON form) is given; an
// empty value makes an address or a string absent. An unknown path is a *FieldError. After an error the table is as
// it was. Build then gives the table's new bytes.
func (t *Table) Set(path, value string) error {
	for _, s := range t.settables() {
		if s.path != path {
			continue
		}
		before := s.text()
		if err := s.set(value); err != nil {
			if !s.secret() {
				_ = s.set(before) // its own text, which it takes
			}
			return fmt.Errorf("ibft: %s: %w", path, err)
		}
		return nil
	}
	return &FieldError{Path: path, Fields: t.Fields()}
}
