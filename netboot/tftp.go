package netboot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	tftpTransfers = 256         // at once; a client that is not served asks again
	tftpTimeout   = time.Second // before a block is sent again, where the client does not say
	tftpTries     = 6
)

// tftpServer serves files to be read, over TFTP (RFC 1350) with the options of RFC 2347 to 2349.
//
// It is not built on github.com/pin/tftp because that one opens its transfer sockets by itself, which a userspace
// network cannot, or else runs all transfers over one socket: with blocks of 512 bytes, and with state that stray
// packets leave behind for ever.
type tftpServer struct {
	network Network
	addr    netip.Addr
	open    opener
	log     *slog.Logger
	done    func(Event) // told how each transfer ended

	wg     sync.WaitGroup
	mu     sync.Mutex
	active map[netip.AddrPort]struct{} // clients under way
}

// opener opens what a path names, as Server.open does.
type opener func(ctx context.Context, path string, client netip.Addr) (*file, error)

// serve answers requests until ctx ends.
func (t *tftpServer) serve(ctx context.Context, conn net.PacketConn) error {
	defer t.wg.Wait()
	return readPackets(ctx, conn, t.log, func(packet []byte, peer net.Addr) {
		from := addrPort(peer)
		request, err := parseTFTPRequest(packet)
		if err != nil {
			t.log.Debug("netboot: not a TFTP request", "from", from, "error", err)
			return
		}
		if !t.begin(from) {
			return // A request that was sent again, or one too many.
		}
		t.wg.Go(func() {
			defer t.end(from)
			t.transfer(ctx, request, from)
		})
	})
}

func (t *tftpServer) begin(client netip.AddrPort) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, dup := t.active[client]; dup || len(t.active) >= tftpTransfers {
		return false
	}
	t.active[client] = struct{}{}
	return true
}

func (t *tftpServer) end(client netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.active, client)
}

// transfer serves one request over a socket of its own, whose port is the server's transfer identifier
// (RFC 1350, 4).
func (t *tftpServer) transfer(ctx context.Context, request tftpRequest, client netip.AddrPort) {
	start := time.Now()
	conn, err := t.network.ListenPacket(ctx, "udp4", netip.AddrPortFrom(t.addr, 0).String())
	if err != nil {
		t.log.Error("netboot: no socket for a TFTP transfer", "client", client, "error", err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	x := &tftpTransfer{conn: conn, client: client, timeout: tftpTimeout}
	err = x.run(ctx, request, t.open)
	e := Event{Kind: TFTPRead, Client: client.Addr(), Detail: request.file, Bytes: x.sent, Duration: time.Since(start)}
	switch refusal := (*tftpPeerError)(nil); {
	case errors.As(err, &refusal) && x.sent == 0 && request.size:
		e.Detail += ": the client asked for the size only" // PXE ROMs do, and ask again.
	case err != nil:
		e.Kind, e.Detail = TFTPFail, fmt.Sprintf("%q: %v", request.file, err)
	}
	t.done(e)
}

// tftpTransfer is one file on its way to one client.
type tftpTransfer struct {
	conn    net.PacketConn
	client  netip.AddrPort
	timeout time.Duration
	sent    int64 // bytes of the file acknowledged
	in      [tftpDefaultBlock + tftpHeaderLength]byte
}

func (x *tftpTransfer) run(ctx context.Context, r tftpRequest, open opener) error {
	switch {
	case r.write:
		return x.refuse(tftpViolation, errors.New("this server is for reading only"))
	case r.mode != "octet":
		return x.refuse(tftpIllegal, fmt.Errorf("mode %q is not served, use octet (binary)", r.mode))
	}
	f, err := open(ctx, r.file, x.client.Addr())
	switch {
	case errors.Is(err, errNotFound):
		return x.refuse(tftpNotFound, err)
	case errors.Is(err, errForbidden):
		return x.refuse(tftpViolation, err)
	case err != nil:
		return errors.Join(err, x.refuse(tftpUndefined, errors.New("the boot server could not make this file; its log says why")))
	}
	defer f.Close()
	if r.timeout != 0 {
		x.timeout = time.Duration(r.timeout) * time.Second
	}
	if ack := r.optionAck(f.size); ack != nil {
		if err := x.send(ack, 0); err != nil {
			return err
		}
	}
	return x.blocks(f, r.blockSize)
}

func (x *tftpTransfer) refuse(code uint16, err error) error {
	_, sendErr := x.conn.WriteTo(tftpErrorPacket(code, err.Error()), net.UDPAddrFromAddrPort(x.client))
	return errors.Join(err, sendErr)
}

// blocks sends the file. The last block is the one that is not full; block numbers begin again at 0 after 65535.
func (x *tftpTransfer) blocks(f io.Reader, size int) error {
	if size == 0 {
		size = tftpDefaultBlock
	}
	packet := make([]byte, tftpHeaderLength+size)
	binary.BigEndian.PutUint16(packet, tftpDATA)
	for block := uint16(1); ; block++ {
		n, err := io.ReadFull(f, packet[tftpHeaderLength:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return errors.Join(err, x.refuse(tftpUndefined, errors.New("the file could not be read")))
		}
		binary.BigEndian.PutUint16(packet[2:], block)
		if err := x.send(packet[:tftpHeaderLength+n], block); err != nil {
			return err
		}
		x.sent += int64(n)
		if n < size {
			return nil
		}
	}
}

// send sends a packet until the client acknowledges the block. An acknowledgement of another block never has anything
// sent again: that would double every packet from there on.
func (x *tftpTransfer) send(packet []byte, block uint16) error {
	for range tftpTries {
		if _, err := x.conn.WriteTo(packet, net.UDPAddrFromAddrPort(x.client)); err != nil {
			return fmt.Errorf("block %d: %w", block, err)
		}
		acked, err := x.await(block)
		if acked || err != nil {
			return err
		}
	}
	return fmt.Errorf("block %d: no acknowledgement to %d tries", block, tftpTries)
}

// await waits for the acknowledgement of a block; false when it did not come in time.
func (x *tftpTransfer) await(block uint16) (bool, error) {
	if err := x.conn.SetReadDeadline(time.Now().Add(x.timeout)); err != nil {
		return false, err
	}
	for {
		n, from, err := x.conn.ReadFrom(x.in[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("block %d: %w", block, err)
		}
		if from := addrPort(from); from != x.client {
			x.conn.WriteTo(tftpErrorPacket(tftpUnknownTID, "this transfer is another client's"), net.UDPAddrFromAddrPort(from))
			continue
		}
		got, ok, err := parseTFTPAck(x.in[:n])
		if err != nil {
			return false, err
		}
		if ok && got == block {
			return true, nil
		}
	}
}
