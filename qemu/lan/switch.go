package lan

import (
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
)

// frame is an Ethernet frame without its checksum, at least minFrame bytes. Whoever holds one passes it on or releases it.
type frame = *buffer.View

const (
	minFrame = 14    // Destination, source and type; nothing here pads to 60 bytes.
	maxFrame = 65536 // The largest buffer that gVisor pools.

	// maxLearned bounds the table against a machine that invents source addresses; what is not in it is flooded.
	maxLearned = 4096
)

// mac is an Ethernet address as a map key.
type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// group reports whether the address names a group of stations: broadcast or multicast (IEEE 802-2014, 8.2.2).
func (m mac) group() bool { return m[0]&1 != 0 }

func dstOf(f []byte) mac { return mac(f[0:6]) }
func srcOf(f []byte) mac { return mac(f[6:12]) }

// port is one station's place in the switch. The station takes its frames from out.
type port struct {
	id  int
	out *queue
}

// fabric is the learning switch: it knows ports and addresses, nothing of what is behind a port.
type fabric struct {
	capture atomic.Pointer[pcapWriter] // Nil while nobody looks.

	mu      sync.RWMutex
	lastID  int
	ports   map[*port]struct{}
	learned map[mac]*port
	cut     map[mac]struct{} // Stations whose link is down.
}

func newFabric() *fabric {
	return &fabric{
		ports:   make(map[*port]struct{}),
		learned: make(map[mac]*port),
		cut:     make(map[mac]struct{}),
	}
}

func (s *fabric) plug() *port {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	p := &port{id: s.lastID, out: newQueue(queueLimit)}
	s.ports[p] = struct{}{}
	return p
}

// unplug forgets the port and every address behind it, and ends its queue.
func (s *fabric) unplug(p *port) {
	s.mu.Lock()
	delete(s.ports, p)
	maps.DeleteFunc(s.learned, func(_ mac, q *port) bool { return q == p })
	s.mu.Unlock()
	p.out.close()
}

// forward takes a frame that came in at a port and puts it into the queues of those it is for. It never blocks on a
// station.
func (s *fabric) forward(from *port, f frame) {
	b := f.AsSlice()
	dst, src := dstOf(b), srcOf(b)
	if w := s.capture.Load(); w != nil {
		w.frame(b)
	}
	s.mu.RLock()
	learned := s.learned[src] == from
	lost := len(s.cut) > 0 && (has(s.cut, src) || has(s.cut, dst))
	to := s.learned[dst]
	s.mu.RUnlock()

	if !learned && !src.group() {
		s.learn(from, src)
	}
	switch {
	case lost:
		f.Release()
	case to == nil || dst.group():
		s.flood(from, f)
	case to == from:
		f.Release() // Both stations are behind one port: they have seen it.
	default:
		to.out.push(f)
	}
}

// learn notes behind which port an address is; a station that moves takes its address along.
func (s *fabric) learn(from *port, src mac) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, plugged := s.ports[from]; !plugged {
		return
	}
	if _, known := s.learned[src]; known || len(s.learned) < maxLearned {
		s.learned[src] = from
	}
}

// flood gives a frame to every port but the one it came from and those of stations whose link is cut.
func (s *fabric) flood(from *port, f frame) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for p := range s.ports {
		if p != from && !s.isCut(p) {
			p.out.push(f.Clone())
		}
	}
	f.Release()
}

// isCut reports whether a station behind the port has its link cut. The caller holds mu.
func (s *fabric) isCut(p *port) bool {
	for m := range s.cut {
		if s.learned[m] == p {
			return true
		}
	}
	return false
}

func has(set map[mac]struct{}, m mac) bool {
	_, ok := set[m]
	return ok
}

// SetLink cuts the link of the station with this Ethernet address (false), or restores it (true). While it is cut, every
// frame from or to the station is lost; the station itself sees no change of carrier (QMP's set_link does that). Frames
// that wait in its queue already are still delivered.
func (l *LAN) SetLink(addr net.HardwareAddr, up bool) error {
	if len(addr) != len(mac{}) {
		return fmt.Errorf("lan: link of %q: want an Ethernet address of 6 bytes", addr)
	}
	l.sw.mu.Lock()
	defer l.sw.mu.Unlock()
	if up {
		delete(l.sw.cut, mac(addr))
	} else {
		l.sw.cut[mac(addr)] = struct{}{}
	}
	return nil
}
