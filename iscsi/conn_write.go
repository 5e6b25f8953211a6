package iscsi

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
)

// WritePDU queues a PDU: it sets the lengths in b and adds padding and digests.
// The data segment is the given parts one after the other. Data may go out at
// once when much is queued, and surely with the next Flush; until that has
// returned, the caller must not change the data. b and ahs are copied.
func (c *Conn) WritePDU(b *BHS, ahs []byte, data ...[]byte) error {
	n := 0
	for _, p := range data {
		n += len(p)
	}
	if n > MaxDataSegmentLength || len(ahs) > MaxAHSLength {
		return fmt.Errorf("iscsi: %v with %d bytes of data and %d of AHS does not fit a PDU", b.Opcode(), n, len(ahs))
	}
	if err := c.reserve(BHSLength + MaxAHSLength + copyBelow + 3*digestLength); err != nil {
		return err
	}
	b.SetAHSLength(len(ahs))
	b.SetDataSegmentLength(n)
	c.tapHeader(true, b, ahs)
	c.queueHeader(b, ahs)
	if n > 0 {
		c.queueData(data, n)
	}
	if c.queued >= maxQueued {
		return c.Flush()
	}
	return nil
}

// queueHeader copies the header, its AHS padded to four bytes, and the digest.
func (c *Conn) queueHeader(b *BHS, ahs []byte) {
	start := len(c.w)
	c.copy(b[:])
	c.copy(ahs)
	c.copy(zeros[:pad4(len(ahs))])
	if c.headerDigest {
		c.putDigest(crc32.Checksum(c.w[start:], crcTable))
	}
}

// queueData queues n bytes of data in parts, padding and digest: copied if short,
// else by reference.
func (c *Conn) queueData(data [][]byte, n int) {
	var sum uint32
	for _, p := range data {
		c.tapData(true, p)
		if c.dataDigest {
			sum = crc32.Update(sum, crcTable, p)
		}
		switch {
		case len(p) == 0:
		case n < copyBelow:
			c.copy(p)
		default:
			c.seal()
			c.vec = append(c.vec, p)
			c.queued += len(p)
		}
	}
	padding := zeros[:pad4(n)]
	c.copy(padding)
	if c.dataDigest {
		c.putDigest(crc32.Update(sum, crcTable, padding))
	}
}

var zeros [4]byte

// Flush writes everything that is queued.
func (c *Conn) Flush() error {
	for {
		rest, err := c.TryFlush()
		if err != nil || !rest {
			return err
		}
		c.rw.(buffersWriter).AwaitRoom()
	}
}

// TryFlush is Flush that does not wait, if the stream is one that can tell that it
// would have to: see [NewConn]. It reports whether there is a rest, which goes out
// with the next call before what is queued by then.
func (c *Conn) TryFlush() (rest bool, err error) {
	c.seal()
	c.pending = c.vec[c.gone:] // what writes consumes the slice
	if len(c.pending) == 0 {
		return false, nil
	}
	if w, ok := c.rw.(buffersWriter); ok {
		_, err = w.TryWriteBuffers(&c.pending)
	} else {
		_, err = c.pending.WriteTo(c.rw)
	}
	if c.gone = len(c.vec) - len(c.pending); err == nil && len(c.pending) > 0 {
		return true, nil
	}
	clear(c.vec) // let go of the caller's data
	c.vec, c.gone, c.w, c.mark, c.queued = c.vec[:0], 0, c.w[:0], 0, 0
	return false, err
}

// buffersWriter is a stream of which a write of several buffers is one operation,
// as [net.Buffers] finds it of those of package net alone.
type buffersWriter interface {
	// TryWriteBuffers writes of v what it can without waiting, and consumes that.
	TryWriteBuffers(v *net.Buffers) (int64, error)
	// AwaitRoom waits until TryWriteBuffers may write more, or fail.
	AwaitRoom()
}

// reserve makes sure that n bytes can be copied to c.w without reallocating it:
// c.vec points into it.
func (c *Conn) reserve(n int) error {
	if cap(c.w)-len(c.w) >= n {
		return nil
	}
	if cap(c.w) < writeBuffer { // the larger one is needed after all
		c.w, c.mark = append(make([]byte, 0, writeBuffer), c.w[c.mark:]...), 0 // c.vec keeps what it has of the old one
		return nil
	}
	return c.Flush()
}

func (c *Conn) copy(p []byte) {
	c.w = append(c.w, p...)
	c.queued += len(p)
}

func (c *Conn) putDigest(sum uint32) {
	c.w = binary.LittleEndian.AppendUint32(c.w, sum)
	c.queued += digestLength
}

// seal moves what was copied since the last call to the write vector.
func (c *Conn) seal() {
	if len(c.w) > c.mark {
		c.vec = append(c.vec, c.w[c.mark:len(c.w):len(c.w)])
		c.mark = len(c.w)
	}
}
