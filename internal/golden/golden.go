// Package golden compares what tests make with files that are kept: golden files.
package golden

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"unicode/utf8"
)

// Update is the flag -update of a test that has golden files: they are written, not
// compared.
var Update = flag.Bool("update", false, "write the golden files anew from this run")

// Compare fails the test unless the file's content is what the test has got. With
// -update it writes the file, whose folder must exist.
func Compare[T string | []byte](t testing.TB, file string, got T) {
	t.Helper()
	if *Update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case bytes.Equal([]byte(got), want):
	case utf8.Valid(want) && utf8.Valid([]byte(got)):
		t.Errorf("got:\n%s\nwant, by %s:\n%s", got, file, want)
	default:
		t.Errorf("got:\n%x\nwant, by %s:\n%x", got, file, want)
	}
}
