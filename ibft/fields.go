package ibft

import "fmt"

// Field is a range of a table's bytes and what it means.
type Field struct {
	Offset int `json:"offset"`
	Length int `json:"length"`
	// Structure is "header", "control", "initiator", "NIC 1" (with its index), "target 0", "heap", or empty for
	// bytes that belong to none.
	Structure string `json:"structure,omitzero"`
	// Name is the field's: "prefix length", for the heap what the string is: "target 0 name". Bytes that nothing
	// points to are "padding" when zero, else "unknown"; what follows the table is "beyond the table".
	Name string `json:"name"`
	// Value is the field's value as people read it, empty for padding and a mask for a secret.
	Value string `json:"value,omitzero"`
	// Secret says that some of the bytes are a CHAP secret's: do not print them.
	Secret bool `json:"secret,omitzero"`
}

// Fields says what each byte of raw means, in their order: every byte is in one field. Like Check it takes any
// bytes and labels what it can. Where structures overlap, the one of the lower slot has the bytes; structures come
// before strings.
func Fields(raw []byte) []Field {
	c := &checker{data: raw, table: raw, rules: allRules()}
	if c.header() {
		c.control()
	}
	m := mapper{checker: c, owner: make([]int32, len(raw)), next: make([]int32, len(raw)+1)}
	for i := range m.next {
		m.next[i] = int32(i)
	}
	m.structures()
	m.strings()
	return m.fields()
}

// mapper gives each byte to the first label that claims it.
type mapper struct {
	*checker
	labels []label
	owner  []int32 // by byte: its label's number plus one, 0 for none
	next   []int32 // by byte: where the first byte without an owner may be, at or after it
	secret []span
}

// label is a claim to bytes. Its value is read only if it gets some.
type label struct {
	structure, name string
	start           int
	value           func() string
}

// claim gives a label those of the bytes from start to end that have none yet.
func (m *mapper) claim(l label, end int) {
	m.labels = append(m.labels, l)
	n := int32(len(m.labels))
	for i := m.free(l.start); i < min(end, len(m.owner)); i = m.free(i) {
		m.owner[i] = n
		m.next[i] = int32(i + 1)
	}
}

// free returns the first byte without an owner at or after i, and remembers the way: all claims together take
// nearly linear time however they overlap.
func (m *mapper) free(i int) int {
	if i >= len(m.owner) {
		return len(m.owner)
	}
	root := int32(i)
	for m.next[root] != root {
		root = m.next[root]
	}
	for at := int32(i); m.next[at] != at; {
		at, m.next[at] = m.next[at], root
	}
	return int(root)
}

func (m *mapper) structures() {
	if len(m.data) < headerLen {
		return
	}
	m.part("header", 0, m.data[:headerLen], headerFields())
	if m.slots > 0 {
		b := m.table[headerLen:][:controlSlots+2*m.slots]
		m.part("control", headerLen, b, append(structFields(func(b byte) string { return ControlFlags(b).String() }), slotFields(m.slots)...))
	}
	for _, e := range m.entries {
		name := fmt.Sprintf("%s %d", e.kind(), e.index)
		if e.id == idInitiator {
			name = e.kind()
		}
		if e.bytes != nil {
			m.part(name, e.offset, e.bytes, fieldsOf(e.id))
			continue
		}
		b := m.table[e.offset:]
		m.part(name, e.offset, b[:structHdrLen], structFields(flagNumber))
		if rest := b[structHdrLen:min(max(e.length, structHdrLen), len(b))]; len(rest) > 0 {
			m.part(name, e.offset, b, []fieldSpec{{structHdrLen, len(rest), "not understood", asHex}})
		}
	}
}

// part claims the fields of b, which lies at offset.
func (m *mapper) part(structure string, offset int, b []byte, fields []fieldSpec) {
	for _, f := range fields {
		v := b[f.at:][:f.length]
		m.claim(label{structure, f.name, offset + f.at, func() string { return f.value(v) }}, offset+f.at+f.length)
	}
}

// strings claims what the structures point to in the heap.
func (m *mapper) strings() {
	seen := make(map[span]bool)
	for _, e := range m.entries {
		b := m.table[e.offset:]
		if len(b) < specLength(e.id) {
			continue
		}
		owner := fmt.Sprintf("%s %d", e.kind(), e.index)
		for _, f := range stringFields(e.id) {
			length, offset := int(getU16(b, f.at)), int(getU16(b, f.at+2))
			s := span{offset, min(offset+length, len(m.table))}
			if s.start >= s.end {
				continue
			}
			if f.secret { // whatever the structure is worth otherwise
				m.secret = append(m.secret, s)
			}
			if e.bytes == nil || seen[s] {
				continue
			}
			seen[s] = true
			m.heapString(owner+" "+f.name, s)
		}
	}
}

func (m *mapper) heapString(name string, s span) {
	b := m.table[s.start:s.end]
	m.claim(label{"heap", name, s.start, func() string { return asText(b) }}, s.end)
	if s.end < len(m.table) && m.table[s.end] == 0 {
		m.claim(label{"heap", "NUL", s.end, func() string { return "" }}, s.end+1)
	}
}

// secrets says of each byte whether it is a secret's.
func (m *mapper) secrets() []bool {
	change := make([]int32, len(m.data)+1)
	for _, s := range m.secret {
		change[s.start]++
		change[s.end]--
	}
	secret := make([]bool, len(m.data))
	var depth int32
	for i := range secret {
		depth += change[i]
		secret[i] = depth > 0
	}
	return secret
}

// fields joins the bytes of one owner.
func (m *mapper) fields() []Field {
	var fields []Field
	secret := m.secrets()
	for start := 0; start < len(m.owner); {
		end := start + 1
		for end < len(m.owner) && m.owner[end] == m.owner[start] && (m.owner[end] > 0 || secret[end] == secret[start] &&
			(end >= len(m.table)) == (start >= len(m.table))) {
			end++
		}
		f := m.field(start, end)
		for _, s := range secret[start:end] {
			f.Secret = f.Secret || s
		}
		if f.Secret {
			f.Value = mask
		}
		fields = append(fields, f)
		start = end
	}
	return fields
}

func (m *mapper) field(start, end int) Field {
	f := Field{Offset: start, Length: end - start}
	if n := m.owner[start]; n > 0 {
		l := m.labels[n-1]
		f.Structure, f.Name = l.structure, l.name
		if l.start == start {
			f.Value = l.value()
		} else {
			f.Name += ", continued"
		}
		return f
	}
	switch b := m.data[start:end]; {
	case start >= len(m.table):
		f.Name = "beyond the table"
	case zero(b):
		f.Name = "padding"
	default:
		f.Name, f.Value = "unknown", fmt.Sprintf("%d bytes", len(b))
	}
	return f
}
