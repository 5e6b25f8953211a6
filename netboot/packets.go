package netboot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// readPackets hands each packet of a connection to handle, which must not keep it, until ctx ends. It closes the
// connection.
func readPackets(
	ctx context.Context, conn net.PacketConn, log *slog.Logger, handle func(packet []byte, from net.Addr),
) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("netboot: %s: %w", conn.LocalAddr(), err)
		case err != nil:
			// The interface went down, for one; it may come back.
			log.Warn("netboot: read", "address", conn.LocalAddr(), "error", err)
			if err := wait(ctx, 100*time.Millisecond); err != nil {
				return nil
			}
		default:
			handle(buf[:n], from)
		}
	}
}

// wait waits for d or for the end of ctx, whose error it returns.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// addrPort is a network address in values; invalid where it is of another kind.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	default:
		if a != nil {
			ap, _ = netip.ParseAddrPort(a.String())
		}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
