package target

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// maxTraced bounds what of a trace waits to be written. PDUs that do not fit are
// left out: a slow writer does not hold a session up.
const maxTraced = 16 << 20

// Trace writes the PDUs of a session to w, as a pcap file that Wireshark and tcpdump
// read, until ctx ends or the session does, neither of which is an error. PDUs are
// written as TCP segments of the session's connections, without digests. It has what
// initiators read and write in it, of which snap cuts what is longer than so many
// bytes in a segment; 0 cuts nothing. Login PDUs come without their text.
//
// Connections that the session gets later are not traced.
func (s *Server) Trace(ctx context.Context, tsih uint16, w io.Writer, snap int) error {
	s.mu.Lock()
	sess := s.sessions[tsih]
	s.mu.Unlock()
	if sess == nil {
		return fmt.Errorf("%w: TSIH %d", ErrNoSession, tsih)
	}
	t := &trace{snap: snap, wake: make(chan struct{}, 1)}
	sess.mu.Lock()
	for _, c := range sess.conns {
		c.pdu.SetTap(newConnTrace(t, c.nc))
		defer c.pdu.SetTap(nil)
	}
	sess.mu.Unlock()
	if _, err := w.Write(pcapHeader()); err != nil {
		return err
	}
	s.log.Info("trace begins", "tsih", tsih, "initiator", sess.id.initiator)
	for {
		select {
		case <-t.wake:
		case <-ctx.Done():
		case <-sess.over:
		}
		packets, dropped := t.take()
		if _, err := w.Write(packets); err != nil {
			return err
		}
		if ended(ctx.Done()) || ended(sess.over) {
			s.log.Info("trace ends", "tsih", tsih, "missing", dropped)
			return nil
		}
	}
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// trace gathers packets for its writer.
type trace struct {
	snap int
	wake chan struct{} // has an element if there is something to write

	mu      sync.Mutex
	packets []byte
	dropped int
}

// take returns what is to be written, and how many PDUs were left out so far.
func (t *trace) take() (packets []byte, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	packets, t.packets = t.packets, nil
	return packets, t.dropped
}

// connTrace makes packets of a connection's PDUs.
type connTrace struct {
	t     *trace
	ends  [2]netip.AddrPort // ours, the initiator's
	halfs [2]half           // sent by us, by the initiator; guarded by t.mu
}

// half is one direction of a connection.
type half struct {
	pdu  []byte // as far as it is known
	left int    // bytes of data that are missing
	cut  bool   // the data is not to be shown
	seq  uint32
}

func newConnTrace(t *trace, nc net.Conn) *connTrace {
	c := &connTrace{t: t}
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

func (c *connTrace) half(sent bool) (int, *half) {
	if sent {
		return 0, &c.halfs[0]
	}
	return 1, &c.halfs[1]
}

// Header implements [iscsi.Tap].
func (c *connTrace) Header(sent bool, b iscsi.BHS, ahs []byte) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	from, h := c.half(sent)
	h.pdu = append(append(h.pdu[:0], b[:]...), ahs...)
	for len(h.pdu)%4 != 0 {
		h.pdu = append(h.pdu, 0)
	}
	h.left = b.DataSegmentLength()
	h.cut = b.Opcode() == iscsi.OpLoginRequest || b.Opcode() == iscsi.OpLoginResponse
	if h.left == 0 {
		c.emit(from, h)
	}
}

// Data implements [iscsi.Tap].
func (c *connTrace) Data(sent bool, p []byte) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	from, h := c.half(sent)
	if h.left == 0 { // the trace began in the middle of a PDU
		return
	}
	if h.cut {
		clear(p)
	}
	h.pdu = append(h.pdu, p...)
	if h.left -= len(p); h.left > 0 {
		return
	}
	for len(h.pdu)%4 != 0 {
		h.pdu = append(h.pdu, 0)
	}
	c.emit(from, h)
}

// maxTraceSegment is how much of a PDU goes into one packet.
const maxTraceSegment = 32 << 10

// emit makes packets of a whole PDU. The caller holds t.mu.
func (c *connTrace) emit(from int, h *half) {
	t := c.t
	if len(t.packets)+2*len(h.pdu) > maxTraced {
		t.dropped++
		h.seq += uint32(len(h.pdu))
		return
	}
	now := time.Now()
	for rest := h.pdu; len(rest) > 0; {
		n := min(len(rest), maxTraceSegment)
		packet := c.packet(from, h.seq, c.halfs[1-from].seq, rest[:n])
		shown := len(packet)
		if t.snap > 0 {
			shown = min(shown, t.snap)
		}
		t.packets = appendPcap(t.packets, now, packet[:shown], len(packet))
		h.seq += uint32(n)
		rest = rest[n:]
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// packet makes an IP packet with a TCP segment.
func (c *connTrace) packet(from int, seq, ack uint32, payload []byte) []byte {
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
	pcapMagicNano = 0xa1b23c4d
	pcapRawIP     = 101 // LINKTYPE_RAW
)

func pcapHeader() []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcapMagicNano)
	b = append(b, 2, 0, 4, 0) // version 2.4
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 1<<16)
	return binary.LittleEndian.AppendUint32(b, pcapRawIP)
}

// appendPcap appends what is shown of a packet.
func appendPcap(b []byte, t time.Time, packet []byte, length int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(packet)))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	return append(b, packet...)
}
