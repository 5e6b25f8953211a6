package ibft

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/golden"
)

// checkFields says whether the fields are all of the bytes, in order.
func checkFields(t *testing.T, b []byte, fields []Field) {
	t.Helper()
	at := 0
	for _, f := range fields {
		if f.Offset != at || f.Length <= 0 || f.Name == "" {
			t.Fatalf("field %+v, want one that begins at %#x", f, at)
		}
		at += f.Length
	}
	if at != len(b) {
		t.Fatalf("the fields end at %#x, the data at %#x", at, len(b))
	}
}

func fieldList(fields []Field) string {
	var s strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&s, "%04x %4d  %s: %s: %s\n", f.Offset, f.Length, f.Structure, f.Name, f.Value)
	}
	return s.String()
}

func TestFieldsGolden(t *testing.T) {
	for name, b := range foreignTables(t) {
		t.Run(name, func(t *testing.T) {
			fields := Fields(b)
			checkFields(t, b, fields)
			got, file := fieldList(fields), filepath.Join("testdata", name+".fields")
			golden.Compare(t, file, got)
		})
	}
}

func TestFieldsOfBrokenTables(t *testing.T) {
	for _, tt := range checkCases {
		b := built(cleanSample())
		if tt.change != nil {
			b = tt.change(b)
		}
		checkFields(t, b, Fields(b))
	}
	for n := range 70 {
		b := built(cleanSample())[:n]
		checkFields(t, b, Fields(b))
	}
}

func TestFieldsLabels(t *testing.T) {
	b := built(cleanSample())
	putU16(b, atNIC+2, 100)
	b = append(b, "tail"...)
	fields := Fields(b)
	for _, want := range []Field{
		{0, 4, "header", "signature", "iBFT", false},
		{atNIC, 1, "NIC 0", "id", "3 (NIC)", false},
		{atNIC + 6, 94, "NIC 0", "not understood", "", false},
		{atTarget + targetPort, 2, "target 0", "port", "3260", false},
		{len(b) - 4, 4, "", "beyond the table", "", false},
	} {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Offset == want.Offset })
		if i < 0 {
			t.Errorf("no field at %#x", want.Offset)
			continue
		}
		got := fields[i]
		if want.Name == "not understood" {
			got.Value = ""
		}
		if got != want {
			t.Errorf("field %+v, want %+v", got, want)
		}
	}
}

// A secret's bytes are told in no field's value, whatever else points there.
func TestFieldsKeepSecrets(t *testing.T) {
	table := cleanSample()
	b := built(table)
	secret := table.Targets[0].CHAPSecret.Reveal()
	at := strings.Index(string(b), secret)
	putU16(b, atInitiator+initiatorName, uint16(len(secret)))
	putU16(b, atInitiator+initiatorName+2, uint16(at-3))
	fields := Fields(b)
	checkFields(t, b, fields)
	if list := fieldList(fields); strings.Contains(list, secret[:8]) {
		t.Errorf("a secret in:\n%s", list)
	}
	for _, f := range fields {
		if f.Offset < at+len(secret) && f.Offset+f.Length > at && !f.Secret {
			t.Errorf("not a secret: %+v", f)
		}
	}
}

func FuzzFields(f *testing.F) {
	for _, b := range foreignTables(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkFields(t, b, Fields(b))
		checkFields(t, b, Fields(mended(b)))
	})
}

func BenchmarkFields(b *testing.B) {
	tables := foreignTables(b)
	tables["worst"] = worst()
	for name, raw := range tables {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Fields(raw)
			}
		})
	}
}
