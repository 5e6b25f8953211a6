package ibft

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// Every field takes its own text form, and a table set field by field to the values of another builds to the same.
func TestSetEveryField(t *testing.T) {
	want := sample(2)
	got := &Table{Initiator: &Initiator{}, NICs: make([]NIC, 2), Targets: make([]Target, 2)}
	for _, s := range want.settables() {
		value := s.text()
		if p, ok := s.ptr.(*Secret); ok {
			value = p.Reveal()
		}
		if err := got.Set(s.path, value); err != nil {
			t.Error(err)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Fields and the JSON form name the same fields.
func TestFieldsAreThoseOfJSON(t *testing.T) {
	for _, c := range []struct {
		prefix string
		value  any
	}{{"initiator.", Initiator{}}, {"nic0.", NIC{}}, {"target0.", Target{}}} {
		var fields []string
		for _, f := range sample(1).Fields() {
			if name, ok := strings.CutPrefix(f, c.prefix); ok {
				fields = append(fields, name)
			}
		}
		var tags []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(c.value)) {
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			tags = append(tags, tag)
		}
		if !reflect.DeepEqual(fields, tags) {
			t.Errorf("%sfields %v, in JSON %v", c.prefix, fields, tags)
		}
	}
}

func TestSetKeepsLayout(t *testing.T) {
	for name, b := range foreignTables(t) {
		table := mustParse(t, b)
		if err := table.Set("target0.port", "3270"); err != nil {
			t.Fatal(err)
		}
		changed := mustBuild(t, table, BuildOptions{})
		if sum(changed) != 0 || len(changed) != len(b) {
			t.Errorf("%s: checksum off by %d, %d bytes, want %d", name, sum(changed), len(changed), len(b))
		}
		n := 0
		for i := range b {
			if b[i] != changed[i] {
				n++
			}
		}
		if n > 3 { // two of the port, one of the checksum
			t.Errorf("%s: %d bytes changed", name, n)
		}
	}
}

func TestSetErrors(t *testing.T) {
	for path, c := range map[string]struct{ value, want string }{
		"colour":              {"red", "it has: signature oem_id"},
		"target1.ip":          {"192.0.2.1", "target0.ip"},
		"signature":           {"DSDT", "not iBFT, IBFT or BIFT"},
		"nic0.ip":             {"192.0.2", "not an IP address"},
		"nic0.gateway":        {"fe80::1%eth0", "zone"},
		"nic0.vlan":           {"65536", "not a number up to 65535"},
		"nic0.prefix_len":     {"-1", "not a number up to 255"},
		"nic0.mac":            {"00:11", "invalid MAC"},
		"target0.lun":         {"x", "LUN"},
		"target0.flags":       {"red", "flag"},
		"target0.chap_secret": {"********", "masked"},
	} {
		table := sample(1)
		err := table.Set(path, c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want %q", path, c.value, err, c.want)
		}
		if !reflect.DeepEqual(table, sample(1)) {
			t.Errorf("%s=%s failed and changed the table", path, c.value)
		}
	}
	var unknown *FieldError
	if err := sample(1).Set("nic7.ip", ""); !errors.As(err, &unknown) || len(unknown.Fields) == 0 {
		t.Errorf("unknown field: %v", err)
	}
}

// An absent address has three spellings.
func TestSetAbsentAddress(t *testing.T) {
	for _, value := range []string{"", "0.0.0.0", "::"} {
		table := sample(1)
		if err := table.Set("nic0.gateway", value); err != nil || table.NICs[0].Gateway.IsValid() {
			t.Errorf("%q: %v, %v", value, err, table.NICs[0].Gateway)
		}
	}
}
