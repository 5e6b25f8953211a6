package storetest

import (
	"sync"

	"github.com/bootlun/bootlun/target/store"
)

// Op is a kind of call to a store.
type Op int

// The kinds of calls that [Faulty] counts and disturbs.
const (
	Read  Op = iota // ReadAt
	Write           // WriteAt
	Zero            // Discard and WriteZeroes
	Flush           // Flush
	numOps
)

// Faulty is a store that fails, or hangs, when it is told to; it is for tests
// of a store's users. Calls that are neither go to the store within. Make one
// with [NewFaulty]; its methods may be called at any time.
type Faulty struct {
	store.Store

	mu      sync.Mutex
	changed *sync.Cond
	ops     [numOps]struct {
		err     error
		hanging bool
		calls   int // so far
		stuck   int // that hang now
	}
}

// NewFaulty returns a Faulty that is not so far.
func NewFaulty(s store.Store) *Faulty {
	f := &Faulty{Store: s}
	f.changed = sync.NewCond(&f.mu)
	return f
}

// Fail has every call of a kind fail with err; nil ends that.
func (f *Faulty) Fail(op Op, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops[op].err = err
}

// Hang has every call of a kind wait until Release.
func (f *Faulty) Hang(op Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops[op].hanging = true
}

// Release lets go on what hangs.
func (f *Faulty) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for op := range f.ops {
		f.ops[op].hanging = false
	}
	f.changed.Broadcast()
}

// AwaitStuck returns when n calls of a kind hang.
func (f *Faulty) AwaitStuck(op Op, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.ops[op].stuck < n {
		f.changed.Wait()
	}
}

// Calls is how many calls of a kind there were.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops[op].calls
}

// enter is what every call begins with.
func (f *Faulty) enter(op Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := &f.ops[op]
	o.calls++
	o.stuck++
	f.changed.Broadcast()
	for o.hanging {
		f.changed.Wait()
	}
	o.stuck--
	return o.err
}

// ReadAt implements [store.Store].
func (f *Faulty) ReadAt(p []byte, off int64) (int, error) {
	if err := f.enter(Read); err != nil {
		return 0, err
	}
	return f.Store.ReadAt(p, off)
}

// WriteAt implements [store.Store].
func (f *Faulty) WriteAt(p []byte, off int64) (int, error) {
	if err := f.enter(Write); err != nil {
		return 0, err
	}
	return f.Store.WriteAt(p, off)
}

// Discard implements [store.Discarder].
func (f *Faulty) Discard(off, n int64) error { return f.WriteZeroes(off, n) }

// WriteZeroes implements [store.ZeroWriter].
func (f *Faulty) WriteZeroes(off, n int64) error {
	if err := f.enter(Zero); err != nil {
		return err
	}
	return store.WriteZeroes(f.Store, off, n)
}

// Flush implements [store.Store].
func (f *Faulty) Flush() error {
	if err := f.enter(Flush); err != nil {
		return err
	}
	return f.Store.Flush()
}
