package lan

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// A capture file as draft-ietf-opsawg-pcap describes it, with times in nanoseconds, in this machine-independent byte order.
const (
	pcapMagicNano   = 0xa1b23c4d
	pcapEthernet    = 1 // LINKTYPE_ETHERNET
	pcapFileHeader  = 24
	pcapFrameHeader = 16
)

// pcapWriter writes frames to a capture file until a write fails.
type pcapWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
	err error
}

// Capture writes every frame that comes into the switch to w, as a pcap file that Wireshark and tcpdump read. One frame
// is one Write; an error ends the capture. It replaces a capture under way, and a nil w ends it. The LAN's stations wait
// for w, so it should be quick.
func (l *LAN) Capture(w io.Writer) error {
	if w == nil {
		l.sw.capture.Store(nil)
		return nil
	}
	if _, err := w.Write(pcapHeader()); err != nil {
		return fmt.Errorf("lan: starting a capture: %w", err)
	}
	l.sw.capture.Store(&pcapWriter{w: w})
	return nil
}

func pcapHeader() []byte {
	b := make([]byte, 0, pcapFileHeader)
	b = binary.LittleEndian.AppendUint32(b, pcapMagicNano)
	b = binary.LittleEndian.AppendUint16(b, 2) // Version 2.4.
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = binary.LittleEndian.AppendUint64(b, 0) // Time zone and accuracy: not used.
	b = binary.LittleEndian.AppendUint32(b, maxFrame)
	return binary.LittleEndian.AppendUint32(b, pcapEthernet)
}

func (p *pcapWriter) frame(f []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	p.buf = appendPcapFrame(p.buf[:0], time.Now(), f)
	_, p.err = p.w.Write(p.buf)
}

func appendPcapFrame(b []byte, t time.Time, f []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f))) // As captured, and
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f))) // as it was.
	return append(b, f...)
}
