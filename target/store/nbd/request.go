package nbd

import (
	"sync"
	"time"
)

// maxRequest is how much data one request moves at most: what every server
// takes ("Block size constraints").
const maxRequest = 32 << 20

// maxZeroes is how much one request clears at most, so that a server which has
// to write the zeros answers in time.
const maxZeroes = 128 << 20

// request is one command to the server, from the call that it belongs to until
// its answer. The call owns it; while it is sent, so does its link.
type request struct {
	cmd   command
	flags uint16
	off   int64
	n     int64
	data  []byte // to send, or to fill

	mark   uint64 // FLUSH: covers the unflushed writes before it
	replay bool   // a write again, by the keeper
	tries  int    // how many links it was sent on
	done   chan struct{}
	err    error // set before done

	// Of the link that it was sent on.
	conn   *conn
	sent   time.Time
	got    int64  // bytes of a READ that have come
	length int64  // BLOCK_STATUS: of the extent
	state  uint32 // BLOCK_STATUS: its flags
}

// requests are requests to be used again.
type requests struct{ pool sync.Pool }

func (rs *requests) get(cmd command, off, n int64, data []byte) *request {
	r, _ := rs.pool.Get().(*request)
	if r == nil {
		r = new(request)
		r.done = make(chan struct{}, 1)
	}
	r.cmd, r.off, r.n, r.data = cmd, off, n, data
	return r
}

// put takes a request back that has been answered.
func (rs *requests) put(r *request) {
	*r = request{done: r.done}
	rs.pool.Put(r)
}

// changes tells whether the request changes the export's bytes.
func (r *request) changes() bool { return r.cmd == cmdWrite || r.cmd == cmdWriteZeroes }

// overlaps tells whether two requests have bytes in common.
func (r *request) overlaps(o *request) bool { return r.off < o.off+o.n && o.off < r.off+r.n }
