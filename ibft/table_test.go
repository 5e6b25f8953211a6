package ibft

import (
	"fmt"
	"strings"
	"testing"
)

// A table prints in one line, under any verb of package fmt without its secrets.
func TestTableString(t *testing.T) {
	table := mustParse(t, foreignTables(t)["ipxe-paths"])
	want := "iqn.2026-01.com.example:machine to iscsi:10.0.2.2::13260:1:iqn.2026-01.com.example:disk by 52:54:00:12:34:56, "
	if got := table.String(); !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
		t.Errorf("%s, want %s", got, want)
	}
	if got := new(Table).String(); got != "nobody to nowhere" {
		t.Errorf("an empty one: %s", got)
	}
	table = mustParse(t, foreignTables(t)["ipxe-chap"])
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{table, *table, table.Targets[0], &table.Targets[0], table.Paths(), table.Targets} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "machine-secret") || strings.Contains(got, fmt.Sprintf("%x", "machine-secret")) {
				t.Errorf("%s of %T gives a secret away: %s", verb, v, got)
			}
		}
	}
}
