package ibft

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func decodeOne(t *testing.T, data []byte) Found {
	t.Helper()
	found, err := Decode(data)
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v, %v; want one table", sources(found), err)
	}
	return found[0]
}

// What real programs printed of a table is that table.
func TestDecodeSamples(t *testing.T) {
	want := foreignTables(t)["ipxe-chap"]
	for file, source := range map[string]string{
		"ipxe-chap.xxd": "xxd", "ipxe-chap.hex": "hex", "ipxe-chap.hexdump": "hexdump -C",
		"ipxe-chap.acpidump": "acpidump of 0x0000000000000000", "../ipxe-chap.bin": "",
	} {
		b, err := os.ReadFile(filepath.Join("testdata/sources", file))
		if err != nil {
			t.Fatal(err)
		}
		for ending, text := range map[string][]byte{"LF": b, "CRLF": bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))} {
			want := want
			switch {
			case source == "" && ending == "CRLF":
				continue
			case strings.HasPrefix(source, "acpidump"):
				want = mustBuild(t, mustParse(t, want), BuildOptions{Signature: SignatureACPI})
			}
			f := decodeOne(t, text)
			if !bytes.Equal(f.Raw, want) || f.Err != nil || f.Source != source {
				t.Errorf("%s, %s: source %q, error %v, %d bytes, want %d", file, ending, f.Source, f.Err, len(f.Raw), len(want))
			}
		}
	}
}

// The programs themselves, on every table at hand.
func TestDecodePrograms(t *testing.T) {
	for _, args := range [][]string{
		{"xxd"}, {"xxd", "-u"}, {"xxd", "-g1"}, {"xxd", "-c", "32"}, {"xxd", "-p"}, {"hexdump", "-C"}, {"hexdump", "-Cv"}, {"acpidump", "-f"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skipf("SKIP: needs %s (apt install xxd bsdextrautils acpica-tools)", args[0])
			}
			for name, want := range foreignTables(t) {
				file := filepath.Join("testdata", name+".bin")
				if args[0] == "acpidump" { // it knows IBFT only
					want = mustBuild(t, mustParse(t, want), BuildOptions{Signature: SignatureACPI})
					file = filepath.Join(t.TempDir(), "table")
					if err := os.WriteFile(file, want, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				out, err := exec.CommandContext(t.Context(), args[0], append(args[1:], file)...).Output()
				if err != nil {
					t.Fatal(err)
				}
				if f := decodeOne(t, out); !bytes.Equal(f.Raw, want) {
					t.Errorf("%s: %d bytes, want %d", name, len(f.Raw), len(want))
				}
			}
		})
	}
}

func TestDecodeBroken(t *testing.T) {
	b := foreignTables(t)["ipxe-plain"]
	b[hdrChecksum]++
	if f := decodeOne(t, []byte(hex.EncodeToString(b))); f.Err == nil || !bytes.Equal(f.Raw, b) {
		t.Errorf("a table with a bad checksum: %+v", f)
	}
	if f := decodeOne(t, []byte{1, 2, 3}); f.Err == nil || len(f.Raw) != 3 {
		t.Errorf("no table at all: %+v", f)
	}
	for text, want := range map[string]string{
		"what is this":                         "neither hexadecimal",
		"00000000: 6942 4654\n00000010: 00":    "line 2: address 0x10, want 0x4",
		"00000000: 6942 465":                   "line 1: encoding/hex",
		"00000000: 6942 4654\nand so on":       `line 2: no address and bytes in "and so on"`,
		"00000000  69 42  |iB|\n*\nffffffff\n": "line 3: address 0xffffffff behind an asterisk is out of reach",
		"00000000: 6942\n*\n00000000: 6942":    "line 3: address 0x0, want 0x2",
		"iBFT @ 0x0\n  0000: 69 42 4z":         "acpidump: table iBFT",
		"\x7fELF":                              "ELF core",
	} {
		if found, err := Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", text, sources(found), err, want)
		}
	}
}

// acpi returns memory with an RSDP at one address, its root table at 0x110000, and the tables that it names behind.
func acpi(t *testing.T, rsdp int, revision byte, tables ...[]byte) []byte {
	t.Helper()
	const root = 0x110000
	mem := make([]byte, 0x130000)
	width, name := 4, "RSDT"
	if revision >= 2 {
		width, name = 8, "XSDT"
	}
	at := root + 0x1000
	end := root + acpiHeaderLen
	for _, b := range tables {
		binary.LittleEndian.PutUint32(mem[end:], uint32(at))
		end += width
		copy(mem[at:], b)
		at += (len(b) + 63) / 64 * 64
	}
	copy(mem[root:], name)
	binary.LittleEndian.PutUint32(mem[root+hdrLength:], uint32(end-root))
	p := mem[rsdp:]
	copy(p, rsdpSignature)
	p[rsdpRevision] = revision
	binary.LittleEndian.PutUint32(p[rsdpRSDT+4*int(revision/2*2):], root)
	p[8] = sum(p[:rsdpMinLen])
	return mem
}

func TestDecodeMemoryImage(t *testing.T) {
	b := foreignTables(t)["ipxe-chap"]
	other := mustBuild(t, mustParse(t, b), BuildOptions{Signature: SignatureACPI})
	facp := append([]byte("FACP\x28\x00\x00\x00"), make([]byte, 32)...)
	low := memory(map[int][]byte{0x9e220: b})
	for name, tt := range map[string]struct {
		mem  []byte
		want []string
	}{
		"low memory":   {low, []string{"memory image, memory at 0x9e220"}},
		"RSDT":         {acpi(t, 0xf5a40, 0, facp, other), []string{"memory image, ACPI table at 0x111040"}},
		"XSDT":         {acpi(t, 0x120000, 2, other, facp, b), []string{"memory image, ACPI table at 0x111000", "memory image, ACPI table at 0x1112c0"}},
		"not aligned":  {acpi(t, 0xf5a48, 0, other), nil},
		"one twice":    {acpi(t, 0xf5a40, 0, other), []string{"memory image, ACPI table at 0x111000"}},
		"no ACPI iBFT": {acpi(t, 0xf5a40, 0, facp), nil},
	} {
		if name == "one twice" {
			copy(tt.mem[0xe0000:], tt.mem[0xf5a40:][:rsdpMinLen])
		}
		found, err := Decode(tt.mem)
		if !slices.Equal(sources(found), tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%s: %v, %v; want %v", name, sources(found), err, tt.want)
		}
		for _, f := range found {
			if f.Err != nil || !bytes.Contains(tt.mem, f.Raw) || len(f.Raw) != len(b) {
				t.Errorf("%s: %s: %v", name, f.Source, f.Err)
			}
		}
	}
}

// core wraps memory in an ELF core of two segments, which part at the given address.
func core(mem []byte, part int) []byte {
	const header, program = 64, 56
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	le := func(v ...any) {
		for _, v := range v {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	le(uint16(4), uint16(62), uint32(1), uint64(0), uint64(header), uint64(0), uint32(0),
		uint16(header), uint16(program), uint16(2), uint16(0), uint16(0), uint16(0))
	offset := header + 2*program
	for _, s := range [][2]int{{0, part}, {part, len(mem)}} {
		size := uint64(s[1] - s[0])
		le(uint32(1), uint32(0), uint64(offset+s[0]), uint64(0), uint64(s[0]), size, size, uint64(0))
	}
	b.Write(mem)
	return b.Bytes()
}

func TestDecodeCore(t *testing.T) {
	b := foreignTables(t)["ipxe-chap"]
	mem := acpi(t, 0xf5a40, 0, b)
	copy(mem[0x9e220:], b)
	want := []string{"ELF core, memory at 0x9e220", "ELF core, ACPI table at 0x111000"}
	for _, part := range []int{0xa0000, 0x9e300, 0x100000} {
		found, err := Decode(core(mem, part))
		if err != nil || !slices.Equal(sources(found), want) {
			t.Errorf("parted at %#x: %v, %v; want %v", part, sources(found), err, want)
		}
		for _, f := range found {
			if !bytes.Equal(f.Raw, b) || f.Err != nil {
				t.Errorf("parted at %#x: %s: %v", part, f.Source, f.Err)
			}
		}
	}
	whole := core(mem, 0xa0000)
	if found, err := Decode(whole[:0x1000]); err == nil {
		t.Errorf("cut: %v", sources(found))
	}
}

func FuzzDecode(f *testing.F) {
	names, err := filepath.Glob("testdata/sources/*.*")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(core([]byte("iBFT"), 2))
	f.Add([]byte("00000000  69 42  |iB|\n*\n00000010"))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := Decode(b)
		if (err == nil) != (len(found) > 0) {
			t.Fatalf("found %v, %v", sources(found), err)
		}
		for _, hit := range found {
			if (hit.Table == nil) == (hit.Err == nil) {
				t.Fatalf("%s: table %v, error %v", hit.Source, hit.Table, hit.Err)
			}
		}
	})
}
