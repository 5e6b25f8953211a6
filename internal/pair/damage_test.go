package pair

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/bootlun/bootlun/iscsi"
)

// network is a Dialer of connections that a test cuts, and on which bytes are
// damaged.
type network struct {
	// sent and received say of how many PDUs with data, in each direction and once it
	// has begun, one has its data damaged; 0 is none.
	sent, received uint32
	// header has the headers damaged in place of the data.
	header bool
	begun  atomic.Bool
	hits   atomic.Int32

	mu    sync.Mutex
	conns []net.Conn
	dials int
}

func (n *network) DialContext(ctx context.Context, proto, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, proto, address)
	if err != nil {
		return nil, err
	}
	d := &damaged{Conn: nc}
	d.out, d.in = stream{n: n, every: n.sent}, stream{n: n, every: n.received}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, d)
	n.dials++
	return d, nil
}

// cut closes the oldest connection that there is.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.conns) > 0 {
		n.conns[0].Close()
		n.conns = n.conns[1:]
	}
}

// damaged is a connection of a network.
type damaged struct {
	net.Conn
	out, in stream
}

func (d *damaged) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	d.in.pass(p[:n])
	return n, err
}

func (d *damaged) Write(p []byte) (int, error) {
	c := append([]byte(nil), p...)
	d.out.pass(c)
	return d.Conn.Write(c)
}

// stream follows the PDUs of one direction of a connection, from the first on.
type stream struct {
	n     *network
	every uint32
	count uint32

	bhs    [iscsi.BHSLength]byte
	have   int // of bhs
	skip   int // bytes until the data
	data   int // bytes of data left, of which one is to be damaged
	rest   int // bytes until the next PDU
	damage bool
}

// pass goes through the bytes, and damages some.
func (s *stream) pass(p []byte) {
	for len(p) > 0 {
		switch {
		case s.have < len(s.bhs):
			k := copy(s.bhs[s.have:], p)
			if s.have += k; s.have == len(s.bhs) {
				s.header()
				if s.damage && s.n.header {
					p[k-1] ^= 1
					s.damage = false
				}
			}
			p = p[k:]
		case s.skip > 0:
			k := min(s.skip, len(p))
			s.skip -= k
			p = p[k:]
		case s.data > 0:
			k := min(s.data, len(p))
			if s.damage {
				p[k/2] ^= 0x10
				s.damage = false
			}
			s.data -= k
			p = p[k:]
		default:
			k := min(s.rest, len(p))
			s.rest -= k
			p = p[k:]
		}
		if s.have == len(s.bhs) && s.skip+s.data+s.rest == 0 {
			s.have = 0
		}
	}
}

// header looks at a header that is there in whole.
func (s *stream) header() {
	b := iscsi.BHS(s.bhs)
	op := b.Opcode()
	n := b.DataSegmentLength()
	s.skip, s.data, s.rest = b.AHSLength(), n, -n&3
	if op == iscsi.OpLoginRequest || op == iscsi.OpLoginResponse {
		return
	}
	s.skip += 4 // the header's digest
	if n > 0 {
		s.rest += 4
	}
	if s.every == 0 || !s.n.begun.Load() || n == 0 && !s.n.header {
		return
	}
	if s.count++; s.count%s.every == 0 {
		s.damage = true
		s.n.hits.Add(1)
	}
}
