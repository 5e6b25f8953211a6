package target

// spans is which bytes of a burst have arrived: a run from its beginning, and
// pieces behind it, in order and apart from each other. The zero value is none.
type spans struct {
	run    int64
	pieces []span
}

// span is the bytes from..to-1.
type span struct{ from, to int64 }

// maxPieces bounds the pieces, and so what a sender of tiny PDUs in the worst
// order costs.
const maxPieces = 1024

// add adds bytes that are not there yet. It reports false if some are, or if the
// set would have too many pieces.
func (s *spans) add(from, to int64) bool {
	if from == to {
		return true
	}
	at := 0
	for at < len(s.pieces) && s.pieces[at].to <= from {
		at++
	}
	if from < s.run || at < len(s.pieces) && s.pieces[at].from < to {
		return false
	}
	if from == s.run {
		s.run = to
		s.join()
		return true
	}
	if at > 0 && s.pieces[at-1].to == from {
		s.pieces[at-1].to = to
	} else if len(s.pieces) == maxPieces {
		return false
	} else {
		s.pieces = append(s.pieces, span{})
		copy(s.pieces[at+1:], s.pieces[at:])
		s.pieces[at] = span{from, to}
		at++
	}
	if at < len(s.pieces) && s.pieces[at-1].to == s.pieces[at].from {
		s.pieces[at-1].to = s.pieces[at].to
		s.pieces = append(s.pieces[:at], s.pieces[at+1:]...)
	}
	return true
}

// join adds the pieces to the run that it has reached.
func (s *spans) join() {
	n := 0
	for n < len(s.pieces) && s.pieces[n].from == s.run {
		s.run = s.pieces[n].to
		n++
	}
	if n > 0 {
		s.pieces = s.pieces[n:]
	}
}

// has reports whether any of the bytes is there.
func (s *spans) has(from, to int64) bool {
	if from < to && from < s.run {
		return true
	}
	for _, p := range s.pieces {
		if from < to && from < p.to && p.from < to {
			return true
		}
	}
	return false
}

// hole returns the first bytes that are missing before end: none if from is end.
func (s *spans) hole(end int64) span {
	h := span{min(s.run, end), end}
	if len(s.pieces) > 0 {
		h.to = min(end, s.pieces[0].from)
	}
	return h
}
