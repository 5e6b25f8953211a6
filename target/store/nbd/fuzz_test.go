package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A server that says anything at all breaks nothing: calls end, and no memory is
// taken by lengths that it names.
func FuzzServer(f *testing.F) {
	greeting := "NBDMAGICIHAVEOPT\x00\x03"
	ready := greeting + optionReply(8, 1, "") + optionReply(10, 4, "\x00\x00\x00\x01base:allocation") + optionReply(10, 1, "") +
		optionReply(7, 3, "\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x01") +
		optionReply(7, 3, "\x00\x03\x00\x00\x00\x01\x00\x00\x10\x00\x00\x01\x00\x00") + optionReply(7, 1, "")
	f.Add([]byte(greeting), []byte{})
	f.Add([]byte(greeting+optionReply(8, 1<<31|1, "")+optionReply(7, 1<<31|6, "no such disk")), []byte{})
	for _, replies := range []string{
		"",
		structuredReply(chunkData, "\x00\x00\x00\x00\x00\x00\x00\x00sixteen bytes...") + structuredReply(chunkBlockStatus, "\x00\x00\x00\x01\x00\x00\x00\x10\x00\x00\x00\x03"),
		structuredReply(chunkHole, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10"),
		structuredReply(chunkHole, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		structuredReply(chunkError|1, "\x00\x00\x00\x05\x00\x00"),
		"\x67\x44\x66\x98\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
		"\x67\x44\x66\x98\x00\x00\x00\x1c\x00\x00\x00\x00\x00\x00\x00\x01",
	} {
		f.Add([]byte(ready), []byte(replies))
	}
	f.Fuzz(func(t *testing.T, handshake, replies []byte) {
		served := false
		dial := func(context.Context, string, string) (net.Conn, error) {
			if served {
				return nil, net.ErrClosed
			}
			served = true
			return &scripted{handshake: *bytes.NewReader(handshake), replies: *bytes.NewReader(replies), asked: make(chan struct{})}, nil
		}
		s, err := Open(t.Context(), "nbd://fuzz/", Config{Dial: dial, ReadOnly: true, ReconnectTimeout: time.Millisecond})
		if err != nil {
			return
		}
		_, _ = s.ReadAt(make([]byte, 16), 0) // all that counts is that it returns
		_, _, _ = s.Map(0, 16)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func optionReply(option, kind uint32, data string) string {
	b := binary.BigEndian.AppendUint64(nil, magicOptReply)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, kind)
	return string(appendString(b, data))
}

// structuredReply is a last chunk in reply to the first request.
func structuredReply(kind uint16, data string) string {
	b := binary.BigEndian.AppendUint32(nil, magicStructured)
	b = binary.BigEndian.AppendUint16(b, chunkDone)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint64(b, 1)
	return string(appendString(b, data))
}

// scripted is a connection to a server that says its lines, the replies when it
// has been asked for something, and hears nothing.
type scripted struct {
	net.Conn
	handshake, replies bytes.Reader
	asked              chan struct{}
	once               sync.Once
}

func (c *scripted) Read(p []byte) (int, error) {
	if n, err := c.handshake.Read(p); err != io.EOF {
		return n, err
	}
	<-c.asked
	return c.replies.Read(p)
}

func (c *scripted) Write(p []byte) (int, error) {
	if len(p) == requestLength && binary.BigEndian.Uint32(p) == magicRequest {
		c.once.Do(func() { close(c.asked) })
	}
	return len(p), nil
}

func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

func (c *scripted) Close() error {
	c.once.Do(func() { close(c.asked) })
	return nil
}
