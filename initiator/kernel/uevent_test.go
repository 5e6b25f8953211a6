//go:build linux && (amd64 || arm64 || riscv64)

package kernel

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/iscsi"
)

const testTransport = 0x1122334455667788

// goldenHead is how every fixed block here goes on after its type: no error, and the transport.
const goldenHead = "00000000" + "8877665544332211"

// block puts a golden fixed block together: type (4 bytes), request (24), answer (16), in hexadecimal; missing ends are zero.
func block(kind, request, answer string) []byte {
	pad := func(s string, n int) string { return s + strings.Repeat("0", 2*n-len(s)) }
	b, err := hex.DecodeString(kind + goldenHead + pad(request, 24) + pad(answer, 16))
	if err != nil {
		panic(err)
	}
	return b
}

// TestEncode compares with what a C program compiled against Linux 6.1's include/scsi/iscsi_if.h fills in.
func TestEncode(t *testing.T) {
	const tr = testTransport
	bhs := iscsi.BHS{0x43, 0x87, 47: 0xEE}
	for _, c := range []struct {
		name string
		got  message
		want []byte
	}{
		{"create session", encodeCreateSession(tr, 1, 128, 32), block("0b000000", "0100000080002000", "")},
		{"destroy session", encodeDestroySession(tr, 7), block("0c000000", "07000000", "")},
		{"create connection", encodeConn(evCreateConn, tr, 7, 3), block("0d000000", "0700000003000000", "")},
		{"start connection", encodeConn(evStartConn, tr, 7, 3), block("11000000", "0700000003000000", "")},
		{"destroy connection", encodeConn(evDestroyConn, tr, 7, 3), block("0e000000", "0700000003000000", "")},
		{"bind", encodeBindConn(tr, 7, 3, 9), block("0f000000", "0700000003000000"+"0900000000000000"+"01000000", "")},
		{"stop", encodeStopConn(tr, 7, 3, stopTerminate), block("12000000", "0700000003000000"+"0000000000000000"+"01000000", "")},
		{
			"send", encodeSendPDU(tr, 7, 3, &bhs, []byte("hello")),
			append(append(block("13000000", "0700000003000000"+"3000000005000000", ""), bhs[:]...), "hello"...),
		},
		{
			"set", encodeSetParam(tr, 7, 3, paramTPGT, "1"),
			append(block("10000000", "0700000003000000"+"1000000002000000", ""), "1\x00"...),
		},
		{
			"set host", encodeSetHostParam(tr, 4, hostNetDev, "eth0"),
			append(block("1a000000", "0400000002000000"+"05000000", ""), "eth0\x00"...),
		},
	} {
		if got := []byte(c.got[netlinkHeaderLength:]); !bytes.Equal(got, c.want) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, got, c.want)
		}
		length, kind := len(c.want)+16, c.want[0]
		header := []byte{byte(length), byte(length >> 8), 0, 0, kind, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		if got := []byte(c.got[:netlinkHeaderLength]); !bytes.Equal(got, header) {
			t.Errorf("%s: netlink header\n got %x\nwant %x", c.name, got, header)
		}
	}
}

// received wraps a block as the kernel sends it.
func received(kind uint16, block []byte, rest ...byte) []byte {
	m := make([]byte, 16, 16+len(block)+len(rest))
	native.PutUint32(m, uint32(16+len(block)+len(rest)))
	native.PutUint16(m[4:], kind)
	return append(append(m, block...), rest...)
}

func TestDecode(t *testing.T) {
	one := func(b []byte) message {
		t.Helper()
		all, err := splitMessages(b)
		if err != nil || len(all) != 1 {
			t.Fatalf("splitMessages = %d messages, %v", len(all), err)
		}
		return all[0]
	}
	m := one(received(11, block("0b000000", "", "0700000004000000")))
	if sid, host := m.ids(); sid != 7 || host != 4 || m.kind() != evCreateSession || m.header() != evCreateSession {
		t.Errorf("created session: %d, %d, %v, %v", sid, host, m.kind(), m.header())
	}
	m = one(received(15, block("0f000000", "", "95ffffff")))
	if got := unix.Errno(-m.retcode()); got != unix.ENOTCONN {
		t.Errorf("retcode = %v, want %v", got, unix.ENOTCONN)
	}
	m = one(received(16, append([]byte{0x67, 0, 0, 0, 0xea, 0xff, 0xff, 0xff}, block("67000000", "", "")[8:]...)))
	if got := unix.Errno(-m.ifError()); m.kind() != evIfError || got != unix.EINVAL {
		t.Errorf("%v: %v, want IF_ERROR with %v", m.kind(), got, unix.EINVAL)
	}
	m = one(received(0, block("66000000", "", "0700000003000000fc030000")))
	if sid, cid := m.ids(); sid != 7 || cid != 3 || m.connError() != 1020 {
		t.Errorf("connection error: %d, %d, %v", sid, cid, m.connError())
	}
}

func TestDecodePDU(t *testing.T) {
	bhs := iscsi.BHS{0x23}
	bhs.SetDataSegmentLength(5)
	body := append(bhs[:], "hello\x00\x00\x00"...) // the kernel's padding
	all, err := splitMessages(received(0, block("65000000", "", "0700000003000000"), body...))
	if err != nil {
		t.Fatal(err)
	}
	gotBHS, data, err := all[0].pdu()
	if err != nil || gotBHS != bhs || string(data) != "hello" {
		t.Errorf("pdu = %v, %q, %v", gotBHS, data, err)
	}
	for _, short := range [][]byte{nil, body[:47], body[:52]} {
		all, err := splitMessages(received(0, block("65000000", "", ""), short...))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := all[0].pdu(); !errors.Is(err, errShortMessage) {
			t.Errorf("PDU of %d bytes: err = %v", len(short), err)
		}
	}
}

func TestSplitMessages(t *testing.T) {
	a := received(0, block("65000000", "", ""), 1, 2, 3) // 75 bytes: one of padding follows
	b := received(0, block("66000000", "", ""))
	all, err := splitMessages(append(append(append([]byte(nil), a...), 0), b...))
	if err != nil || len(all) != 2 || !bytes.Equal(all[0], a) || !bytes.Equal(all[1], b) {
		t.Errorf("splitMessages = %x, %v", all, err)
	}
	for name, bad := range map[string][]byte{
		"header cut": a[:10],
		"body cut":   a[:40],
		"too short":  received(0, nil),
	} {
		if _, err := splitMessages(bad); !errors.Is(err, errShortMessage) {
			t.Errorf("%s: err = %v, want %v", name, err, errShortMessage)
		}
	}
}

func FuzzSplitMessages(f *testing.F) {
	f.Add(received(0, block("65000000", "", "0700000003000000"), make([]byte, 48)...))
	f.Add(received(11, block("0b000000", "", "0700000004000000")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _ := splitMessages(b)
		total := 0
		for _, m := range all {
			total += len(m)
			m.ids()
			m.connError()
			if _, data, err := m.pdu(); err == nil && len(data) > len(m) {
				t.Fatal("a PDU longer than its message")
			}
		}
		if total > len(b) {
			t.Fatalf("%d bytes of messages in %d bytes", total, len(b))
		}
	})
}
