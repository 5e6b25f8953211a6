package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// DefaultEscape is Ctrl-A, which QEMU's own console has too.
const DefaultEscape byte = 0x01

// Attach connects a user to the console: out gets it from its beginning as with Tee, in is typed into it. The escape
// key (0 means DefaultEscape) followed by x detaches; followed by itself it is typed once; with another key after it, both
// are left out. Attach returns nil when the user detached, the context's error when that ended, and ErrConsoleClosed when
// the machine did. The end of in ends typing, not Attach.
//
// Putting a terminal into raw mode and back is the caller's. A Read of in that is under way when Attach returns is
// interrupted where in has deadlines; otherwise it goes on, and takes one more key from in.
func (c *Console) Attach(ctx context.Context, in io.Reader, out io.Writer, escape byte) error {
	if escape == 0 {
		escape = DefaultEscape
	}
	stop := c.Tee(out)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- c.typeFrom(in, escape) }()
	select {
	case err := <-ended:
		if !errors.Is(err, io.EOF) {
			return err
		}
		ended = nil // Nothing more is typed; the console goes on.
	case <-ctx.Done():
	case <-c.done:
	}
	select {
	case <-ctx.Done():
	case <-c.done:
	}
	interrupt(in, ended)
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrConsoleClosed
}

// interrupt ends a Read under way and waits for the typing to end, where in can be interrupted.
func interrupt(in io.Reader, ended <-chan error) {
	d, ok := in.(interface{ SetReadDeadline(time.Time) error })
	if ok && ended != nil && d.SetReadDeadline(time.Now()) == nil {
		<-ended
		d.SetReadDeadline(time.Time{})
	}
}

// typeFrom types what it reads until the user detaches (nil) or in ends.
func (c *Console) typeFrom(in io.Reader, escape byte) error {
	keys := escaper{escape: escape}
	buf := make([]byte, 256)
	for {
		n, err := in.Read(buf)
		text, detached := keys.take(buf[:n])
		if len(text) > 0 {
			if err := c.Send(string(text)); err != nil {
				return err
			}
		}
		switch {
		case detached:
			return nil
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return fmt.Errorf("qemu: reading what to type: %w", err)
		}
	}
}

// escaper finds the escape key in what a user types.
type escaper struct {
	escape  byte
	pending bool // The escape key came last.
}

// take returns what of b is to be typed, and whether the user detached.
func (e *escaper) take(b []byte) (text []byte, detached bool) {
	for _, c := range b {
		switch {
		case e.pending && (c == 'x' || c == 'X'):
			return text, true
		case e.pending && c == e.escape:
			text = append(text, c)
			e.pending = false
		case c == e.escape:
			e.pending = true
		case e.pending:
			e.pending = false
		default:
			text = append(text, c)
		}
	}
	return text, false
}
