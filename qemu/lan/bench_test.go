package lan

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// BenchmarkHostToHost moves a stream between two netstack hosts.
func BenchmarkHostToHost(b *testing.B) {
	for _, mtu := range []int{1500, 9000, maxMTU} {
		b.Run(fmt.Sprint("mtu=", mtu), func(b *testing.B) {
			c, sink := connect(b, newLAN(b, Config{MTU: mtu}))
			benchStream(b, c, sink)
		})
	}
}

func benchStream(b *testing.B, from io.Writer, to io.Reader) {
	const block = 64 << 10
	b.SetBytes(block)
	b.ReportAllocs()
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, block)
		for range b.N {
			if _, err := io.ReadFull(to, buf); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	buf := make([]byte, block)
	for range b.N {
		if _, err := from.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPortToPort moves frames between two machines that speak QEMU's framing, a window of them at a time, so that
// none is dropped.
func BenchmarkPortToPort(b *testing.B) {
	l := newLAN(b, Config{})
	from, to := plugIn(b, l), plugIn(b, l)
	to.send(testFrame(broadcast, macB, "here"))
	from.receive(testType)
	f := testFrame(macB, macA, string(make([]byte, 1500)))
	b.SetBytes(int64(len(f)))
	b.ReportAllocs()
	const window = 1024
	credit := make(chan struct{}, window)
	done := make(chan error, 1)
	go func() { done <- drain(to, b.N, credit) }()
	bw := bufio.NewWriterSize(from, batchSize)
	for range b.N {
		select {
		case credit <- struct{}{}:
		default:
			bw.Flush()
			credit <- struct{}{}
		}
		putFrame(bw, f)
	}
	bw.Flush()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func drain(c net.Conn, frames int, credit <-chan struct{}) error {
	n := 0
	err := readFrames(c, func(f frame) {
		f.Release()
		<-credit
		if n++; n == frames {
			c.Close()
		}
	})
	if n == frames {
		return nil
	}
	return err
}

// BenchmarkRoundTrip is a question and an answer of 48 bytes, an iSCSI header's size, between two hosts.
func BenchmarkRoundTrip(b *testing.B) {
	c, s := connect(b, newLAN(b, Config{}))
	var echo sync.WaitGroup
	echo.Go(func() { io.Copy(s, s) })
	defer echo.Wait()
	defer c.Close()
	buf := make([]byte, 48)
	b.ResetTimer()
	for range b.N {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// connect makes two hosts and a connection between them.
func connect(b *testing.B, l *LAN) (client, server net.Conn) {
	b.Helper()
	from, to := newHost(b, l, "from", "10.0.0.1/24"), newHost(b, l, "to", "10.0.0.2/24")
	ln, err := to.Listen(b.Context(), "tcp", ":9")
	if err != nil {
		b.Fatal(err)
	}
	client, err = from.DialContext(b.Context(), "tcp", "10.0.0.2:9")
	if err != nil {
		b.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		b.Fatal(err)
	}
	return client, server
}
