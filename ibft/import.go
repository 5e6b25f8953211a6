package ibft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Import makes the table that says what text says in a format. Formats other than JSON go by way of [Settings]: one
// NIC, one pair of CHAP names and secrets, any number of paths; records of open-iscsi by one for each record, and
// dracut's command line by one for each device. Text that says more than that is an error, settings that have nothing
// to do with the disk are passed over. resolve is as in [Settings.Table].
func Import(ctx context.Context, f Format, text []byte, resolve Resolver) (*Table, error) {
	format, err := findFormat(f, func(i FormatInfo) bool { return i.Import })
	if err != nil {
		return nil, err
	}
	if f == FormatJSON {
		return importJSON(text)
	}
	s, err := format.parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("ibft: format %s: %w", f, err)
	}
	t, err := joinSettings(ctx, s, resolve)
	if err != nil {
		return nil, fmt.Errorf("ibft: format %s: %w", f, err)
	}
	return t, nil
}

// joinSettings makes one table of the settings of one machine. Settings of equal NICs share it; those that say nothing
// of theirs use the one before.
func joinSettings(ctx context.Context, all []Settings, resolve Resolver) (*Table, error) {
	table, err := all[0].Table(ctx, resolve)
	if err != nil {
		return nil, err
	}
	for _, s := range all[1:] {
		if s.InitiatorName == "" {
			s.InitiatorName = table.Initiator.Name
		}
		if s.InitiatorName != table.Initiator.Name {
			return nil, fmt.Errorf("the initiator is said to be %q and %q", table.Initiator.Name, s.InitiatorName)
		}
		next, err := s.Table(ctx, resolve)
		if err != nil {
			return nil, err
		}
		index := len(table.NICs) - 1
		if s.NIC != (NIC{}) {
			index = table.shareNIC(next.NICs[0])
		}
		for _, t := range next.Targets {
			t.Index, t.NIC = uint8(len(table.Targets)), uint8(index)
			table.Targets = append(table.Targets, t)
		}
	}
	if len(table.Targets) > 256 {
		return nil, fmt.Errorf("%d paths, a table holds at most 256", len(table.Targets))
	}
	return table, nil
}

// shareNIC returns the place of a NIC in the table, which it adds unless it is there.
func (t *Table) shareNIC(n NIC) int {
	for i, have := range t.NICs {
		if n.Index = have.Index; n == have {
			return i
		}
	}
	n.Index = uint8(len(t.NICs))
	t.NICs = append(t.NICs, n)
	return len(t.NICs) - 1
}

func importJSON(text []byte) (*Table, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	t := new(Table)
	if err := d.Decode(t); err != nil {
		return nil, fmt.Errorf("ibft: format json: %w", err)
	}
	if d.More() {
		return nil, errors.New("ibft: format json: more than one table")
	}
	return t, nil
}

// importer gathers settings. The first thing that it cannot take leaves its error in err.
type importer struct {
	Settings
	scope string // what named the NIC so far
	err   error
}

func (m *importer) fail(what string, err error) {
	if m.err == nil && err != nil {
		m.err = fmt.Errorf("%s: %w", what, err)
	}
}

func (m *importer) addr(what, s string, to *netip.Addr) {
	a, err := parseOptionalAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	m.fail(what, err)
	if a.IsValid() {
		*to = a
	}
}

// dns takes servers in their order; a NIC has two of them.
func (m *importer) dns(what, s string) {
	if !m.NIC.PrimaryDNS.IsValid() {
		m.addr(what, s, &m.NIC.PrimaryDNS)
	} else if !m.NIC.SecondaryDNS.IsValid() {
		m.addr(what, s, &m.NIC.SecondaryDNS)
	}
}

// prefix takes a prefix length or an IPv4 mask.
func (m *importer) prefix(what, s string) {
	if s == "" {
		return
	}
	if v, err := strconv.ParseUint(s, 10, 8); err == nil && v <= 128 {
		m.NIC.PrefixLen = uint8(v)
		return
	}
	ones := -1
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		ones = maskBits(a.As4())
	}
	if ones < 0 {
		m.fail(what, fmt.Errorf("%q is neither a prefix length nor a mask", s))
		return
	}
	m.NIC.PrefixLen = uint8(ones)
}

// maskBits returns how many ones a mask begins with, -1 if others follow.
func maskBits(b [4]byte) int {
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	ones := 0
	for ; v&(1<<31) != 0; v <<= 1 {
		ones++
	}
	if v != 0 {
		return -1
	}
	return ones
}

func (m *importer) mac(what, s string) {
	if s != "" {
		m.fail(what, m.NIC.MAC.UnmarshalText([]byte(s)))
	}
}

func (m *importer) vlan(what, s string) {
	v, err := strconv.ParseUint(s, 10, 16)
	if err != nil || v > 4094 {
		m.fail(what, fmt.Errorf("%q is not a VLAN from 0 to 4094", s))
		return
	}
	m.NIC.VLAN = uint16(v)
}

// same takes a value that may be said more than once, but not in two ways.
func same[T ~string](m *importer, what string, to *T, value string, secret bool) {
	switch {
	case value == "" || *to == T(value):
	case *to == "":
		*to = T(value)
	case secret:
		m.fail(what, errors.New("said twice, in different ways"))
	default:
		m.fail(what, fmt.Errorf("said to be %q and %q", string(*to), value))
	}
}

func (m *importer) credentials(what string, c credentials) {
	same(m, what, &m.CHAPName, c.name, false)
	same(m, what, &m.CHAPSecret, c.secret.Reveal(), true)
	same(m, what, &m.ReverseCHAPName, c.reverseName, false)
	same(m, what, &m.ReverseCHAPSecret, c.reverseSecret.Reveal(), true)
}

// nic makes sure that there is one NIC only.
func (m *importer) nic(name string) {
	if m.scope != "" && m.scope != name {
		m.fail("NIC", fmt.Errorf("both %s and %s are described, and only one NIC can be taken", m.scope, name))
	}
	m.scope = name
}

func (m *importer) path(p RootPath) { m.RootPaths = append(m.RootPaths, p.String()) }

// done returns what was gathered.
func (m *importer) done() (Settings, error) {
	if m.err != nil {
		return Settings{}, m.err
	}
	if m.NIC.Origin == OriginOther && m.NIC.IP.IsValid() {
		m.NIC.Origin = OriginManual
	}
	return m.Settings, nil
}
