package netboot

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

// solicitation is what iPXE sends.
func solicitation(mac ibft.MAC) []byte {
	return append([]byte{133, 0, 0xab, 0xcd, 0, 0, 0, 0, 1, 1}, mac[:]...)
}

func TestParseSolicitation(t *testing.T) {
	good := solicitation(testMAC)
	other := append(append([]byte{}, good[:8]...), 14, 1, 1, 2, 3, 4, 5, 6)
	for name, c := range map[string]struct {
		packet []byte
		ok     bool
	}{
		"as iPXE sends it":               {good, true},
		"after another option":           {append(other, good[8:]...), true},
		"without an address":             {good[:8], false},
		"with another option only":       {other, false},
		"cut short":                      {good[:15], false},
		"an option of no length":         {append(good[:8:8], 1, 0, 0, 0, 0, 0, 0, 0), false},
		"an option beyond the end":       {append(good[:8:8], 1, 2, 0, 0, 0, 0, 0, 0), false},
		"an address of another network":  {append(good[:8:8], append([]byte{1, 2}, make([]byte, 14)...)...), false},
		"an advertisement":               {append([]byte{134}, good[1:]...), false},
		"a solicitation of another code": {append([]byte{133, 1}, good[2:]...), false},
		"nothing":                        {nil, false},
	} {
		mac, ok := parseSolicitation(c.packet)
		if ok != c.ok || ok && mac != testMAC {
			t.Errorf("%s: %s, %t", name, mac, ok)
		}
	}
}

// soliciting has a port of its host stand in for ICMPv6.
type soliciting struct {
	memHost
	err error
}

func (s soliciting) ListenSolicitations(ctx context.Context) (net.PacketConn, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.ListenPacket(ctx, "udp4", "0.0.0.0:133")
}

// TestWhoIsAnswered sends solicitations as machines that are and are not at the point where they are answered.
func TestWhoIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		s := newServer(t, testConfig(t))
		run(t, s, soliciting{memHost: n.host("10.0.0.1")})
		conn, err := n.host(clientIP).ListenPacket(t.Context(), "udp4", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answered := func() bool {
			conn.WriteTo(solicitation(testMAC), &net.UDPAddr{IP: net.IP{10, 0, 0, 1}, Port: 133})
			conn.SetReadDeadline(time.Now().Add(time.Second))
			b := make([]byte, 100)
			k, _, err := conn.ReadFrom(b)
			if err == nil && (k != 16 || b[0] != 134 || b[6] != 0 || b[7] != 0) {
				t.Errorf("answer %x", b[:k])
			}
			return err == nil
		}
		if answered() {
			t.Error("a machine that did not ask for an address was answered")
		}
		ask(t, s, testMAC, asLinux()...)
		ask(t, s, otherMAC, asIPXE()...)
		if answered() {
			t.Error("a system that is not iPXE was answered")
		}
		ask(t, s, testMAC, asIPXE()...)
		if !answered() {
			t.Error("iPXE was not answered")
		}
		time.Sleep(solicitTime)
		if answered() {
			t.Error("a machine that asked long ago was answered")
		}
		ask(t, s, otherMAC, asIPXE()...)
		if len(s.solicitors.until) != 1 {
			t.Errorf("not forgotten: %v", s.solicitors.until)
		}
	})
}

func TestNoSolicitations(t *testing.T) {
	n := newMemNet()
	run(t, newServer(t, testConfig(t)), soliciting{n.host("10.0.0.1"), errors.New("no IPv6 here")})
}

func FuzzParseSolicitation(f *testing.F) {
	f.Add(solicitation(testMAC))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if mac, ok := parseSolicitation(packet); ok && (len(packet) < 16 || mac == ibft.MAC{} && packet[0] != 133) {
			t.Errorf("%x: %s", packet, mac)
		}
	})
}
