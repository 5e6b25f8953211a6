package initiator

import "slices"

// span is the bytes from lo up to but not including hi.
type span struct{ lo, hi uint32 }

// extents are the parts of a buffer that have been received: sorted, disjoint, and
// joined where they touch.
type extents []span

// maxExtents bounds the holes that a target may leave while it sends out of order.
const maxExtents = 1024

// add adds a part, which must not be empty. It fails if a byte of it is there
// already, or there are too many holes.
func (e *extents) add(lo, hi uint32) bool {
	list := *e
	i, _ := slices.BinarySearchFunc(list, lo, func(s span, lo uint32) int {
		if s.lo < lo {
			return -1
		}
		return 1
	})
	after, before := i < len(list), i > 0
	if after && list[i].lo < hi || before && list[i-1].hi > lo {
		return false
	}
	after, before = after && list[i].lo == hi, before && list[i-1].hi == lo
	switch {
	case after && before:
		list[i-1].hi = list[i].hi
		*e = slices.Delete(list, i, i+1)
	case before:
		list[i-1].hi = hi
	case after:
		list[i].lo = lo
	case len(list) == maxExtents:
		return false
	default:
		*e = slices.Insert(list, i, span{lo, hi})
	}
	return true
}

// prefix returns how many bytes from the buffer's start on are there; holes says
// that there are others behind.
func (e extents) prefix() (n int, holes bool) {
	if len(e) == 0 {
		return 0, false
	}
	if e[0].lo != 0 {
		return 0, true
	}
	return int(e[0].hi), len(e) > 1
}
