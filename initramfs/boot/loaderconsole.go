//go:build !bootlun_small || bootlun_int13h

package boot

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// loaderConsoles are the consoles of this machine while a boot loader has them:
// all are its screen and its keyboard. When it writes to its serial port, those
// that are serial lines become that port and nothing else, so that a loader with
// a serial console of its own does not show its menu twice.
type loaderConsoles struct {
	terminals      []terminal
	keys, received chan byte
	serial         atomic.Bool // the loader uses its serial port
	closing        atomic.Bool
	readers        sync.WaitGroup
}

// shareConsoles begins to read the terminals. close ends that.
func shareConsoles(terminals []terminal) *loaderConsoles {
	l := &loaderConsoles{terminals: terminals, keys: make(chan byte, 256), received: make(chan byte, 256)}
	for _, t := range terminals {
		l.readers.Go(func() { l.read(t) })
	}
	io.WriteString(l.screen(), "\x1b[0m\x1b[2J\x1b[H")
	return l
}

// read hands on what is typed. What nobody takes is lost, as with a keyboard.
func (l *loaderConsoles) read(t terminal) {
	var buf [64]byte
	for !l.closing.Load() {
		n, err := t.Read(buf[:])
		to := l.keys
		if t.serial && l.serial.Load() {
			to = l.received
		}
		for _, b := range buf[:n] {
			select {
			case to <- b:
			default:
			}
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

func (l *loaderConsoles) close() {
	l.closing.Store(true)
	for _, t := range l.terminals {
		t.SetReadDeadline(time.Unix(1, 0))
	}
	l.readers.Wait()
	for _, t := range l.terminals {
		t.SetReadDeadline(time.Time{})
	}
	for _, t := range l.terminals {
		io.WriteString(t, "\x1b[0m\r\n")
	}
}

// consoleWriter writes to the terminals that are the screen, or the serial port.
type consoleWriter struct {
	l    *loaderConsoles
	line bool
}

func (l *loaderConsoles) screen() io.Writer { return consoleWriter{l, false} }
func (l *loaderConsoles) line() io.Writer   { return consoleWriter{l, true} }

// Write passes over a terminal that fails: the others may be where somebody looks.
func (w consoleWriter) Write(p []byte) (int, error) {
	if w.line {
		w.l.serial.Store(true)
	}
	for _, t := range w.l.terminals {
		if w.line == (t.serial && w.l.serial.Load()) {
			t.Write(p)
		}
	}
	return len(p), nil
}
