package ibft

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/golden"
)

// checked is one table that breaks rules.
type checked struct {
	rule   string // which Check has to find
	at     int    // and where it starts, -1 for wherever
	change func(b []byte) []byte
}

// inPlace wraps a change that leaves the table where it is.
func inPlace(change func(b []byte)) func([]byte) []byte {
	return func(b []byte) []byte { change(b); return b }
}

// putAt writes bytes at an offset.
func putAt(at int, v ...byte) func([]byte) []byte { return inPlace(func(b []byte) { copy(b[at:], v) }) }

// putU16At writes a number at an offset.
func putU16At(at, v int) func([]byte) []byte {
	return inPlace(func(b []byte) { putU16(b, at, uint16(v)) })
}

// clearAt zeroes n bytes at an offset.
func clearAt(at, n int) func([]byte) []byte { return inPlace(func(b []byte) { clear(b[at : at+n]) }) }

func grown(n int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = append(b, make([]byte, n-len(b))...)
		putLength(b, uint32(len(b)))
		return b
	}
}

// atHeap is where the first string lies.
const atHeap = 0x138

var checkCases = []checked{
	{"table-short", 0, func(b []byte) []byte { return b[:65] }},
	{"header-signature", 0, putAt(0, 'D')},
	{"header-signature-broadcom", 0, putAt(0, []byte("BIFT")...)},
	{"header-length-short", 4, inPlace(func(b []byte) { putLength(b, 65) })},
	{"header-length-beyond", 4, inPlace(func(b []byte) { putLength(b, uint32(len(b)+1)) })},
	{"header-revision", 8, putAt(8, 2)},
	{"header-checksum", 9, nil},
	{"header-reserved", 36, putAt(47, 1)},
	{"trailing-data", -1, func(b []byte) []byte { return append(b, 0) }},
	{"table-unreachable", 65535, grown(65536)},
	{"table-size", 4, grown(2049)},

	{"control-id", 48, putAt(48, 5)},
	{"control-version", 49, putAt(49, 2)},
	{"control-length", 50, putU16At(50, 17)},
	{"control-length", 50, putU16At(50, 0xffff)},
	{"control-length-odd", 50, putU16At(50, 19)},
	{"control-index", 52, putAt(52, 1)},
	{"control-flags", 53, putAt(53, 2)},
	{"control-single-login", 53, putAt(53, 1)},
	{"slot-range", 62, putU16At(62, 0xfff0)},
	{"slot-range", 62, putU16At(62, 10)},
	{"slot-duplicate", 62, putU16At(62, atNIC)},

	{"structure-id", atNIC, putAt(atNIC, 9)},
	{"structure-version", atNIC + 1, putAt(atNIC+1, 2)},
	{"structure-length-range", atNIC + 2, putU16At(atNIC+2, 0xfff0)},
	{"structure-length-range", atNIC + 2, putU16At(atNIC+2, 5)},
	{"structure-overlap", atTarget, putU16At(atNIC+2, 0x69)},
	{"structure-alignment", atNIC - 4, putU16At(58, atNIC-4)},
	{"extensions-unread", atNIC, putAt(atNIC, 5)},
	{"initiator-length", atInitiator + 2, putU16At(atInitiator+2, 73)},
	{"nic-length", atNIC + 2, putU16At(atNIC+2, 100)},
	{"target-length", atTarget + 2, putU16At(atTarget+2, 55)},
	{"index-duplicate", -1, func([]byte) []byte { return twoNICs(0) }},
	{"initiator-missing", 54, putU16At(56, 0)},
	{"initiator-duplicate", 54, inPlace(func(b []byte) { b[atNIC] = idInitiator })},
	{"nic-missing", 54, putU16At(58, 0)},
	{"target-missing", 54, putU16At(60, 0)},
	{"flags-reserved", atNIC + 5, putAt(atNIC+5, 0x83)},
	{"flags-not-valid", atNIC + 5, putAt(atNIC+5, 0)},
	{"boot-selected-not-valid", atNIC + 5, putAt(atNIC+5, 2)},
	{"boot-selected-none", 54, putAt(atTarget+5, 1)},
	{"boot-selected-several", -1, func([]byte) []byte { return twoNICs(1) }},
	{"target-not-boot-selected", -1, func([]byte) []byte {
		t := cleanSample()
		second := t.Targets[0]
		second.Index, second.Flags = 1, Valid
		t.Targets = append(t.Targets, second)
		return built(t)
	}},
	{"linux-lun", atTarget + targetLUN, putAt(atTarget+targetLUN+1, 0x10)},

	{"string-range", atNIC + nicHostname, putU16At(atNIC+nicHostname+2, 0xfff0)},
	{"string-overlap", atNIC + nicHostname, putU16At(atNIC+nicHostname+2, atTarget+50)},
	{"string-overlap", atNIC + nicHostname, putU16At(atNIC+nicHostname+2, 10)},
	{"string-too-long", atNIC + nicHostname, func(b []byte) []byte {
		at := len(b)
		b = grown(at + 300)(b)
		copy(b[at:], strings.Repeat("a", 299))
		putU16(b, atNIC+nicHostname, 299)
		putU16(b, atNIC+nicHostname+2, uint16(at))
		return b
	}},
	{"string-nul-missing", atNIC + nicHostname, putU16At(atNIC+nicHostname, 3)},
	{"string-nul-missing", atNIC + nicHostname, inPlace(func(b []byte) {
		putU16(b, atNIC+nicHostname, 1)
		putU16(b, atNIC+nicHostname+2, uint16(len(b)-1))
		b[len(b)-1] = 'a'
	})},
	{"string-nul-inside", atNIC + nicHostname, putU16At(atNIC+nicHostname, 8)},
	{"string-offset-unused", atNIC + nicHostname, putU16At(atNIC+nicHostname, 0)},
	{"string-unprintable", atInitiator + initiatorName, putAt(atHeap, 0x1b)},

	{"address-mapped-none", atNIC + nicDHCP, inPlace(func(b []byte) { clear(b[atNIC+nicDHCP+12:][:4]) })},
	{"address-unmapped", atTarget + targetIP, clearAt(atTarget+targetIP+10, 2)},
	{"address-not-unicast", atTarget + targetIP, putAt(atTarget+targetIP+12, 239)},
	{"address-not-unicast", atTarget + targetIP, inPlace(func(b []byte) { clear(b[atTarget+targetIP:][:15]); b[atTarget+targetIP+15] = 1 })},

	{"initiator-name-missing", atInitiator + initiatorName, clearAt(atInitiator+initiatorName, 4)},
	{"initiator-name-form", atInitiator + initiatorName, putAt(atHeap, 'x')},
	{"radius-server-missing", atTarget + 5, inPlace(func(b []byte) { clear(b[atInitiator+initiatorPrimaryRADIUS:][:32]); b[atTarget+5] |= 4 })},

	{"nic-address-missing", atNIC + nicIP, inPlace(func(b []byte) { clear(b[atNIC+nicIP:][:16]); b[atNIC+nicOrigin] = 1 })},
	{"nic-prefix-zero", atNIC + nicPrefixLen, putAt(atNIC+nicPrefixLen, 0)},
	{"nic-prefix-range", atNIC + nicPrefixLen, putAt(atNIC+nicPrefixLen, 33)},
	{"nic-origin", atNIC + nicOrigin, putAt(atNIC+nicOrigin, 5)},
	{"nic-origin-unchanged", atNIC + nicOrigin, putAt(atNIC+nicOrigin, 16)},
	{"nic-gateway-off-link", atNIC + nicGateway, putAt(atNIC+nicGateway+12, 10)},
	{"nic-vlan-range", atNIC + nicVLAN, putU16At(atNIC+nicVLAN, 4095)},
	{"nic-mac-form", atNIC + nicMAC, clearAt(atNIC+nicMAC, 6)},
	{"nic-global-flag", atNIC + 5, putAt(atNIC+5, 3)},
	{"nic-hostname-form", atNIC + nicHostname, func(b []byte) []byte {
		return bytes.Replace(b, []byte("\x00machine\x00"), []byte("\x00mach ne\x00"), 1)
	}},

	{"target-address-missing", atTarget + targetIP, clearAt(atTarget+targetIP, 16)},
	{"target-port-zero", atTarget + targetPort, putU16At(atTarget+targetPort, 0)},
	{"target-lun-byte-order", atTarget + targetLUN, putAt(atTarget+targetLUN, 1, 0, 0, 0, 0, 0, 0, 0)},
	{"target-chap-type", atTarget + targetCHAP, putAt(atTarget+targetCHAP, 3)},
	{"target-chap-incomplete", atTarget + targetCHAPName, clearAt(atTarget+targetCHAPName, 4)},
	{"target-reverse-chap-incomplete", atTarget + targetReverseCHAPName, clearAt(atTarget+targetReverseCHAPSecret, 4)},
	{"target-chap-unused", atTarget + targetCHAP, putAt(atTarget+targetCHAP, 1)},
	{"target-chap-same-secret", atTarget + targetReverseCHAPSecret, inPlace(func(b []byte) {
		copy(b[atTarget+targetReverseCHAPSecret:], b[atTarget+targetCHAPSecret:][:4])
	})},
	{"target-chap-secret-short", atTarget + targetCHAPSecret, inPlace(func(b []byte) {
		putU16(b, atTarget+targetCHAPSecret, getU16(b, atTarget+targetCHAPName))
		putU16(b, atTarget+targetCHAPSecret+2, getU16(b, atTarget+targetCHAPName+2))
	})},
	{"target-nic-association", atTarget + targetNIC, putAt(atTarget+targetNIC, 7)},
	{"target-nic-not-valid", atTarget + targetNIC, putAt(atNIC+5, 2)},
	{"target-family", atTarget + targetIP, putAt(atTarget+targetIP, 0x20, 1)},
	{"target-name-missing", atTarget + targetName, clearAt(atTarget+targetName, 4)},
	{"target-name-form", atTarget + targetName, func(b []byte) []byte {
		return bytes.Replace(b, []byte("example:disk0"), []byte("example:disk_"), 1)
	}},

	{"linux-refuses", 8, putAt(8, 2)},
	{"linux-refuses", 52, putAt(52, 1)},
	{"linux-refuses", 0, putAt(0, 'D')},
	{"linux-refuses", 4, inPlace(func(b []byte) { putLength(b, uint32(len(b)+1)) })},
	{"linux-refuses", 48, putAt(48, 5)},
	{"linux-refuses", 50, putU16At(50, 17)},
	{"linux-index-clash", -1, func([]byte) []byte { return twoNICs(0) }},
	{"linux-skips", atNIC + 2, putU16At(atNIC+2, 100)},
	{"linux-slot-range", 58, putU16At(58, 0xfff0)},
	{"linux-slot-tail", 58, func(b []byte) []byte { putU16(b, 58, uint16(len(b)-48)); return b }},
	{"linux-string-beyond", atNIC + nicHostname, putU16At(atNIC+nicHostname+2, 0xfff0)},
	{"linux-secret-hidden", atTarget + targetCHAPName, clearAt(atTarget+targetCHAPName, 4)},
	{"linux-scan-signature", 0, putAt(0, 'I')},
	{"linux-before-5.6-expansion", 50, putU16At(50, 20)},
	{"open-iscsi-no-initiator", 54, putU16At(56, 0)},
	{"open-iscsi-no-boot-entry", 54, putAt(atNIC+5, 1)},
	{"open-iscsi-flags-zero", atNIC + 5, putAt(atNIC+5, 0)},
	{"open-iscsi-nic-association", atTarget + targetNIC, putAt(atTarget+targetNIC, 7)},
	{"open-iscsi-target-name", atTarget + targetName, clearAt(atTarget+targetName, 4)},
	{"dracut-nic-flags", atNIC + 5, putAt(atNIC+5, 2)},
	{"dracut-dhcp-server", atNIC + nicDHCP, putAt(atNIC+nicOrigin, 1)},
	{"dracut-static", atNIC + nicPrefixLen, inPlace(func(b []byte) { b[atNIC+nicPrefixLen], b[atNIC+nicOrigin] = 0, 1; clear(b[atNIC+nicDHCP:][:16]) })},
	{"dracut-no-address", atNIC + nicIP, inPlace(func(b []byte) { clear(b[atNIC+nicIP:][:16]); clear(b[atNIC+nicDHCP:][:16]); b[atNIC+nicOrigin] = 1 })},
	{"dracut-vlan", atNIC + nicVLAN, nil},
	{"freebsd-refuses", 9, nil},
	{"freebsd-refuses", 48, putAt(48, 5)},
	{"freebsd-signature", 0, putAt(0, []byte("BIFT")...)},
	{"freebsd-slots", 58, inPlace(func(b []byte) { putU16(b, 58, atTarget); putU16(b, 60, atNIC) })},
	{"freebsd-expansion", 66, func([]byte) []byte { return built(sample(3)) }},
	{"windows-secret-length", atTarget + targetCHAPSecret, putU16At(atTarget+targetCHAPSecret, 11)},
	{"windows-gateway", atNIC + nicGateway, nil},
	{"esxi-failover", 54, func([]byte) []byte { return twoNICs(1) }},
	{"esxi-ipv6", -1, func([]byte) []byte { return twoNICs(1) }},
	{"xen-length", 4, inPlace(func(b []byte) { putLength(b, uint32(len(b)+1)) })},
	{"xen-checksum", 9, nil},
	{"xen-trailing", -1, func(b []byte) []byte { return append(b, 0) }},
	{"xen-size", 0, grown(4097)},
	{"qemu-size", 65535, grown(65536)},
	{"qemu-checksum", 9, nil},
	{"early-cpio-signature", 0, nil},
	{"early-cpio-length", 4, func(b []byte) []byte { return append(b, 0) }},
	{"early-cpio-checksum", 9, nil},
}

// cleanSample returns a sample table that has nothing wrong with it.
func cleanSample() *Table {
	t := sample(1)
	t.Control = 0
	return t
}

func built(t *Table) []byte {
	b, err := t.Build(BuildOptions{})
	if err != nil {
		panic(err)
	}
	return b
}

// twoNICs returns a table with two NICs and targets, the second ones of the given index.
func twoNICs(index uint8) []byte {
	t := sample(2)
	t.NICs[1].Index, t.Targets[1].Index, t.Targets[1].NIC = index, index, index
	return built(t)
}

func mend(b []byte) {
	if len(b) >= headerLen {
		n := min(int(binary.LittleEndian.Uint32(b[hdrLength:])), len(b))
		if n < headerLen+controlLen {
			n = len(b)
		}
		b[hdrChecksum] += sum(b[:n])
	}
}

// Each rule is found where it is broken, and by nobody but those who apply it.
func TestCheckRules(t *testing.T) {
	seen := make(map[string]bool)
	for _, tt := range checkCases {
		seen[tt.rule] = true
		t.Run(tt.rule, func(t *testing.T) {
			b := built(cleanSample())
			if tt.change != nil {
				b = tt.change(b)
			}
			if mend(b); strings.HasSuffix(tt.rule, "-checksum") || tt.rule == "freebsd-refuses" && tt.at == 9 {
				b[hdrChecksum]++
			}
			found := Check(b, CheckOptions{Consumers: Consumers()})
			i := slices.IndexFunc(found, func(f Finding) bool { return f.Rule == tt.rule && (tt.at < 0 || f.Offset == tt.at) })
			if i < 0 {
				t.Fatalf("not found at %#x among:\n%s", tt.at, listFindings(found))
			}
			if f := found[i]; f.Message == "" || f.Remedy == "" || f.Section == "" || f.Structure == "" || f.Length == 0 {
				t.Errorf("found without a word: %+v", f)
			}
		})
	}
	for _, r := range Rules() {
		if !seen[r.ID] {
			t.Errorf("rule %s: no case", r.ID)
		}
		if r.ID == "" || r.Section == "" || r.Summary == "" || r.Remedy == "" {
			t.Errorf("rule %+v: incomplete", r)
		}
	}
}

func listFindings(found []Finding) string {
	var s strings.Builder
	for _, f := range found {
		fmt.Fprintf(&s, "%s %s %s %#x+%d %s: %s: %s\n", f.Severity, f.Consumer, f.Rule, f.Offset, f.Length, f.Where(), f.Section, f.Message)
	}
	return s.String()
}

func TestRulesAreOfOneName(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range Rules() {
		if seen[r.ID] {
			t.Errorf("rule %s twice", r.ID)
		}
		seen[r.ID] = true
		for _, consumer := range r.Consumers {
			if !slices.Contains(Consumers(), consumer) {
				t.Errorf("rule %s: consumer %s is unknown", r.ID, consumer)
			}
		}
	}
}

// A finding is of a consumer who was asked and who applies the rule.
func TestCheckAsksOnlyConsumersNamed(t *testing.T) {
	rules := make(map[string]Rule)
	for _, r := range Rules() {
		rules[r.ID] = r
	}
	b := built(sample(3))
	b[hdrChecksum]++
	putU16(b, atNIC+2, 100)
	for _, consumer := range append(Consumers(), "") {
		for _, f := range Check(b, CheckOptions{Consumers: []Consumer{consumer}}) {
			if f.Consumer == "" && rules[f.Rule].Consumers == nil {
				continue
			}
			if f.Consumer != consumer || !slices.Contains(rules[f.Rule].Consumers, consumer) {
				t.Errorf("%q was asked: %s of %q", consumer, f.Rule, f.Consumer)
			}
		}
	}
}

func TestCheckClean(t *testing.T) {
	for _, layout := range []Layout{LayoutAligned, LayoutIPXE} {
		b, err := cleanSample().Build(BuildOptions{Layout: layout})
		if err != nil {
			t.Fatal(err)
		}
		if found := Check(b, CheckOptions{}); len(found) != 0 {
			t.Errorf("%s:\n%s", layout, listFindings(found))
		}
	}
	table := cleanSample()
	table.NICs[0].Gateway = netip.Addr{}
	table.Targets[0].CHAPSecret, table.Targets[0].ReverseCHAPSecret = "0123456789abcdef", "fedcba987654"
	b, err := table.Build(BuildOptions{Signature: SignatureACPI})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Check(b, CheckOptions{Consumers: Consumers()}) {
		if f.Severity > Note {
			t.Errorf("%s", listFindings([]Finding{f}))
		}
	}
}

// Tables of other writers are judged as the files beside them say.
func TestCheckGolden(t *testing.T) {
	tables := foreignTables(t)
	maps.Copy(tables, tablesIn(t, "broken"))
	for name, b := range tables {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".check")
			got := listFindings(Check(b, CheckOptions{Consumers: Consumers()}))
			golden.Compare(t, file, got)
		})
	}
}

// No finding tells a secret.
func TestCheckKeepsSecrets(t *testing.T) {
	table := cleanSample()
	table.Targets[0].CHAPSecret, table.Targets[0].ReverseCHAPSecret = "hush", "hush"
	table.Targets[0].CHAP = CHAPNone
	b, err := json.Marshal(Check(built(table), CheckOptions{Consumers: Consumers()}))
	if err != nil || bytes.Contains(b, []byte("hush")) {
		t.Errorf("%v, %s", err, b)
	}
}

func TestFindingJSON(t *testing.T) {
	b := built(cleanSample())
	b[hdrChecksum]++
	want := Check(b, CheckOptions{Consumers: []Consumer{ConsumerLinux}})
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got []Finding
	if err := json.Unmarshal(text, &got); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s reads as %+v, %v", text, got, err)
	}
	for _, bad := range []string{`[{"severity":"dire"}]`, `[{"consumer":"vms"}]`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s reads", bad)
		}
	}
}

// Whatever parses has no error of the header's, and whatever Check calls free of errors parses.
func FuzzCheck(f *testing.F) {
	for _, b := range foreignTables(f) {
		f.Add(b)
	}
	for _, tt := range checkCases {
		if b := built(cleanSample()); tt.change != nil && len(b) < 1024 {
			f.Add(tt.change(b))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, mended(b)} {
			errs := 0
			for _, f := range Check(b, CheckOptions{Consumers: Consumers()}) {
				if f.Severity == Error && f.Consumer == "" {
					errs++
				}
				if f.Offset < 0 || f.Length < 0 {
					t.Fatalf("found at no place: %+v", f)
				}
			}
			if _, err := Parse(b); err != nil && errs == 0 {
				t.Fatalf("nothing found, and it does not parse: %v", err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	tables := foreignTables(b)
	tables["worst"] = worst()
	for name, raw := range tables {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				Check(raw, CheckOptions{Consumers: Consumers()})
			}
		})
	}
}

// worst returns the longest table there can be, of slots that each point to another offset.
func worst() []byte {
	b := make([]byte, maxTable)
	for i := range b {
		b[i] = idTarget
	}
	copy(b, SignatureIBFT)
	putLength(b, uint32(len(b)))
	b[hdrRevision] = 1
	copy(b[headerLen:], []byte{idControl, 1, 0xff, 0x7f, 0, 0})
	for i := headerLen + controlSlots; i+2 <= 0x7fff; i += 2 {
		putU16(b, i, uint16(0x8000+i))
	}
	putChecksum(b)
	return b
}
