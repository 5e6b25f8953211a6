package scenario

import (
	"context"
	"net/netip"
	"sync"

	"github.com/bootlun/bootlun/qemu/lan"
)

// senderAddr is where a lab sends bytes without end (RFC 864's port): bare TCP, to compare with.
var senderAddr = netip.AddrPortFrom(serverAddr.Addr(), 19)

// send sends to everybody who connects, until ctx ends. Stop waits for it.
func (r *Running) send(ctx context.Context, host *lan.Host) error {
	listener, err := host.Listen(ctx, "tcp", senderAddr.String())
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	r.sender.Go(func() {
		var conns sync.WaitGroup
		defer conns.Wait()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				defer conn.Close()
				for buf := make([]byte, 256<<10); err == nil; {
					_, err = conn.Write(buf)
				}
			})
		}
	})
	return nil
}
