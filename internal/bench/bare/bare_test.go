package bare

import (
	"io"
	"net"
	"testing"
)

// Reads and writes of all depths come to an end, and the server sees a header that is none of ours.
func TestLoad(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served <- Serve(c)
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, w := range []Workload{{Size: 4096, Depth: 1}, {Size: 256 << 10, Depth: 8}, {Size: 4096, Depth: 32, Write: true}, {Size: 256 << 10, Depth: 8, Write: true}} {
		c, n := dial(), 0
		if err := Load(c, w, func() bool { n++; return n == 100 }); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
		c.Close()
		<-served // an error or none: the client went in the middle
	}
	c := dial()
	defer c.Close()
	if _, err := c.Write(make([]byte, headerLength)); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != errHeader {
		t.Errorf("a header of zeros: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the server goes on: %v", err)
	}
}
