package iscsi_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"github.com/bootlun/bootlun/iscsi"
)

// loop is a stream that gives back what was written to it.
type loop struct{ bytes.Buffer }

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

// TestConnRoundTrip sends PDUs of many sizes, with and without digests and AHS,
// split over several buffers, and reads them back in every way there is.
func TestConnRoundTrip(t *testing.T) {
	sizes := []int{0, 1, 2, 3, 4, 5, 100, 2047, 2048, 2049, 8192, 16383, 16384, 16385, 100000, 3 << 20}
	for _, digest := range []struct{ header, data bool }{{}, {header: true}, {data: true}, {true, true}} {
		for _, ahs := range []int{0, 4, 8, 1020} {
			t.Run(fmt.Sprintf("%+v ahs %d", digest, ahs), func(t *testing.T) {
				c := iscsi.NewConn(new(loop))
				c.SetRecvLimit(4 << 20)
				c.SetDigests(digest.header, digest.data)
				for _, n := range sizes {
					var b iscsi.BHS
					(&iscsi.DataOut{ITT: uint32(n)}).Encode(&b)
					p := pattern(n)
					if err := c.WritePDU(&b, pattern(ahs), p[:n/3], nil, p[n/3:n/2], p[n/2:]); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.Flush(); err != nil {
					t.Fatal(err)
				}
				for i, n := range sizes {
					checkPDU(t, c, i, n, ahs)
				}
				var b iscsi.BHS
				if err := c.ReadHeader(&b); err != io.EOF {
					t.Errorf("after the last PDU: %v", err)
				}
			})
		}
	}
}

// checkPDU reads the i-th PDU in one of several ways and checks it.
func checkPDU(t *testing.T, c *iscsi.Conn, i, n, ahs int) {
	t.Helper()
	var b iscsi.BHS
	var data []byte
	var err error
	switch i % 3 {
	case 0:
		data, err = c.ReadPDU(&b)
	case 1:
		if err = c.ReadHeader(&b); err != nil {
			break
		}
		data = make([]byte, c.DataLeft())
		err = errors.Join(c.ReadData(data[:n/2]), c.ReadData(nil), c.ReadData(data[n/2:]))
	case 2:
		if err = c.ReadHeader(&b); err != nil {
			break
		}
		data = make([]byte, n)
		err = errors.Join(c.ReadData(data[:n/2]), c.SkipData())
		copy(data[n/2:], pattern(n)[n/2:])
	}
	if err != nil {
		t.Fatalf("%d bytes: %v", n, err)
	}
	if b.DataSegmentLength() != n || b.ITT() != uint32(n) || !bytes.Equal(data, pattern(n)) {
		t.Fatalf("%d bytes: header %v, or the data differs", n, &b)
	}
	if !bytes.Equal(c.AHS(), pattern(ahs)) || c.DataLeft() != 0 {
		t.Fatalf("%d bytes: AHS % x, %d bytes left", n, c.AHS(), c.DataLeft())
	}
}

// wire returns what a Conn sends for a PDU.
func wire(t testing.TB, header, data bool, ahs, segment []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	c := iscsi.NewConn(&out)
	c.SetDigests(header, data)
	var b iscsi.BHS
	(&iscsi.NOPOut{ITT: 1}).Encode(&b)
	if err := errors.Join(c.WritePDU(&b, ahs, segment), c.Flush()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestDigestVector checks the digest against RFC 7143's own examples of CRC32C
// (appendix A.4): a data segment of 32 zeros has the digest aa 36 91 8a.
func TestDigestVector(t *testing.T) {
	for _, tt := range []struct {
		data   []byte
		digest string
	}{
		{make([]byte, 32), "aa36918a"},
		{bytes.Repeat([]byte{0xff}, 32), "43aba862"},
	} {
		out := wire(t, false, true, nil, tt.data)
		if got := hex.EncodeToString(out[len(out)-4:]); got != tt.digest {
			t.Errorf("digest %s, want %s", got, tt.digest)
		}
	}
}

func TestDigestErrors(t *testing.T) {
	good := wire(t, true, true, pattern(4), pattern(10))
	const header, ahs, data, padding = 20, 48, 56, 66
	for _, tt := range []struct {
		flip int
		want error
	}{
		{header, iscsi.ErrHeaderDigest},
		{ahs, iscsi.ErrHeaderDigest},
		{52, iscsi.ErrHeaderDigest}, // the digest itself
		{data, iscsi.ErrDataDigest},
		{padding, iscsi.ErrDataDigest},
		{len(good) - 1, iscsi.ErrDataDigest},
	} {
		stream := append(bytes.Clone(good), good...)
		stream[tt.flip] ^= 0x10
		c := iscsi.NewConn(half{bytes.NewReader(stream)})
		c.SetDigests(true, true)
		var b iscsi.BHS
		if _, err := c.ReadPDU(&b); !errors.Is(err, tt.want) {
			t.Errorf("byte %d: %v, want %v", tt.flip, err, tt.want)
		}
		if tt.want != iscsi.ErrDataDigest {
			continue
		}
		// The PDU after one with bad data can be read.
		if p, err := c.ReadPDU(&b); err != nil || !bytes.Equal(p, pattern(10)) {
			t.Errorf("after byte %d: % x, %v", tt.flip, p, err)
		}
	}
	stream := bytes.Clone(good)
	stream[data] ^= 1
	c := iscsi.NewConn(half{bytes.NewReader(stream)})
	c.SetDigests(true, true)
	var b iscsi.BHS
	if err := errors.Join(c.ReadHeader(&b), c.SkipData()); !errors.Is(err, iscsi.ErrDataDigest) {
		t.Errorf("skipped data: %v", err)
	}
}

func TestRecvLimit(t *testing.T) {
	stream := wire(t, false, false, nil, pattern(8193))
	c := iscsi.NewConn(half{bytes.NewReader(stream)})
	var b iscsi.BHS
	if err := c.ReadHeader(&b); !errors.Is(err, iscsi.ErrDataTooLong) {
		t.Errorf("8193 bytes: %v", err)
	}
	c = iscsi.NewConn(half{bytes.NewReader(stream)})
	c.SetRecvLimit(8193)
	if p, err := c.ReadPDU(&b); err != nil || len(p) != 8193 {
		t.Errorf("%d bytes, %v", len(p), err)
	}
}

// TestHostileLengthAllocatesNothing: a header that announces 16 MiB costs nothing
// above the limit.
func TestHostileLengthAllocatesNothing(t *testing.T) {
	header := iscsi.BHS{5: 0xff, 6: 0xff, 7: 0xff}
	c := iscsi.NewConn(half{bytes.NewReader(bytes.Repeat(header[:], 200))})
	size := testing.AllocsPerRun(10, func() {
		var b iscsi.BHS
		if _, err := c.ReadPDU(&b); !errors.Is(err, iscsi.ErrDataTooLong) {
			t.Error(err)
		}
	})
	if size > 10 {
		t.Errorf("%v allocations", size)
	}
}

func TestTruncated(t *testing.T) {
	whole := wire(t, true, true, pattern(8), pattern(21))
	for n := range len(whole) {
		c := iscsi.NewConn(half{iotest.OneByteReader(bytes.NewReader(whole[:n]))})
		c.SetDigests(true, true)
		var b iscsi.BHS
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if _, err := c.ReadPDU(&b); err != want {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestReadMisuse(t *testing.T) {
	stream := wire(t, false, false, nil, pattern(10))
	c := iscsi.NewConn(half{bytes.NewReader(stream)})
	var b iscsi.BHS
	if err := c.ReadHeader(&b); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadHeader(&b); !errors.Is(err, iscsi.ErrDataUnread) {
		t.Errorf("header before data: %v", err)
	}
	if err := c.ReadData(make([]byte, 11)); err == nil {
		t.Error("11 of 10 bytes: no error")
	}
	if err := c.SkipData(); err != nil {
		t.Error(err)
	}
	if err := c.ReadData(make([]byte, 1)); err == nil {
		t.Error("a byte after the end: no error")
	}
}

func TestWriteTooLong(t *testing.T) {
	c := iscsi.NewConn(new(loop))
	var b iscsi.BHS
	if err := c.WritePDU(&b, nil, make([]byte, 1<<24)); err == nil {
		t.Error("16 MiB of data: no error")
	}
	if err := c.WritePDU(&b, make([]byte, 1021)); err == nil {
		t.Error("1021 bytes of AHS: no error")
	}
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
}

// counter counts the Write calls that reach a stream.
type counter struct {
	loop
	writes int
}

func (c *counter) Write(p []byte) (int, error) {
	c.writes++
	return c.loop.Write(p)
}

// TestFlushGathers: small PDUs share a write, and nothing goes out before Flush.
func TestFlushGathers(t *testing.T) {
	var w counter
	c := iscsi.NewConn(&w)
	for range 10 {
		var b iscsi.BHS
		if err := c.WritePDU(&b, nil, pattern(100)); err != nil {
			t.Fatal(err)
		}
	}
	if w.writes != 0 {
		t.Errorf("%d writes before Flush", w.writes)
	}
	if err := errors.Join(c.Flush(), c.Flush()); err != nil {
		t.Fatal(err)
	}
	if w.writes != 1 || w.Len() != 10*148 {
		t.Errorf("%d writes, %d bytes", w.writes, w.Len())
	}
}

func TestWriteError(t *testing.T) {
	a, b := net.Pipe()
	b.Close()
	c := iscsi.NewConn(a)
	if c.NetConn() != a {
		t.Error("NetConn is not what NewConn was given")
	}
	var h iscsi.BHS
	if err := errors.Join(c.WritePDU(&h, nil), c.Flush()); err == nil {
		t.Error("no error")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if iscsi.NewConn(new(loop)).NetConn() != nil || iscsi.NewConn(new(loop)).Close() != nil {
		t.Error("a stream that is no net.Conn is taken for one")
	}
}

// endless gives a recorded PDU again and again, and swallows what is written.
type endless struct {
	pdu []byte
	off int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.pdu[e.off:])
	e.off = (e.off + n) % len(e.pdu)
	return n, nil
}

func (e *endless) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkConn(b *testing.B) {
	for _, size := range []int{0, 512, 4096, 65536} {
		for _, digests := range []bool{false, true} {
			name := fmt.Sprintf("%d bytes, digests %v", size, digests)
			b.Run("read "+name, func(b *testing.B) { benchmarkRead(b, size, digests) })
			b.Run("write "+name, func(b *testing.B) { benchmarkWrite(b, size, digests) })
		}
	}
}

func benchmarkRead(b *testing.B, size int, digests bool) {
	c := iscsi.NewConn(&endless{pdu: wire(b, digests, digests, nil, pattern(size))})
	c.SetDigests(digests, digests)
	c.SetRecvLimit(size)
	data := make([]byte, size)
	var in iscsi.NOPOut
	var h iscsi.BHS
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		if err := c.ReadHeader(&h); err != nil {
			b.Fatal(err)
		}
		if err := in.Decode(&h); err != nil {
			b.Fatal(err)
		}
		if err := c.ReadData(data[:c.DataLeft()]); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkWrite(b *testing.B, size int, digests bool) {
	c := iscsi.NewConn(new(endless))
	c.SetDigests(digests, digests)
	data := pattern(size)
	out := iscsi.DataIn{Final: true, ITT: 1}
	var h iscsi.BHS
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		out.Encode(&h)
		if err := c.WritePDU(&h, nil, data); err != nil {
			b.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestConnDoesNotAllocate holds the benchmark's promise in every test run, over a
// real socket, where writes take the path of writev.
func TestConnDoesNotAllocate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out := dial(t, l.Addr().String())
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	w, r := iscsi.NewConn(out), iscsi.NewConn(in)
	w.SetDigests(true, true)
	r.SetDigests(true, true)
	small, large, got := pattern(100), pattern(8192), make([]byte, 8192)
	var h iscsi.BHS
	send := iscsi.DataOut{ITT: 1}
	n := testing.AllocsPerRun(200, func() {
		for _, p := range [][]byte{small, large} {
			send.Encode(&h)
			if w.WritePDU(&h, nil, p) != nil {
				t.Error("write failed")
			}
		}
		if w.Flush() != nil {
			t.Error("flush failed")
		}
		for range 2 {
			if r.ReadHeader(&h) != nil || r.ReadData(got[:r.DataLeft()]) != nil {
				t.Error("read failed")
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for two PDUs", n)
	}
}

// narrow is a stream that has room for so many bytes at a time.
type narrow struct {
	bytes.Buffer
	room   int
	waited int
}

func (s *narrow) TryWriteBuffers(v *net.Buffers) (int64, error) {
	n, err := io.CopyN(&s.Buffer, v, int64(s.room))
	if s.room -= int(n); err == io.EOF {
		err = nil
	}
	return n, err
}

func (s *narrow) AwaitRoom() {
	s.room = 1000
	s.waited++
}

// TestTryFlush has a stream take PDUs in pieces: what is queued meanwhile follows
// in order.
func TestTryFlush(t *testing.T) {
	s := &narrow{room: 5000}
	c := iscsi.NewConn(s)
	var want bytes.Buffer
	all := iscsi.NewConn(&want)
	queue := func(n int) {
		b, data := iscsi.BHS{byte(iscsi.OpDataIn)}, bytes.Repeat([]byte{byte(n)}, n)
		for _, c := range []*iscsi.Conn{c, all} {
			if err := c.WritePDU(&b, nil, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	queue(4096)
	queue(8191)
	for _, room := range []int{0, 100, 1 << 20} {
		rest, err := c.TryFlush()
		if err != nil || !rest {
			t.Fatalf("rest %v, %v; want some", rest, err)
		}
		queue(100)
		queue(5000)
		s.room = room
	}
	if rest, err := c.TryFlush(); rest || err != nil {
		t.Fatalf("rest %v, %v; want none", rest, err)
	}
	queue(3000)
	s.room = 0
	for _, c := range []*iscsi.Conn{c, all} {
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if s.waited != 4 {
		t.Errorf("waited %d times, want 4", s.waited)
	}
	if !bytes.Equal(s.Bytes(), want.Bytes()) {
		t.Errorf("sent %d bytes, want %d, or others", s.Len(), want.Len())
	}
}
