package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/internal/pcap"
	"github.com/bootlun/bootlun/iscsi"
)

// traceFlags are the flags that say how to show a session's PDUs.
type traceFlags struct {
	verbose bool
	pcap    string
}

func (t *traceFlags) define(c *cli.Command) {
	c.Group("Flags to look at the wire", func() {
		c.BoolVar(&t.verbose, "v", false, "show each PDU, on standard error")
		c.StringVar(&t.pcap, "pcap", "", "write the PDUs to `FILE`, for Wireshark and tcpdump; secrets are masked, data is not")
	})
}

// start returns what makes the taps of new connections, nil if nothing is asked for. stop writes what is left.
func (t *traceFlags) start(std cli.IO) (tap func(net.Conn) iscsi.Tap, stop func() error, err error) {
	var file *capture
	if t.pcap != "" {
		if file, err = newCapture(t.pcap); err != nil {
			return nil, nil, err
		}
	}
	lines := &lineWriter{w: std.Err, began: time.Now()}
	switch {
	case file == nil && !t.verbose:
		return nil, func() error { return nil }, nil
	case file == nil:
		return func(net.Conn) iscsi.Tap { return &decoder{out: lines} }, func() error { return nil }, nil
	case !t.verbose:
		return file.trace.Tap, file.close, nil
	}
	return func(nc net.Conn) iscsi.Tap { return taps{file.trace.Tap(nc), &decoder{out: lines}} }, file.close, nil
}

// taps see the same.
type taps []iscsi.Tap

func (t taps) Header(sent bool, b iscsi.BHS, ahs []byte) {
	for _, each := range t {
		each.Header(sent, b, ahs)
	}
}

func (t taps) Data(sent bool, p []byte) {
	for _, each := range t {
		each.Data(sent, p)
	}
}

// capture writes a trace to a file.
type capture struct {
	trace *pcap.Trace
	end   chan struct{}
	ended chan error
}

func newCapture(name string) (*capture, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(pcap.Header()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	c := &capture{pcap.New(0), make(chan struct{}), make(chan error, 1)}
	go func() { c.ended <- errors.Join(c.write(f), f.Close()) }()
	return c, nil
}

func (c *capture) write(f io.Writer) error {
	for last := false; !last; {
		select {
		case <-c.trace.Wake():
		case <-c.end:
			last = true
		}
		packets, dropped := c.trace.Take()
		if _, err := f.Write(packets); err != nil {
			return err
		}
		if last && dropped > 0 {
			return fmt.Errorf("--pcap: %d PDUs are missing in the file, which was too slow for them", dropped)
		}
	}
	return nil
}

func (c *capture) close() error {
	close(c.end)
	return <-c.ended
}

// lineWriter writes lines of several goroutines, each with the time since it began.
type lineWriter struct {
	mu    sync.Mutex
	w     io.Writer
	began time.Time
}

func (l *lineWriter) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%9.6f %s\n", time.Since(l.began).Seconds(), text)
}
