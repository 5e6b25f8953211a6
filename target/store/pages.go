package store

import (
	"sync"
	"sync/atomic"
)

const (
	leafPages = 512 // pages one leaf of the table names
	stripes   = 64  // locks that pages share
)

// pages is a sparse array of bytes in memory, kept in pages of one size, over a
// backing that says what an absent page holds. Pages are found by a table of
// two levels, so that an empty store of terabytes costs megabytes.
//
// A page and its slot in the table are guarded by the page's stripe. Leaves are
// only ever added.
type pages struct {
	size   int64
	shift  uint   // log2 of the page size
	blank  []byte // a page of zeros over the backing: it marks, and is never written
	root   []atomic.Pointer[leaf]
	held   atomic.Int64 // bytes of pages held
	stripe [stripes]sync.RWMutex
}

type leaf [leafPages][]byte

// backing fills p with what lies at off where no page is held.
type backing func(p []byte, off int64) error

func newPages(size int64, shift uint) *pages {
	perLeaf := int64(leafPages) << shift
	return &pages{
		size:  size,
		shift: shift,
		blank: make([]byte, 1<<shift),
		root:  make([]atomic.Pointer[leaf], (size+perLeaf-1)/perLeaf),
	}
}

// span is the part of a transfer that falls into one page.
type span struct {
	page  int64
	start int // within the page
	n     int
}

func (s *pages) spanAt(off, n int64) span {
	page := off >> s.shift
	start := off & (1<<s.shift - 1)
	return span{page, int(start), int(min(n, 1<<s.shift-start))}
}

// whole tells whether a span takes in all of its page that is in the store.
func (s *pages) whole(sp span) bool {
	return sp.start == 0 && (sp.n == 1<<s.shift || sp.page<<s.shift+int64(sp.n) == s.size)
}

func (s *pages) lock(page int64) *sync.RWMutex { return &s.stripe[page%stripes] }

// slot returns where a page is kept, nil if its leaf does not exist.
func (s *pages) slot(page int64) *[]byte {
	l := s.root[page/leafPages].Load()
	if l == nil {
		return nil
	}
	return &l[page%leafPages]
}

// makeSlot is slot that adds the leaf.
func (s *pages) makeSlot(page int64) *[]byte {
	if p := s.slot(page); p != nil {
		return p
	}
	s.root[page/leafPages].CompareAndSwap(nil, new(leaf))
	return s.slot(page)
}

// copyPage copies a span's bytes out, and reports false if no page is held.
func (s *pages) copyPage(p []byte, sp span) bool {
	mu := s.lock(sp.page)
	mu.RLock()
	defer mu.RUnlock()
	slot := s.slot(sp.page)
	if slot == nil || *slot == nil {
		return false
	}
	copy(p, (*slot)[sp.start:])
	return true
}

// read fills p from the pages held and, run by run, from the backing.
func (s *pages) read(p []byte, off int64, absent backing) error {
	if err := checkRange(off, int64(len(p)), s.size); err != nil {
		return err
	}
	run := 0 // bytes before done that no page holds
	done := 0
	for done < len(p) {
		sp := s.spanAt(off+int64(done), int64(len(p)-done))
		if !s.copyPage(p[done:done+sp.n], sp) {
			run += sp.n
		} else if run > 0 {
			if err := absent(p[done-run:done], off+int64(done-run)); err != nil {
				return err
			}
			run = 0
		}
		done += sp.n
	}
	if run == 0 {
		return nil
	}
	return absent(p[done-run:], off+int64(done-run))
}

// write stores p; a page that it covers in part is first filled from the
// backing. If that fails nothing from that page on is written.
func (s *pages) write(p []byte, off int64, absent backing) error {
	if err := checkRange(off, int64(len(p)), s.size); err != nil {
		return err
	}
	for len(p) > 0 {
		sp := s.spanAt(off, int64(len(p)))
		if err := s.writePage(p[:sp.n], sp, absent); err != nil {
			return err
		}
		p, off = p[sp.n:], off+int64(sp.n)
	}
	return nil
}

func (s *pages) writePage(p []byte, sp span, absent backing) error {
	mu := s.lock(sp.page)
	mu.Lock()
	defer mu.Unlock()
	slot := s.makeSlot(sp.page)
	if err := s.own(slot, sp, absent); err != nil {
		return err
	}
	copy((*slot)[sp.start:], p)
	return nil
}

// own makes the page in slot one that may be written. The caller holds its
// stripe.
func (s *pages) own(slot *[]byte, sp span, absent backing) error {
	if *slot != nil && !s.isBlank(*slot) {
		return nil
	}
	page := make([]byte, 1<<s.shift)
	if *slot == nil && !s.whole(sp) {
		begin := sp.page << s.shift
		if err := absent(page[:min(int64(len(page)), s.size-begin)], begin); err != nil {
			return err
		}
	}
	*slot = page
	s.held.Add(int64(len(page)))
	return nil
}

func (s *pages) isBlank(page []byte) bool { return &page[0] == &s.blank[0] }

// zero makes a range read as zeros and gives back the pages that it covers
// whole. A backing that is itself all zeros is nil.
func (s *pages) zero(off, n int64, absent backing) error {
	if err := checkRange(off, n, s.size); err != nil {
		return err
	}
	for n > 0 {
		sp := s.spanAt(off, n)
		if err := s.zeroPage(sp, absent); err != nil {
			return err
		}
		off, n = off+int64(sp.n), n-int64(sp.n)
	}
	return nil
}

func (s *pages) zeroPage(sp span, absent backing) error {
	mu := s.lock(sp.page)
	mu.Lock()
	defer mu.Unlock()
	slot := s.slot(sp.page)
	if absent == nil && (slot == nil || *slot == nil) {
		return nil
	}
	if slot == nil {
		slot = s.makeSlot(sp.page)
	}
	if s.whole(sp) {
		s.drop(slot, absent)
		return nil
	}
	if *slot != nil && s.isBlank(*slot) {
		return nil
	}
	if err := s.own(slot, sp, absent); err != nil {
		return err
	}
	clear((*slot)[sp.start : sp.start+sp.n])
	return nil
}

// drop gives a page back. Over a backing its place is marked as zeros.
func (s *pages) drop(slot *[]byte, absent backing) {
	if *slot != nil && !s.isBlank(*slot) {
		s.held.Add(-int64(len(*slot)))
	}
	*slot = nil
	if absent != nil {
		*slot = s.blank
	}
}

// pageState is what is known of a page.
type pageState int

const (
	pageAbsent pageState = iota // it is as the backing
	pageHeld
	pageBlank // zeros over the backing
)

func (s *pages) state(page int64) pageState {
	mu := s.lock(page)
	mu.RLock()
	defer mu.RUnlock()
	switch slot := s.slot(page); {
	case slot == nil || *slot == nil:
		return pageAbsent
	case s.isBlank(*slot):
		return pageBlank
	}
	return pageHeld
}

// extent returns the state of the page at off, and how many of the n bytes from
// there on are in pages of that state.
func (s *pages) extent(off, n int64) (pageState, int64, error) {
	if err := checkRange(off, n, s.size); err != nil || n == 0 {
		return pageAbsent, 0, err
	}
	first, end := off>>s.shift, off+n
	state := s.state(first)
	page := first + 1
	for page<<s.shift < end {
		if s.root[page/leafPages].Load() == nil && state == pageAbsent {
			page += leafPages - page%leafPages
		} else if s.state(page) == state {
			page++
		} else {
			break
		}
	}
	return state, min(page<<s.shift, end) - off, nil
}
