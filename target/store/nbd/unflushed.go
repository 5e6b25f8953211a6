package nbd

import "slices"

// entryCost is what an entry of unflushed counts beside its data.
const entryCost = 128

// unflushed is what the server has acknowledged and may still lose, in the order
// of the acknowledgements. Two changes that overlap are never under way at the
// same time, so that this is the order in which they took effect.
type unflushed struct {
	entries []change
	first   uint64 // number of entries[0]
	bytes   int64  // cost of the entries
}

// change is one write, or zeros if data is nil.
type change struct {
	off, n int64
	data   []byte
}

func (r *request) cost() int64 { return entryCost + int64(len(r.data)) }

// end is the number of the next entry.
func (u *unflushed) end() uint64 { return u.first + uint64(len(u.entries)) }

// add enters an acknowledged change; data is a copy of what it wrote.
func (u *unflushed) add(r *request, data []byte) {
	u.entries = append(u.entries, change{r.off, r.n, data})
	u.bytes += r.cost()
}

// flushed forgets the entries before a mark.
func (u *unflushed) flushed(mark uint64) {
	if mark <= u.first {
		return
	}
	n := int(mark - u.first)
	for _, c := range u.entries[:n] {
		u.bytes -= entryCost + int64(len(c.data))
	}
	u.entries = slices.Delete(u.entries, 0, n)
	u.first = mark
}
