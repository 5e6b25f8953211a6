package netboot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pin/tftp/v3"
)

// onLoopback serves on the operating system's network, without DHCP, and returns the URL. TFTP's port is HTTP's.
func onLoopback(t *testing.T, c Config) string {
	t.Helper()
	// A port that is free for TCP now is most likely free for both in a moment.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := addrPort(l.Addr()).Port()
	l.Close()
	c.Addr, c.DHCP = netip.MustParsePrefix("127.0.0.1/8"), DHCP{Disabled: true}
	c.HTTPPort, c.TFTPPort = port, port
	network, err := c.HostNetwork()
	if err != nil {
		t.Fatal(err)
	}
	run(t, newServer(t, c), network)
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// TestTFTPClient has another program's client read.
func TestTFTPClient(t *testing.T) {
	c := withMachine(testConfig(t), nil)
	large := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	if err := os.WriteFile(c.Boot.Initramfs, large, 0o644); err != nil {
		t.Fatal(err)
	}
	url := onLoopback(t, c)
	for _, size := range []int{512, 1428, 65464} {
		client, err := tftp.NewClient(strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		client.SetBlockSize(size)
		client.RequestTSize(true)
		for name, want := range map[string]string{
			"kernel": kernelText, "/initramfs": string(large), "loader/undionly.kpxe": "for BIOS\n",
			"machines/52-54-00-12-34-56/boot.ipxe": "# web1 boots", "boot.ipxe": "chain",
		} {
			body, err := receive(client, name)
			if err != nil || !strings.Contains(body, want) {
				t.Errorf("blocks of %d, %s: %d bytes, %v", size, name, len(body), err)
			}
		}
		for _, name := range []string{"nothing", "../kernel", "loader/../kernel", "/etc/passwd", ""} {
			if body, err := receive(client, name); err == nil || !strings.Contains(err.Error(), "no such file") {
				t.Errorf("%q: %q, %v", name, body, err)
			}
		}
		if _, err := client.Send("kernel", "octet"); err == nil || !strings.Contains(err.Error(), "reading only") {
			t.Errorf("a write: %v", err)
		}
	}
}

func receive(c *tftp.Client, name string) (string, error) {
	r, err := c.Receive(name, "octet")
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	n, err := r.WriteTo(&b)
	if size, ok := r.(tftp.IncomingTransfer).Size(); ok && err == nil && size != n {
		err = fmt.Errorf("%d bytes of %d", n, size)
	}
	return b.String(), err
}

// tftpPeer is a client of which the test sends every packet.
type tftpPeer struct {
	t      *testing.T
	conn   net.PacketConn
	server net.Addr // where the transfer is, once it has begun
}

func newTFTPPeer(t *testing.T, n *memNet, host string) *tftpPeer {
	t.Helper()
	conn, err := n.host(host).ListenPacket(t.Context(), "udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &tftpPeer{t: t, conn: conn}
}

func (p *tftpPeer) request(op uint16, fields ...string) {
	b := binary.BigEndian.AppendUint16(nil, op)
	for _, f := range fields {
		b = append(append(b, f...), 0)
	}
	p.conn.WriteTo(b, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:69")))
}

func (p *tftpPeer) ack(block uint16) {
	b := binary.BigEndian.AppendUint16(nil, tftpACK)
	p.conn.WriteTo(binary.BigEndian.AppendUint16(b, block), p.server)
}

// next returns the next packet's operation, its number and the rest, or 0 when none comes in time.
func (p *tftpPeer) next(within time.Duration) (op, number uint16, rest string) {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 2000)
	n, from, err := p.conn.ReadFrom(b)
	if err != nil {
		return 0, 0, ""
	}
	p.server = from
	if op = binary.BigEndian.Uint16(b); op == tftpOACK {
		return op, 0, string(b[2:n])
	}
	return op, binary.BigEndian.Uint16(b[2:]), string(b[4:n])
}

func (p *tftpPeer) expect(op, number uint16, rest string) {
	p.t.Helper()
	gotOp, gotNumber, got := p.next(3 * time.Second)
	if gotOp != op || gotNumber != number || !strings.HasPrefix(got, rest) || rest == "" && got != "" {
		p.t.Errorf("got %d %d %q, want %d %d %q", gotOp, gotNumber, got, op, number, rest)
	}
}

// tftpBubble runs a test in a bubble with a server whose initramfs is 1024 bytes, which is two full blocks.
func tftpBubble(t *testing.T, test func(t *testing.T, n *memNet, events *recorder)) {
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		c := testConfig(t)
		c.Events = events.record
		writeFile(t, c.Boot.Initramfs, strings.Repeat("a", 512)+strings.Repeat("b", 512))
		n := newMemNet()
		run(t, newServer(t, c), n.host("10.0.0.1"))
		test(t, n, &events)
	})
}

func TestTFTPBlocks(t *testing.T) {
	tftpBubble(t, func(t *testing.T, n *memNet, events *recorder) {
		p := newTFTPPeer(t, n, clientIP)
		p.request(tftpRRQ, "initramfs", "OCTET", "unknown", "1")
		p.expect(tftpDATA, 1, "aaa")
		if port := addrPort(p.server).Port(); port == 69 {
			t.Error("the transfer is at the port of requests")
		}
		p.ack(1)
		p.expect(tftpDATA, 2, "bbb")
		p.ack(2)
		p.expect(tftpDATA, 3, "") // Full blocks are followed by an empty one.
		p.ack(3)
		synctest.Wait()
		if e := events.all(); len(e) != 1 || e[0].Kind != TFTPRead || e[0].Bytes != 1024 {
			t.Errorf("events %+v", e)
		}
	})
}

func TestTFTPOptions(t *testing.T) {
	tftpBubble(t, func(t *testing.T, n *memNet, events *recorder) {
		p := newTFTPPeer(t, n, clientIP)
		p.request(tftpRRQ, "initramfs", "octet", "tsize", "0", "BlkSize", "1500", "timeout", "3", "windowsize", "8")
		p.expect(tftpOACK, 0, "blksize\x001468\x00timeout\x003\x00tsize\x001024\x00")
		p.ack(0)
		p.expect(tftpDATA, 1, "aaa")
		p.ack(1)
		synctest.Wait()

		// A PXE ROM asks for the size and breaks off.
		p = newTFTPPeer(t, n, anotherIP)
		p.request(tftpRRQ, "initramfs", "octet", "tsize", "0", "blksize", "4", "timeout", "0")
		p.expect(tftpOACK, 0, "tsize\x001024\x00")
		p.conn.WriteTo(tftpErrorPacket(8, "enough"), p.server)
		synctest.Wait()
		e := events.all()
		if len(e) != 2 || e[1].Kind != TFTPRead || !strings.Contains(e[1].Detail, "size only") {
			t.Errorf("events %+v", e)
		}
	})
}

// TestTFTPLoss loses packets of the server and of the client, and repeats some.
func TestTFTPLoss(t *testing.T) {
	tftpBubble(t, func(t *testing.T, n *memNet, _ *recorder) {
		p := newTFTPPeer(t, n, clientIP)
		p.request(tftpRRQ, "initramfs", "octet")
		p.request(tftpRRQ, "initramfs", "octet") // Sent again: one transfer only.
		p.expect(tftpDATA, 1, "aaa")
		p.expect(tftpDATA, 1, "aaa") // Not acknowledged, so sent again.
		p.ack(1)
		p.ack(1)
		p.expect(tftpDATA, 2, "bbb")
		p.ack(1) // Late. Must not have block 2 sent again at once.
		if op, _, _ := p.next(tftpTimeout / 2); op != 0 {
			t.Errorf("an old acknowledgement was answered with %d", op)
		}
		p.ack(2)
		p.expect(tftpDATA, 3, "")
		stranger := newTFTPPeer(t, n, anotherIP)
		stranger.server = p.server
		stranger.ack(3)
		stranger.expect(tftpERROR, tftpUnknownTID, "this transfer")
		p.expect(tftpDATA, 3, "")
		p.ack(3)
	})
}

func TestTFTPGivesUp(t *testing.T) {
	tftpBubble(t, func(t *testing.T, n *memNet, events *recorder) {
		p := newTFTPPeer(t, n, clientIP)
		p.request(tftpRRQ, "kernel", "octet")
		for range tftpTries {
			p.expect(tftpDATA, 1, kernelText)
		}
		if op, _, _ := p.next(time.Hour); op != 0 {
			t.Errorf("still sending: %d", op)
		}
		p.request(tftpRRQ, "kernel", "octet")
		p.expect(tftpDATA, 1, kernelText)
		p.conn.WriteTo(tftpErrorPacket(3, "disk full"), p.server)
		synctest.Wait()
		e := events.all()
		if len(e) != 2 || e[0].Kind != TFTPFail || e[1].Kind != TFTPFail || !strings.Contains(e[1].Detail, "disk full") {
			t.Errorf("events %+v", e)
		}
	})
}

func TestTFTPRefusals(t *testing.T) {
	tftpBubble(t, func(t *testing.T, n *memNet, _ *recorder) {
		for _, c := range []struct {
			op     uint16
			fields []string
			code   uint16
			text   string
		}{
			{tftpWRQ, []string{"kernel", "octet"}, tftpViolation, "this server is for reading only"},
			{tftpRRQ, []string{"kernel", "netascii"}, tftpIllegal, `mode "netascii"`},
			{tftpRRQ, []string{"nothing", "octet"}, tftpNotFound, `"nothing"`},
			{tftpRRQ, []string{"machines/52-54-00-12-34-56/ibft", "octet"}, tftpNotFound, "there is no such file: a table"},
		} {
			p := newTFTPPeer(t, n, clientIP)
			p.request(c.op, c.fields...)
			p.expect(tftpERROR, c.code, c.text)
		}
		for _, packet := range []string{
			"", "\x00", "\x00\x01", "\x00\x01kernel", "\x00\x01kernel\x00", "\x00\x01kernel\x00octet", "\x00\x04\x00\x01", "\x00\x09x",
		} {
			p := newTFTPPeer(t, n, clientIP)
			p.conn.WriteTo([]byte(packet), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:69")))
			if op, _, rest := p.next(time.Hour); op != 0 {
				t.Errorf("%q was answered: %d %q", packet, op, rest)
			}
		}
	})
}

// TestTFTPRollover sends more blocks than 16 bits can number.
func TestTFTPRollover(t *testing.T) {
	tftpBubble(t, func(t *testing.T, n *memNet, _ *recorder) {
		want := make([]byte, 8*(1<<16+10)+3)
		for i := range want {
			want[i] = byte(i / 8 * 7)
		}
		x := &tftpTransfer{client: netip.MustParseAddrPort(clientIP + ":5000"), timeout: time.Second}
		var err error
		if x.conn, err = n.host("10.0.0.1").ListenPacket(t.Context(), "udp4", "10.0.0.1:7000"); err != nil {
			t.Fatal(err)
		}
		defer x.conn.Close()
		peer, err := n.host(clientIP).ListenPacket(t.Context(), "udp4", "0.0.0.0:5000")
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		p := &tftpPeer{t: t, conn: peer}
		done := make(chan error, 1)
		go func() { done <- x.blocks(bytes.NewReader(want), 8) }()
		var got []byte
		for block := uint16(1); len(got) < len(want); block++ {
			op, number, rest := p.next(time.Second)
			if op != tftpDATA || number != block {
				t.Fatalf("after %d bytes: %d %d, want block %d", len(got), op, number, block)
			}
			got = append(got, rest...)
			p.ack(block)
		}
		if err := <-done; err != nil || !slices.Equal(got, want) {
			t.Errorf("error %v, equal: %t", err, slices.Equal(got, want))
		}
	})
}

// TestTFTPManyClients has more clients than transfers are served at once: those that are not served ask again.
func TestTFTPManyClients(t *testing.T) {
	tftpBubble(t, func(t *testing.T, n *memNet, events *recorder) {
		peers := make([]*tftpPeer, tftpTransfers+44)
		for i := range peers {
			peers[i] = newTFTPPeer(t, n, fmt.Sprintf("10.0.1.%d", i%200))
			peers[i].request(tftpRRQ, "kernel", "octet")
		}
		synctest.Wait()
		served := 0
		for _, p := range peers {
			if op, _, _ := p.next(time.Millisecond); op == 0 {
				continue
			}
			served++
			p.ack(1)
		}
		if served != tftpTransfers {
			t.Errorf("%d served at once", served)
		}
		synctest.Wait()
		late := peers[len(peers)-1]
		late.request(tftpRRQ, "kernel", "octet")
		late.expect(tftpDATA, 1, kernelText)
		late.ack(1)
	})
}

func FuzzTFTPRequest(f *testing.F) {
	f.Add([]byte("\x00\x01kernel\x00octet\x00blksize\x001428\x00tsize\x000\x00"))
	f.Add([]byte("\x00\x02kernel\x00netascii\x00"))
	f.Add([]byte("\x00\x01\x00\x00timeout\x00255\x00blksize"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		r, err := parseTFTPRequest(packet)
		if err != nil {
			return
		}
		if r.blockSize != 0 && (r.blockSize < tftpMinBlock || r.blockSize > tftpMaxBlock) {
			t.Errorf("block size %d", r.blockSize)
		}
		if ack := r.optionAck(1 << 40); len(ack) > 100 {
			t.Errorf("an acknowledgement of %d bytes", len(ack))
		}
		parseTFTPAck(packet)
		io.Discard.Write(tftpErrorPacket(tftpNotFound, r.file))
	})
}
