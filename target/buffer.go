package target

import (
	"sync"
	"sync/atomic"
)

// buffer is a piece of memory from a bufferPool. One goroutine owns it at a
// time and gives it back once.
type buffer struct {
	b     []byte // full capacity; the owner keeps the length it uses
	class int8
}

// bufferSizes are the sizes a bufferPool has. The largest bounds what one
// request of the wire makes the target hold in one piece.
var bufferSizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, maxBuffer}

// maxBuffer is the most that get gives.
const maxBuffer = 1 << 20

// bufferPool hands out buffers by size, and counts what is out. Those who take
// much look first whether it is short, so that the limit is not exceeded by more
// than what every session needs to go on.
type bufferPool struct {
	classes [len(bufferSizes)]sync.Pool
	limit   atomic.Int64 // bytes
	used    atomic.Int64
}

// get returns a buffer of at least n bytes, which hold anything. n is at most
// maxBuffer.
func (p *bufferPool) get(n int) *buffer {
	class := 0
	for bufferSizes[class] < n {
		class++
	}
	p.used.Add(int64(bufferSizes[class]))
	if b, ok := p.classes[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, bufferSizes[class]), int8(class)}
}

// put takes a buffer back; nil is none.
func (p *bufferPool) put(b *buffer) {
	if b != nil {
		p.used.Add(-int64(bufferSizes[b.class]))
		p.classes[b.class].Put(b)
	}
}

// hold counts n bytes that are held in memory from elsewhere; -n when they are not
// any more.
func (p *bufferPool) hold(n int) { p.used.Add(int64(n)) }

// short reports whether more is out than should be.
func (p *bufferPool) short() bool { return p.used.Load() > p.limit.Load() }
