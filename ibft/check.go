package ibft

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Severity says how bad a finding is.
type Severity uint8

// The severities.
const (
	Note    Severity = iota // worth knowing, and often meant so
	Warning                 // some reader will take it otherwise than it was meant
	Error                   // it breaks the specification, or the boot
)

func severityNames() []string { return []string{"note", "warning", "error"} }

// String returns the severity's name.
func (s Severity) String() string {
	if names := severityNames(); int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("severity %d", uint8(s))
}

// MarshalText returns String's form.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severityNames(), string(text))
	if i < 0 {
		return fmt.Errorf("severity %q: not one of %v", text, severityNames())
	}
	*s = Severity(i)
	return nil
}

// Consumer names a program that reads tables, or hands them on.
type Consumer string

// The consumers whose reading is known, each from its source or its manual.
const (
	ConsumerLinux          Consumer = "linux"            // drivers/firmware/iscsi_ibft.c, 5.6 and later
	ConsumerLinuxBefore5_6 Consumer = "linux-before-5.6" // the same, before expansion slots
	ConsumerOpenISCSI      Consumer = "open-iscsi"       // iscsistart and iscsiadm, by Linux's sysfs
	ConsumerDracut         Consumer = "dracut"           // rd.iscsi.ibft, by Linux's sysfs
	ConsumerFreeBSD        Consumer = "freebsd"          // the isboot module
	ConsumerWindows        Consumer = "windows"
	ConsumerESXi           Consumer = "esxi"
	ConsumerXen            Consumer = "xen"        // acpi_firmware= of an HVM guest
	ConsumerQEMU           Consumer = "qemu"       // -acpitable
	ConsumerEarlyCPIO      Consumer = "early-cpio" // Linux's table upgrade from an initial RAM disk
)

// Consumers returns all of them.
func Consumers() []Consumer {
	return []Consumer{
		ConsumerLinux, ConsumerLinuxBefore5_6, ConsumerOpenISCSI, ConsumerDracut, ConsumerFreeBSD,
		ConsumerWindows, ConsumerESXi, ConsumerXen, ConsumerQEMU, ConsumerEarlyCPIO,
	}
}

// UnmarshalText reads the name of a known consumer.
func (c *Consumer) UnmarshalText(text []byte) error {
	if !slices.Contains(Consumers(), Consumer(text)) {
		return fmt.Errorf("consumer %q: not one of %v", text, Consumers())
	}
	*c = Consumer(text)
	return nil
}

// CheckOptions say by whose measure a table is judged. The zero value means the specification's alone.
type CheckOptions struct {
	// Consumers are asked after the specification, in this order.
	Consumers []Consumer
}

// Rule is something that Check looks at.
type Rule struct {
	// ID names the rule, and stays what it is from one release to the next.
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// Section is where the rule comes from: a section of a specification, or for a consumer its source.
	Section string `json:"section"`
	Summary string `json:"summary"`
	Remedy  string `json:"remedy"`
	// Consumers apply the rule; empty means the specification does.
	Consumers []Consumer `json:"consumers,omitzero"`
}

// Finding is one thing that Check found.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// Consumer is who takes offence; empty means the specification.
	Consumer Consumer `json:"consumer,omitzero"`
	Section  string   `json:"section"`
	// Structure is "header", "control", "initiator", "NIC", "target" or "table", and Index the structure's own.
	Structure string `json:"structure"`
	Index     uint8  `json:"index"`
	// Offset and Length are the bytes in question. They may lie outside the data where the table points there.
	Offset  int    `json:"offset"`
	Length  int    `json:"length"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
}

// Where returns the structure with its index where its kind has several: "header", "NIC 1".
func (f Finding) Where() string {
	switch f.Structure {
	case "NIC", "target":
		return fmt.Sprintf("%s %d", f.Structure, f.Index)
	}
	return f.Structure
}

// Check judges a table, which raw begins with, and returns what it finds: the specification's findings in the
// order of the structures' slots, then each consumer's. Unlike Parse it takes any bytes and goes as far as it can:
// a broken length or checksum does not hide what else is wrong. No finding holds a secret.
func Check(raw []byte, o CheckOptions) []Finding {
	c := &checker{data: raw, table: raw, rules: allRules()}
	if !c.header() {
		return c.found
	}
	c.control()
	c.layout()
	for _, e := range c.entries {
		c.structure(e)
	}
	c.together()
	for _, consumer := range o.Consumers {
		c.consumer = consumer
		c.consume()
	}
	return c.found
}

// Rules returns every rule that Check knows, the specification's first.
func Rules() []Rule {
	rules := allRules()
	return rules[:]
}

// checker judges one table.
type checker struct {
	data  []byte // all there is
	table []byte // as much of it as the header says, all of it when that cannot be
	rules [ruleCount]Rule

	slots    int      // of the control structure
	entries  []entry  // in the order of slots, one for each place
	spans    []span   // what the header and the structures cover, sorted, without overlap
	consumer Consumer // who is judging, empty for the specification
	found    []Finding
}

// entry is a structure that a slot points to and whose header lies in the table.
type entry struct {
	slot, offset int
	id           byte
	length       int // as its header says
	index, flags byte
	bytes        []byte // as long as the specification has it; nil unless it is known, whole and of that length
}

// span is a range of bytes, its end not among them.
type span struct{ start, end int }

// place is where something was found.
type place struct {
	structure string
	index     byte
	offset    int
	length    int
}

func headerAt(offset, length int) place  { return place{"header", 0, offset, length} }
func controlAt(offset, length int) place { return place{"control", 0, headerLen + offset, length} }
func tableAt(offset, length int) place   { return place{"table", 0, offset, length} }

// at returns the place of length bytes in the structure, offset bytes from its start.
func (e entry) at(offset, length int) place {
	return place{e.kind(), e.index, e.offset + offset, length}
}

// all returns the place of the whole structure.
func (e entry) all() place { return e.at(0, e.length) }

func (e entry) kind() string {
	if e.id == idControl || e.id >= idInitiator && e.id <= idTarget {
		return structureName(e.id)
	}
	return "structure"
}

func (c *checker) find(id ruleID, at place, format string, a ...any) {
	r := &c.rules[id]
	c.found = append(c.found, Finding{
		Rule: r.ID, Severity: r.Severity, Consumer: c.consumer, Section: r.Section,
		Structure: at.structure, Index: at.index, Offset: at.offset, Length: at.length,
		Message: fmt.Sprintf(format, a...), Remedy: r.Remedy,
	})
}

// header judges the header and says whether there is enough of a table to go on.
func (c *checker) header() bool {
	b := c.data
	if len(b) < headerLen+controlLen {
		c.find(tableShort, tableAt(0, len(b)), "%d bytes, a table has at least %d", len(b), headerLen+controlLen)
		return false
	}
	c.signature(Signature(b[:4]))
	c.length(binary.LittleEndian.Uint32(b[hdrLength:]))
	if rev := b[hdrRevision]; rev != 1 {
		c.find(headerRevision, headerAt(hdrRevision, 1), "revision %d, want 1", rev)
	}
	if s := sum(c.table); s != 0 {
		c.find(headerChecksum, headerAt(hdrChecksum, 1), "checksum %#02x, want %#02x", b[hdrChecksum], b[hdrChecksum]+s)
	}
	// An ACPI reader takes the first 12 of the reserved bytes for OEM revision, creator ID and creator revision.
	if rest := b[hdrACPIEnd:headerLen]; !zero(rest) {
		c.find(headerReserved, headerAt(hdrACPIEnd, len(rest)), "reserved bytes are set: %x", rest)
	}
	return true
}

func (c *checker) signature(s Signature) {
	switch {
	case !s.known():
		c.find(headerSignature, headerAt(0, 4), "signature %q, want iBFT", string(s))
	case s == SignatureBroadcom:
		c.find(headerSignatureBroadcom, headerAt(0, 4), "signature BIFT, which is Broadcom's alone")
	}
}

// length judges the table's length and cuts the table there if it can be.
func (c *checker) length(length uint32) {
	at := headerAt(hdrLength, 4)
	switch n := uint64(len(c.data)); {
	case length < headerLen+controlLen:
		c.find(headerLengthShort, at, "length %d, a table has at least %d", length, headerLen+controlLen)
		return
	case uint64(length) > n:
		c.find(headerLengthBeyond, at, "length %d, but %d bytes are at hand", length, n)
		return
	case uint64(length) < n:
		rest := c.data[length:]
		c.find(trailingData, tableAt(int(length), len(rest)), "%d bytes follow the %d of the table", len(rest), length)
	}
	c.table = c.data[:length]
	if length > maxTable {
		c.find(tableUnreachable, tableAt(maxTable, int(length)-maxTable), "%d bytes lie beyond the reach of a 16-bit offset", length-maxTable)
	}
	if length > sizeIPXE && length != sizeEDK2 {
		c.find(tableSize, headerAt(hdrLength, 4), "%d bytes: iPXE makes room for %d and edk2 for %d", length, sizeIPXE, sizeEDK2)
	}
}

// The room that two writers have for a table.
const (
	sizeIPXE = 768
	sizeEDK2 = 2048
)

func zero(b []byte) bool { return strings.Trim(string(b), "\x00") == "" }
