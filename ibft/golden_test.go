package ibft

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/golden"
)

// foreignTables returns the tables in testdata, which other programs wrote, by name.
func foreignTables(t testing.TB) map[string][]byte {
	t.Helper()
	return tablesIn(t, "")
}

// tablesIn returns those in a folder of testdata, "" or "broken".
func tablesIn(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*.bin"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden tables: %v", err)
	}
	tables := make(map[string][]byte)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tables[filepath.Join(folder, strings.TrimSuffix(filepath.Base(name), ".bin"))] = b
	}
	return tables
}

// Tables of other writers read as the values beside them, and build to the same bytes: as they came, and in their
// writer's layout from the values alone.
func TestGolden(t *testing.T) {
	for name, b := range foreignTables(t) {
		t.Run(name, func(t *testing.T) {
			table := mustParse(t, b)
			compareJSON(t, filepath.Join("testdata", name+".json"), table)
			if got := mustBuild(t, table, BuildOptions{}); !bytes.Equal(got, b) {
				t.Error("unchanged, it builds to other bytes")
			}
			var layout Layout
			writer, _, _ := strings.Cut(name, "-")
			if err := layout.UnmarshalText([]byte(writer)); err != nil {
				t.Fatal(err)
			}
			if got := mustBuild(t, values(table), BuildOptions{Layout: layout}); !bytes.Equal(got, b) {
				t.Errorf("layout %v makes other bytes of its values:\n%x\nwant:\n%x", layout, got, b)
			}
			if got := table.ownLayout(); got != layout {
				t.Errorf("taken for layout %v, want %v", got, layout)
			}
		})
	}
}

// Tables that their writers broke are refused, and Check finds out why.
func TestGoldenBroken(t *testing.T) {
	for name, b := range tablesIn(t, "broken") {
		if table, err := Parse(b); err == nil {
			t.Errorf("%s is read as %v", name, table)
		}
		if !slices.ContainsFunc(Check(b, CheckOptions{}), func(f Finding) bool { return f.Severity == Error }) {
			t.Errorf("%s: Check finds no error", name)
		}
	}
}

func compareJSON(t *testing.T, file string, table *Table) {
	t.Helper()
	b, err := table.RevealJSON()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	golden.Compare(t, file, got.Bytes())
}
