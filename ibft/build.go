package ibft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

const (
	// maxTable is as far as the 16-bit offsets of a table reach.
	maxTable = 0xffff
	// maxString is the most a heap string holds: names and secrets are iSCSI text values (RFC 7143, 6.1).
	maxString = 255
	// maxSlots is as many slots as the control structure's length can count.
	maxSlots = (0xffff - controlSlots) / 2
)

// BuildOptions say how a table is to be laid out. The zero value means: as it came, or as the specification asks.
type BuildOptions struct {
	Layout Layout
	// Signature takes the place of the table's own when not empty.
	Signature Signature
	// MaxSize is the most bytes the table may take; 0 means 65535, the most there can be.
	MaxSize int
}

// Build returns the table's bytes, with the right checksum. When it cannot, the error names the field that cannot
// be represented.
//
// A table that came from Parse and was not changed since builds to the bytes it came from, as long as the options
// ask for no other layout. Where all that was changed since fits in its place, the other bytes stay as they came.
func (t *Table) Build(o BuildOptions) ([]byte, error) {
	b, err := t.build(o)
	if err != nil {
		return nil, fmt.Errorf("ibft: cannot build the table: %w", err)
	}
	return b, nil
}

func (t *Table) build(o BuildOptions) ([]byte, error) {
	if o.Signature == "" {
		o.Signature = t.Signature
	}
	if o.Signature == "" {
		o.Signature = SignatureIBFT
	}
	if !o.Signature.known() {
		return nil, fmt.Errorf("signature %q is not iBFT, IBFT or BIFT", string(o.Signature))
	}
	b, err := t.layOut(o)
	if err != nil {
		return nil, err
	}
	copy(b, o.Signature)
	putChecksum(b)
	return b, nil
}

// layOut returns the table with neither signature nor checksum to rely on.
func (t *Table) layOut(o BuildOptions) ([]byte, error) {
	layout := o.Layout
	if layout == LayoutOwn && t.raw != nil {
		original, err := Parse([]byte(*t.raw))
		if err != nil {
			return nil, err
		}
		if reflect.DeepEqual(original, t) {
			return t.unchanged(o)
		}
		if b, ok := t.patch(original, o.Signature); ok && (o.MaxSize <= 0 || len(b) <= o.MaxSize) {
			return b, nil
		}
		layout = original.ownLayout()
	}
	b := builder{table: t, arrangement: layout.arrangement(), max: maxTable}
	if o.MaxSize > 0 {
		b.max = min(o.MaxSize, maxTable)
	}
	return b.build()
}

func (t *Table) unchanged(o BuildOptions) ([]byte, error) {
	if o.MaxSize > 0 && len(*t.raw) > o.MaxSize {
		return nil, fmt.Errorf("the table is %d bytes long, at most %d are wanted", len(*t.raw), o.MaxSize)
	}
	return []byte(*t.raw), nil
}

// ownLayout returns the layout that makes of the table just the bytes it came from, LayoutAligned if none does.
func (t *Table) ownLayout() Layout {
	for _, layout := range []Layout{LayoutAligned, LayoutIPXE, LayoutEDK2, LayoutPacked} {
		if b, err := t.build(BuildOptions{Layout: layout}); err == nil && string(b) == *t.raw {
			return layout
		}
	}
	return LayoutAligned
}

// builder lays a table out. The first thing that cannot be represented leaves its error in err.
type builder struct {
	table *Table
	arrangement
	max int

	out     []byte         // the table so far; for a heap that grows down, all of it
	heapTop int            // where the heap that grows down begins, and
	heapEnd int            // where it must not reach
	strings map[string]int // offsets of the strings so far
	keep    map[int]string // where there is one, strings go there by the places of their fields, and not to the heap
	err     error
}

// piece is a structure to be placed: what it is, and who fills in what follows its header. Without a fill it is
// mere room for one.
type piece struct {
	name   string
	slot   int
	id     byte
	index  byte
	flags  byte
	length int
	fill   func(s []byte, w *fieldWriter)
}

func (b *builder) build() ([]byte, error) {
	if b.size > b.max {
		return nil, fmt.Errorf("the layout takes %d bytes, at most %d are wanted", b.size, b.max)
	}
	pieces, slots, err := b.table.pieces()
	if err != nil {
		return nil, err
	}
	control := controlSlots + 2*slots
	pieces = b.order(pieces)
	offsets, end, err := b.place(pieces, headerLen+control)
	if err != nil {
		return nil, err
	}
	b.reserve(end)
	b.header()
	putStructHeader(b.out[headerLen:], piece{id: idControl, flags: byte(b.table.Control), length: control})
	for i, p := range pieces {
		if p.fill == nil {
			continue
		}
		putU16(b.out, headerLen+controlSlots+2*p.slot, uint16(offsets[i]))
		s := make([]byte, p.length)
		putStructHeader(s, p)
		p.fill(s, &fieldWriter{builder: b, structure: p.name, bytes: s})
		copy(b.out[offsets[i]:], s)
	}
	if b.err != nil {
		return nil, b.err
	}
	binary.LittleEndian.PutUint32(b.out[hdrLength:], uint32(len(b.out)))
	return b.out, nil
}

// order returns the pieces, which are in the order of their slots, in the order of their places.
func (b *builder) order(pieces []piece) []piece {
	if !b.byKind {
		return pieces
	}
	var first, nics, targets, rest []piece
	for _, p := range pieces {
		switch {
		case p.id == idNIC:
			nics = append(nics, p)
		case p.id == idTarget:
			targets = append(targets, p)
		case p.slot < slotFirstNIC:
			first = append(first, p)
		default:
			rest = append(rest, p)
		}
	}
	pairs := max(len(nics), len(targets), (fixedSlots-slotFirstNIC)/2)
	room := func(p piece, n int) []piece { return slices.Repeat([]piece{p}, pairs-n) }
	nicRoom := room(piece{name: "room for a NIC", length: nicLen}, len(nics))
	targetRoom := room(piece{name: "room for a target", length: targetLen}, len(targets))
	return slices.Concat(first, nics, nicRoom, targets, targetRoom, rest)
}

// place gives every piece its offset, and returns where the heap may begin.
func (b *builder) place(pieces []piece, start int) (offsets []int, end int, err error) {
	limit := b.max
	if b.size > 0 {
		limit = min(limit, b.size)
	}
	advance := func(name string, to int) error {
		end = (to + b.align - 1) / b.align * b.align
		if end > limit {
			return fmt.Errorf("%s does not fit: it would end at byte %d of at most %d", name, end, limit)
		}
		return nil
	}
	if err := advance("control", start); err != nil {
		return nil, 0, err
	}
	for _, p := range pieces {
		offsets = append(offsets, end)
		if err := advance(p.name, end+p.length); err != nil {
			return nil, 0, err
		}
	}
	return offsets, end, nil
}

// reserve makes room for the structures, which end at end, and where it has a fixed size for the heap.
func (b *builder) reserve(end int) {
	b.strings = make(map[string]int)
	b.out = make([]byte, max(end, b.size))
	b.heapTop, b.heapEnd = len(b.out), end
}

func (b *builder) header() {
	t, h := b.table, b.out[:headerLen]
	h[hdrRevision] = 1
	b.fixed("OEM ID", h[hdrOEMID:hdrOEMTableID], t.OEMID)
	b.fixed("OEM table ID", h[hdrOEMTableID:hdrReserved], t.OEMTableID)
	b.fixed("reserved bytes", h[hdrReserved:], string(t.Reserved))
}

func (b *builder) fixed(field string, dst []byte, s string) {
	if len(s) > len(dst) {
		b.fail("header", field, "%d bytes long, at most %d fit", len(s), len(dst))
		return
	}
	copy(dst, s)
}

func (b *builder) fail(structure, field, format string, a ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("%s: %s: %s", structure, field, fmt.Sprintf(format, a...))
	}
}

// heapString puts s and its NUL on the heap and returns its offset.
func (b *builder) heapString(structure, field, s string) int {
	if at, ok := b.strings[s]; ok && b.share {
		return at
	}
	at := len(b.out)
	if b.heapDown {
		at = b.heapTop - len(s) - 1
		if at < b.heapEnd {
			b.fail(structure, field, "does not fit: the heap has %d bytes left of the table's %d", b.heapTop-b.heapEnd, len(b.out))
			return 0
		}
		b.heapTop = at
		copy(b.out[at:], s)
	} else {
		if at+len(s)+1 > b.max {
			b.fail(structure, field, "does not fit: it would end at byte %d of at most %d", at+len(s)+1, b.max)
			return 0
		}
		b.out = append(append(b.out, s...), 0)
	}
	b.strings[s] = at
	return at
}

func putStructHeader(s []byte, p piece) {
	s[0], s[structVersion], s[structIndex], s[structFlags] = p.id, 1, p.index, p.flags
	putU16(s, structLength, uint16(p.length))
}

// fieldWriter writes the fields of one structure.
type fieldWriter struct {
	*builder
	structure string
	bytes     []byte
	ipv4      bool // the structure's addresses are IPv4
}

func (w *fieldWriter) addr(field string, at int, addr netip.Addr) {
	switch {
	case !addr.IsValid():
		if w.mapNone && w.ipv4 {
			w.bytes[at+10], w.bytes[at+11] = 0xff, 0xff
		}
	case addr.Zone() != "":
		w.fail(w.structure, field, "%s has a zone, which a table cannot hold", addr)
	default:
		a := addr.As16()
		copy(w.bytes[at:], a[:])
	}
}

func (w *fieldWriter) string(field string, at int, s string) {
	switch {
	case s == "":
	case len(s) > maxString:
		w.fail(w.structure, field, "%d bytes long, at most %d are possible", len(s), maxString)
	case strings.Contains(s, "\x00"):
		w.fail(w.structure, field, "holds a NUL byte, which would end it")
	case w.keep != nil:
		w.keep[at] = s
	default:
		putU16(w.bytes, at, uint16(len(s)))
		putU16(w.bytes, at+2, uint16(w.heapString(w.structure, field, s)))
	}
}
