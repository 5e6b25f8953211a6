// Package pcap writes the PDUs of iSCSI connections as a capture file that Wireshark and tcpdump read: each PDU as TCP
// segments of its connection, without digests, whatever the connection really is. It is here, and not in iscsi, because
// the target's traces and the initiator command's share it and nobody else should depend on it.
package pcap

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// maxWaiting bounds what of a trace waits to be written. PDUs that do not fit are
// left out: a slow writer does not hold a session up.
const maxWaiting = 16 << 20

// Trace gathers packets for its writer. Its methods may be called at the same time.
type Trace struct {
	snap int
	wake chan struct{} // has an element if there is something to write

	mu      sync.Mutex
	packets []byte
	dropped int
}

// New returns a trace that cuts of each packet what is beyond snap bytes; 0 cuts
// nothing.
func New(snap int) *Trace { return &Trace{snap: snap, wake: make(chan struct{}, 1)} }

// Wake returns a channel that has an element if there is something to take.
func (t *Trace) Wake() <-chan struct{} { return t.wake }

// Take returns packets to be written after [Header] and the packets before, and how
// many PDUs were left out so far.
func (t *Trace) Take() (packets []byte, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	packets, t.packets = t.packets, nil
	return packets, t.dropped
}

// conn makes packets of a connection's PDUs.
type conn struct {
	t     *Trace
	ends  [2]netip.AddrPort // ours, the peer's
	halfs [2]half           // sent by us, by the peer; guarded by t.mu
}

// half is one direction of a connection.
type half struct {
	pdu   []byte // as far as it is known
	data  int    // where in pdu its data begins
	left  int    // bytes of data that are missing
	login bool   // the data may tell of secrets
	more  bool   // the text of a login goes on in the next PDU
	part  bool   // it began in the one before
	seq   uint32
}

// Tap returns what sees the PDUs of a connection from now on.
func (t *Trace) Tap(nc net.Conn) iscsi.Tap {
	c := &conn{t: t}
	for i, addr := range []net.Addr{nc.LocalAddr(), nc.RemoteAddr()} {
		ap, err := netip.ParseAddrPort(addr.String())
		if err != nil { // not TCP: any address will do
			ap = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(iscsi.DefaultPort+i))
		}
		c.ends[i] = netip.AddrPortFrom(ap.Addr().WithZone("").Unmap(), ap.Port())
		c.halfs[i].seq = 1
	}
	if c.ends[0].Addr().Is4() != c.ends[1].Addr().Is4() {
		c.ends[0] = netip.AddrPortFrom(netip.IPv6Unspecified(), c.ends[0].Port())
		c.ends[1] = netip.AddrPortFrom(netip.IPv6Unspecified(), c.ends[1].Port())
	}
	return c
}

func (c *conn) half(sent bool) (int, *half) {
	if sent {
		return 0, &c.halfs[0]
	}
	return 1, &c.halfs[1]
}

// Header implements [iscsi.Tap].
func (c *conn) Header(sent bool, b iscsi.BHS, ahs []byte) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	from, h := c.half(sent)
	h.pdu = append(append(h.pdu[:0], b[:]...), ahs...)
	for len(h.pdu)%4 != 0 {
		h.pdu = append(h.pdu, 0)
	}
	h.left = b.DataSegmentLength()
	h.data = len(h.pdu)
	h.part = h.more
	h.login = b.Opcode() == iscsi.OpLoginRequest || b.Opcode() == iscsi.OpLoginResponse
	h.more = h.login && b[1]&continueBit != 0
	if h.left == 0 {
		c.emit(from, h)
	}
}

// Data implements [iscsi.Tap].
func (c *conn) Data(sent bool, p []byte) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	from, h := c.half(sent)
	if h.left == 0 { // the trace began in the middle of a PDU
		return
	}
	h.pdu = append(h.pdu, p...)
	if h.left -= len(p); h.left > 0 {
		return
	}
	if h.login {
		h.mask()
	}
	for len(h.pdu)%4 != 0 {
		h.pdu = append(h.pdu, 0)
	}
	c.emit(from, h)
}

// continueBit is the C bit of login PDUs (RFC 7143, 11.12.2).
const continueBit = 0x40

// mask makes illegible what would allow guessing a CHAP secret. Of a text in several
// PDUs nothing is shown: a value may be in two of them.
func (h *half) mask() {
	text := h.pdu[h.data:]
	if h.part || h.more {
		clear(text)
		return
	}
	for len(text) > 0 {
		pair, rest, _ := bytes.Cut(text, []byte{0})
		if value, ok := bytes.CutPrefix(pair, []byte("CHAP_R=")); ok {
			for i := range value {
				value[i] = '*'
			}
		}
		text = rest
	}
}

// maxSegment is how much of a PDU goes into one packet.
const maxSegment = 32 << 10

// emit makes packets of a whole PDU. The caller holds t.mu.
func (c *conn) emit(from int, h *half) {
	t := c.t
	if len(t.packets)+2*len(h.pdu) > maxWaiting {
		t.dropped++
		h.seq += uint32(len(h.pdu))
		return
	}
	now := time.Now()
	for rest := h.pdu; len(rest) > 0; {
		n := min(len(rest), maxSegment)
		packet := c.packet(from, h.seq, c.halfs[1-from].seq, rest[:n])
		shown := len(packet)
		if t.snap > 0 {
			shown = min(shown, t.snap)
		}
		t.packets = appendPacket(t.packets, now, packet[:shown], len(packet))
		h.seq += uint32(n)
		rest = rest[n:]
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// packet makes an IP packet with a TCP segment.
func (c *conn) packet(from int, seq, ack uint32, payload []byte) []byte {
	const tcpLength = 20
	src, dst := c.ends[from], c.ends[1-from]
	length := tcpLength + len(payload)
	var b []byte
	if src.Addr().Is4() {
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(20+length))
		b = append(b, 0, 0, 0x40, 0, 64, 6, 0, 0) // don't fragment, TTL, TCP
		b = append(b, src.Addr().AsSlice()...)
		b = append(b, dst.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(b[10:], ^fold(sum16(0, b)))
	} else {
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, 6, 64)
		b = append(b, src.Addr().AsSlice()...)
		b = append(b, dst.Addr().AsSlice()...)
	}
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, tcpLength/4<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0) // PSH, ACK
	b = append(b, payload...)
	sum := sum16(sum16(sum16(uint32(6+length), src.Addr().AsSlice()), dst.Addr().AsSlice()), b[start:])
	binary.BigEndian.PutUint16(b[start+16:], ^fold(sum))
	return b
}

// sum16 adds to a checksum (RFC 1071).
func sum16(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// A capture file as draft-ietf-opsawg-pcap describes it: times in nanoseconds, raw IP.
const (
	magicNano = 0xa1b23c4d
	rawIP     = 101 // LINKTYPE_RAW
)

// Header returns what a capture file begins with.
func Header() []byte {
	b := binary.LittleEndian.AppendUint32(nil, magicNano)
	b = append(b, 2, 0, 4, 0) // version 2.4
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 1<<16)
	return binary.LittleEndian.AppendUint32(b, rawIP)
}

// appendPacket appends what is shown of a packet.
func appendPacket(b []byte, t time.Time, packet []byte, length int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(packet)))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	return append(b, packet...)
}
