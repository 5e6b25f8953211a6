package modules

import (
	"path"
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"**", "", true},
		{"?", "", false},
		{"virtio:d00000001v*", "virtio:d00000001v00001AF4", true},
		{"virtio:d00000001v*", "virtio:d00000002v00001AF4", false},
		{"pci:v00008086d0000100Esv*sd*bc*sc*i*", "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00", true},
		{"pci:v*d*sv*sd*bc0Csc03i30*", "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30", true},
		{"pci:v*d*sv*sd*bc0Csc03i20*", "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30", false},
		{"acpi*:PNP0C0F:*", "acpi:PNP0C0F:", true},
		{"acpi*:PNP0C0F:*", "acpi:LNXSYSTM:PNP0C0F:", true},
		{"acpi*:PNP0C0F:*", "acpi:PNP0C0E:", false},
		{"a*b*c", "aXbXbXc", true},
		{"a*b*c", "aXbXbX", false},
		{"*/b", "a/a/b", true}, // a star takes a slash as well
		{"scsi:t_0x0[0-7]*", "scsi:t_0x07", true},
		{"scsi:t_0x0[0-7]*", "scsi:t_0x08", false},
		{"[!a-c]", "d", true},
		{"[!a-c]", "b", false},
		{"[^a-c]", "b", false},
		{"[]x]", "]", true},
		{"[a-]", "-", true},
		{"[a", "[a", true}, // not closed: itself
		{"[a", "a", false},
		{`\*`, "*", true},
		{`\*`, "x", false},
		{`\`, `\`, true},
	}
	for _, tt := range tests {
		if got := glob(tt.pattern, tt.text); got != tt.want {
			t.Errorf("glob(%q, %q) = %v, want %v", tt.pattern, tt.text, got, tt.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"virtio-net":               "virtio_net",
		"virtio_net":               "virtio_net",
		"usb:v[0-9]-x":             "usb:v[0-9]_x",
		"platform:Fixed MDIO bus":  "platform:Fixed MDIO bus",
		"crypto-ecb(arc4)-generic": "crypto_ecb(arc4)_generic",
	} {
		if got := canonical(in); got != want {
			t.Errorf("canonical(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzGlob compares with path.Match where the two agree on the syntax, and the
// table's short cut with trying every pattern.
func FuzzGlob(f *testing.F) {
	f.Add("pci:v*d*sv*sd*bc0Csc03i30*", "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30")
	f.Add("a*b?c[0-9]", "aXXbYc7")
	f.Add("**[]]", "]")
	f.Add(`\[*`, "[x")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		got := glob(pattern, text)
		var table aliasTable
		table.add(pattern, 7)
		if found := table.match(text); got != (len(found) == 1) {
			t.Fatalf("glob(%q, %q) = %v, the table finds %v", pattern, text, got, found)
		}
		if strings.ContainsAny(pattern+text, "/!^-[]\\") || !isASCII(pattern+text) {
			return
		}
		want, err := path.Match(pattern, text)
		if err == nil && got != want {
			t.Fatalf("glob(%q, %q) = %v, path.Match says %v", pattern, text, got, want)
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

// FuzzDecode checks that an index that can be read is written as it was read.
func FuzzDecode(f *testing.F) {
	f.Add(testIndex(f).Encode())
	f.Add([]byte("bootlun-modules-1 6.1\n"))
	f.Add([]byte("bootlun-modules-1 6.1\nmodule a b\nalias "))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := Decode(data)
		if err != nil {
			return
		}
		text := x.Encode()
		again, err := Decode(text)
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		if got := again.Encode(); string(got) != string(text) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
