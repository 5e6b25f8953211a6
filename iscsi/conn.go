package iscsi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync/atomic"
)

// Errors of framing. After any of them except ErrDataDigest the stream is out of
// step or hostile and the connection must be closed.
var (
	// ErrHeaderDigest: a header's CRC32C does not match. The lengths in it cannot
	// be trusted, so the next PDU cannot be found.
	ErrHeaderDigest = errors.New("iscsi: header digest error")
	// ErrDataDigest: a data segment's CRC32C does not match. The PDU has been
	// read to its end; the next one can be.
	ErrDataDigest = errors.New("iscsi: data digest error")
	// ErrDataTooLong: a data segment is longer than the receive limit.
	ErrDataTooLong = errors.New("iscsi: data segment is longer than the receive limit")
	// ErrDataUnread: ReadHeader was called before the data of the PDU before.
	ErrDataUnread = errors.New("iscsi: data segment of the previous PDU not read")
)

const (
	digestLength = 4
	// readBuffer is enough for a burst of small PDUs; longer data bypasses it.
	readBuffer = 16 << 10
	// writeBuffer holds headers and short data until Flush. When it is full it
	// is written at once.
	writeBuffer = 32 << 10
	// idleBuffer is what writeBuffer is until more is queued at a time: enough
	// for a PDU with short data.
	idleBuffer = 4 << 10
	// copyBelow: data shorter than this costs less to copy than to send as a
	// buffer of its own.
	copyBelow = 2 << 10
	// maxQueued bounds the bytes that wait for Flush.
	maxQueued = 2 << 20
)

// crcTable is for CRC32C, the one digest of RFC 7143 (13.1).
var crcTable = crc32.MakeTable(crc32.Castagnoli)

// Conn sends and receives PDUs over a byte stream: it frames them, pads, checks
// lengths and does the digests. One goroutine may read while another writes;
// SetDigests must not overlap with either. In the steady state it does not
// allocate.
type Conn struct {
	rw  io.ReadWriter
	tap atomic.Pointer[Tap]

	// Reading.
	r            *bufio.Reader
	headerDigest bool
	dataDigest   bool
	limit        int
	ahs          []byte
	ahsSpace     [MaxAHSLength]byte
	scratch      [BHSLength + digestLength]byte
	left         int    // bytes of the data segment not read yet
	pad          int    // padding that follows it
	sum          uint32 // CRC32C so far
	data         []byte // ReadPDU's buffer

	// Writing.
	w       []byte      // headers, padding, digests, short data; replaced once, by reserve
	mark    int         // start of the part of w that is not in vec yet
	vec     net.Buffers // what Flush writes
	gone    int         // so many of vec have been written
	pending net.Buffers // those that have not
	queued  int
}

// NewConn returns a Conn over rw, without digests and with a receive limit of
// 8192 bytes, as the login phase starts. A *net.TCPConn sends several PDUs in
// one system call; so does a stream that has the methods TryWriteBuffers and
// AwaitRoom, for TryFlush.
func NewConn(rw io.ReadWriter) *Conn {
	return &Conn{
		rw:    rw,
		r:     bufio.NewReaderSize(rw, readBuffer),
		limit: DefaultMaxRecvDataSegmentLength,
		w:     make([]byte, 0, idleBuffer),
	}
}

// NetConn returns the net.Conn beneath, or nil if there is none.
func (c *Conn) NetConn() net.Conn {
	nc, _ := c.rw.(net.Conn)
	return nc
}

// Close closes the stream beneath if it can be closed. What has not been flushed
// is dropped.
func (c *Conn) Close() error {
	if cl, ok := c.rw.(io.Closer); ok {
		return cl.Close()
	}
	return nil
}

// SetDigests turns the CRC32C digests of headers and data on or off, in both
// directions, from the next PDU on. What was queued must have been flushed.
func (c *Conn) SetDigests(header, data bool) { c.headerDigest, c.dataDigest = header, data }

// SetRecvLimit sets the longest data segment that is accepted: the
// MaxRecvDataSegmentLength that this side declared.
func (c *Conn) SetRecvLimit(n int) { c.limit = n }

// AwaitHeader returns when ReadHeader has a basic header to read, or the error that
// reading one came to, after which the stream may be read on if it allows.
func (c *Conn) AwaitHeader() error {
	_, err := c.r.Peek(BHSLength)
	return err
}

// ReadHeader reads the next PDU's header into b, and its additional header
// segments, which AHS returns. The data segment must then be read with ReadData
// or skipped with SkipData, unless it is empty. io.EOF means that the stream
// ended between two PDUs.
func (c *Conn) ReadHeader(b *BHS) error {
	if c.left > 0 {
		return ErrDataUnread
	}
	if _, err := io.ReadFull(c.r, c.scratch[:BHSLength]); err != nil {
		return err
	}
	*b = BHS(c.scratch[:BHSLength])
	c.ahs = c.ahsSpace[:b.AHSLength()]
	if err := c.readFull(c.ahs); err != nil {
		return err
	}
	if c.headerDigest {
		sum := crc32.Update(crc32.Checksum(b[:], crcTable), crcTable, c.ahs)
		if err := c.checkDigest(sum, ErrHeaderDigest); err != nil {
			return err
		}
	}
	n := b.DataSegmentLength()
	if n > c.limit {
		return fmt.Errorf("%w: %v with %d bytes, limit %d", ErrDataTooLong, b.Opcode(), n, c.limit)
	}
	c.left, c.pad, c.sum = n, pad4(n), 0
	c.tapHeader(false, b, c.ahs)
	return nil
}

// AHS returns the additional header segments of the last header, valid until the
// next ReadHeader.
func (c *Conn) AHS() []byte { return c.ahs }

// DataLeft returns how many bytes of the data segment have not been read.
func (c *Conn) DataLeft() int { return c.left }

// Buffered returns how many bytes have been received and not read yet. With
// fewer than BHSLength of them ReadHeader may have to wait, so that a side that
// answers requests does well to Flush first.
func (c *Conn) Buffered() int { return c.r.Buffered() }

// ReadData fills p with the next bytes of the data segment; a segment may be read
// in several calls, into several buffers. The call that reads the segment's last
// byte also checks the digest. Asking for more than DataLeft is an error.
func (c *Conn) ReadData(p []byte) error {
	if len(p) > c.left {
		return fmt.Errorf("iscsi: read of %d bytes from a data segment with %d left", len(p), c.left)
	}
	if len(p) == 0 {
		return nil
	}
	if err := c.readFull(p); err != nil {
		return err
	}
	if c.consumed(p); c.left > 0 {
		return nil
	}
	return c.endData()
}

// consumed accounts for bytes of the data segment that have been read.
func (c *Conn) consumed(p []byte) {
	c.tapData(false, p)
	if c.dataDigest {
		c.sum = crc32.Update(c.sum, crcTable, p)
	}
	c.left -= len(p)
}

// SkipData reads and drops what is left of the data segment. It checks the digest
// like ReadData.
func (c *Conn) SkipData() error {
	for c.left > 0 {
		p, err := c.r.Peek(min(c.left, readBuffer))
		if len(p) == 0 {
			return unexpectedEOF(err)
		}
		c.consumed(p)
		c.r.Discard(len(p)) // cannot fail: p is in the buffer
		if c.left == 0 {
			return c.endData()
		}
	}
	return nil
}

// ReadPDU reads a whole PDU: its header into b and its data segment into a buffer
// of the Conn's own, valid until the next read.
func (c *Conn) ReadPDU(b *BHS) (data []byte, err error) {
	if err := c.ReadHeader(b); err != nil {
		return nil, err
	}
	n := c.left // within the limit, so safe to allocate
	if cap(c.data) < n {
		c.data = make([]byte, n)
	}
	data = c.data[:n]
	return data, c.ReadData(data)
}

// endData reads the padding and the digest after a data segment.
func (c *Conn) endData() error {
	padding := c.scratch[:c.pad]
	if err := c.readFull(padding); err != nil {
		return err
	}
	if !c.dataDigest {
		return nil
	}
	return c.checkDigest(crc32.Update(c.sum, crcTable, padding), ErrDataDigest)
}

// checkDigest reads a digest and compares it. Digests are sent least significant
// byte first (RFC 7143, 13.1).
func (c *Conn) checkDigest(sum uint32, mismatch error) error {
	p := c.scratch[BHSLength : BHSLength+digestLength]
	if err := c.readFull(p); err != nil {
		return err
	}
	if got := binary.LittleEndian.Uint32(p); got != sum {
		return fmt.Errorf("%w: received %08x, computed %08x", mismatch, got, sum)
	}
	return nil
}

// readFull reads within a PDU, where the end of the stream is unexpected.
func (c *Conn) readFull(p []byte) error {
	_, err := io.ReadFull(c.r, p)
	return unexpectedEOF(err)
}

func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
