package ibft

import (
	"bytes"
	"reflect"
	"testing"
)

// Whatever parses builds to the same bytes, and what its values build to reads as the same values.
func FuzzParse(f *testing.F) {
	for _, b := range foreignTables(f) {
		f.Add(b)
	}
	for _, layout := range layouts {
		b, err := sample(3).Build(BuildOptions{Layout: layout})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := Parse(mended(b))
		if err != nil {
			return
		}
		again, err := table.Build(BuildOptions{})
		if err != nil || !bytes.HasPrefix(mended(b), again) {
			t.Fatalf("unchanged, it builds to other bytes: %v", err)
		}
		table.Paths()
		rebuilt, err := table.Build(BuildOptions{Layout: LayoutAligned})
		if err != nil {
			return // a string longer than 255 bytes, or strings that overlapped and do not fit side by side
		}
		got, err := Parse(rebuilt)
		if err != nil {
			t.Fatalf("what it builds to does not parse: %v", err)
		}
		if len(table.Other) == 0 && !reflect.DeepEqual(values(got), values(table)) {
			t.Fatalf("read back %+v, want %+v", got, table)
		}
	})
}

// mended returns b with a header that passes, as a fuzzer would seldom find one.
func mended(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= headerLen {
		copy(b, SignatureIBFT)
		putLength(b, uint32(len(b)))
		b[hdrRevision] = 1
		putChecksum(b)
	}
	return b
}

func FuzzParseRootPath(f *testing.F) {
	for _, s := range []string{
		"iscsi:192.0.2.1::::iqn.2026-01.com.example:disk",
		"iscsi:[2001:db8::1]:6:3260:4752-3a4f-6b7e-2f99:iqn.2026-01.com.example:disk",
		"iscsi:a%2eb:::1:x%3ay", "iscsi:[fe80::1%25eth0]::::x", "iscsi:::::", "iscsi:",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseRootPath(s)
		if err != nil {
			return
		}
		if again, err := ParseRootPath(p.String()); err != nil || again != p {
			t.Fatalf("%q: %+v prints as %q, which reads as %+v, %v", s, p, p, again, err)
		}
	})
}

// b lies at a fuzzed place around the scanned windows.
func FuzzScanMemory(f *testing.F) {
	for _, b := range foreignTables(f) {
		f.Add(uint32(0x9e220), b)
		f.Add(uint32(0x9ffe0), b)
		f.Add(uint32(0xffff0), b)
	}
	f.Fuzz(func(t *testing.T, at uint32, b []byte) {
		mem := make([]byte, scanEnd)
		copy(mem[at%scanEnd:], b)
		found, err := ScanMemory(bytes.NewReader(mem))
		if err != nil {
			t.Fatal(err)
		}
		for _, hit := range found {
			if (hit.Table == nil) == (hit.Err == nil) {
				t.Fatalf("%s: table %v, error %v", hit.Source, hit.Table, hit.Err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, raw := range foreignTables(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for name, raw := range foreignTables(b) {
		parsed, err := Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		for kind, table := range map[string]*Table{"unchanged": parsed, "values": values(parsed)} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := table.Build(BuildOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
