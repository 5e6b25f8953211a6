package nbd

import (
	"encoding/binary"
	"fmt"
	"io"
)

// receive takes replies from a connection until it fails, and says why it has.
func (l *link) receive(c *conn) error {
	for {
		b, err := c.br.Peek(4)
		if err != nil {
			return err
		}
		switch magic := binary.BigEndian.Uint32(b); {
		case magic == magicSimple:
			err = l.simple(c)
		case magic == magicStructured && l.export.structured:
			err = l.chunk(c)
		default:
			err = fmt.Errorf("%w: a reply begins with %#x", errProtocol, magic)
		}
		if err != nil {
			return err
		}
	}
}

// simple takes a simple reply ("Simple reply message").
func (l *link) simple(c *conn) error {
	b := c.scratch[:simpleLength]
	if _, err := io.ReadFull(c.br, b); err != nil {
		return err
	}
	number, cookie := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:])
	r := l.find(c, cookie)
	switch {
	case r == nil:
		return fmt.Errorf("%w: a reply to no request", errProtocol)
	case number != 0:
		return l.finish(cookie, r, remoteError(r, number))
	case r.cmd == cmdRead && l.export.structured, r.cmd == cmdBlockStatus:
		return fmt.Errorf("%w: a simple reply to %v", errProtocol, r.cmd)
	case r.cmd == cmdRead:
		if _, err := io.ReadFull(c.br, r.data); err != nil {
			return err
		}
	}
	return l.finish(cookie, r, nil)
}

// finish ends a request, or the link if the server is about to end.
func (l *link) finish(cookie uint64, r *request, err error) error {
	if err == errShutdown {
		return err
	}
	l.answered(cookie, r, err)
	return nil
}

// chunk takes one chunk of a structured reply ("Structured reply chunk
// message").
func (l *link) chunk(c *conn) error {
	b := c.scratch[:structuredLength]
	if _, err := io.ReadFull(c.br, b); err != nil {
		return err
	}
	flags, kind := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	cookie, n := binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint32(b[16:]))
	r := l.find(c, cookie)
	if r == nil {
		return fmt.Errorf("%w: a reply to no request", errProtocol)
	}
	if err := l.payload(c, r, kind, n); err != nil {
		return err
	}
	if flags&chunkDone == 0 {
		return nil
	}
	if r.err == nil && (r.cmd == cmdRead && r.got != r.n || r.cmd == cmdBlockStatus && r.length == 0) {
		return fmt.Errorf("%w: a reply to %v of %d bytes that has %d", errProtocol, r.cmd, r.n, r.got)
	}
	return l.finish(cookie, r, r.err)
}

// payload takes what a chunk of n bytes carries.
func (l *link) payload(c *conn, r *request, kind uint16, n int64) error {
	switch {
	case kind == chunkNone && n == 0:
		return nil
	case kind == chunkData && r.cmd == cmdRead && n > 8:
		p, err := c.place(r, n-8)
		if err != nil {
			return err
		}
		_, err = io.ReadFull(c.br, p)
		return err
	case kind == chunkHole && r.cmd == cmdRead && n == 12:
		p, err := c.place(r, -1)
		clear(p)
		return err
	case kind == chunkBlockStatus && r.cmd == cmdBlockStatus && n >= 12:
		return l.blockStatus(c, r, n)
	case kind&chunkError != 0 && n >= 6:
		return c.failure(r, n)
	}
	return fmt.Errorf("%w: a chunk of type %d and %d bytes in reply to %v", errProtocol, kind, n, r.cmd)
}

// place returns the part of a READ that a chunk is for: of n bytes, or of as
// many as it says itself.
func (c *conn) place(r *request, n int64) ([]byte, error) {
	b := c.scratch[:8]
	if n < 0 {
		b = c.scratch[:12]
	}
	if _, err := io.ReadFull(c.br, b); err != nil {
		return nil, err
	}
	if n < 0 {
		n = int64(binary.BigEndian.Uint32(b[8:]))
	}
	at := binary.BigEndian.Uint64(b) - uint64(r.off)
	if at > uint64(r.n) || n > r.n-int64(at) || r.got+n > r.n {
		return nil, fmt.Errorf("%w: data that was not asked for", errProtocol)
	}
	r.got += n
	return r.data[at:][:n], nil
}

// blockStatus takes the first extent that the server reports.
func (l *link) blockStatus(c *conn, r *request, n int64) error {
	b := c.scratch[:12]
	if _, err := io.ReadFull(c.br, b); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(b) == l.export.context {
		r.length = int64(binary.BigEndian.Uint32(b[4:]))
		r.state = binary.BigEndian.Uint32(b[8:])
	}
	return c.skip(n - 12)
}

// failure takes an error chunk. The first counts.
func (c *conn) failure(r *request, n int64) error {
	b := c.scratch[:6]
	if _, err := io.ReadFull(c.br, b); err != nil {
		return err
	}
	if r.err == nil {
		r.err = remoteError(r, binary.BigEndian.Uint32(b))
	}
	return c.skip(n - 6)
}

func (c *conn) skip(n int64) error {
	_, err := io.CopyN(io.Discard, c.br, n)
	return err
}
