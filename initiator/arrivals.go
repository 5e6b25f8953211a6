package initiator

import (
	"slices"

	"github.com/bootlun/bootlun/iscsi"
)

// arrivals are the sequence numbers of a kind that have come. The zero value has
// seen none and expects 0.
type arrivals struct {
	next    uint32   // after the last that is known to have been sent
	missing []uint32 // those before it that have not come, in order
	tries   int      // how often was asked for some of them
}

const (
	// maxMissing is how many PDUs may be asked for again at a time.
	maxMissing = 1024
	// maxTries is how often in a row, before the connection is given up.
	maxTries = 16
)

func (a *arrivals) reset() { a.next, a.missing, a.tries = 0, a.missing[:0], 0 }

// old reports whether a number has come before.
func (a *arrivals) old(sn uint32) bool {
	return iscsi.SNLess(sn, a.next) && !slices.Contains(a.missing, sn)
}

// upTo notes that the numbers before sn have been sent. It returns how many of them,
// the last ones, are newly missing; ok is false if these are too many.
func (a *arrivals) upTo(sn uint32) (gap uint32, ok bool) {
	if !iscsi.SNLess(a.next, sn) {
		return 0, true
	}
	gap = sn - a.next
	if int64(gap)+int64(len(a.missing)) > maxMissing {
		return gap, false
	}
	for ; a.next != sn; a.next++ {
		a.missing = append(a.missing, a.next)
	}
	return gap, true
}

// take notes that a number has come, after upTo of it.
func (a *arrivals) take(sn uint32) {
	if sn == a.next {
		a.next++
	} else if i := slices.Index(a.missing, sn); i >= 0 {
		a.missing = slices.Delete(a.missing, i, i+1)
	}
	if len(a.missing) == 0 {
		a.tries = 0
	}
}

// first returns the first number that has not come.
func (a *arrivals) first() uint32 {
	if len(a.missing) > 0 {
		return a.missing[0]
	}
	return a.next
}
