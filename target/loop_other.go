//go:build !linux

package target

import (
	"errors"
	"net"
)

// loop is there on Linux only: elsewhere each connection has its goroutine.
type loop struct{}

func newLoop() (*loop, error) { return nil, errors.ErrUnsupported }
func (*loop) stop()           {}

// link is a connection that could join a loop: there is none.
type link struct{ net.Conn }

func newLink(net.Conn) *link           { return nil }
func (*link) join(*loop, func()) error { return errors.ErrUnsupported }
func (*link) pause(wish)               {}
func (*link) shut()                    {}
func (*link) block()                   {}
func (*link) unblock()                 {}

type wish int

const toWrite wish = 0
