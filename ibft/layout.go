package ibft

import "fmt"

// Layout is where Build puts things. Readers accept all of them.
type Layout uint8

// The layouts.
const (
	// LayoutOwn is that of the writer a parsed table came from where it is one of those below; else
	// LayoutAligned.
	LayoutOwn Layout = iota
	// LayoutAligned aligns structures to 8 bytes, as the specification asks (iBFT, 1.4.4.4), puts the heap after
	// them, and keeps equal strings once.
	LayoutAligned
	// LayoutIPXE is iPXE's: structures aligned to 16 bytes, all NICs before all targets, room for as many of the one
	// as of the other and for two at least, the heap after them.
	LayoutIPXE
	// LayoutEDK2 is edk2's: 2048 bytes in any case, structures aligned to 8 bytes, the heap growing down from
	// the end, the absent addresses of an IPv4 NIC written as ::ffff:0.0.0.0.
	LayoutEDK2
	// LayoutPacked leaves no gap anywhere.
	LayoutPacked
)

func layoutNames() []string { return []string{"own", "aligned", "ipxe", "edk2", "packed"} }

// String returns the layout's name.
func (l Layout) String() string {
	if names := layoutNames(); int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("layout %d", uint8(l))
}

// MarshalText returns String's form.
func (l Layout) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a name.
func (l *Layout) UnmarshalText(text []byte) error {
	for i, name := range layoutNames() {
		if name == string(text) {
			*l = Layout(i)
			return nil
		}
	}
	return fmt.Errorf("layout %q: not one of %v", text, layoutNames())
}

// arrangement is what tells one layout from another.
type arrangement struct {
	align    int  // of structures
	size     int  // of the whole table, 0 for as long as it needs to be
	heapDown bool // the heap grows down from size
	share    bool // equal strings are kept once
	mapNone  bool // an absent address of an IPv4 NIC is ::ffff:0.0.0.0
	byKind   bool // NICs lie before targets, both with room for as many as there are pairs of slots
}

func (l Layout) arrangement() arrangement {
	switch l {
	case LayoutIPXE:
		return arrangement{align: 16, byKind: true}
	case LayoutEDK2:
		return arrangement{align: 8, size: 2048, heapDown: true, mapNone: true}
	case LayoutPacked:
		return arrangement{align: 1}
	default:
		return arrangement{align: 8, share: true}
	}
}
