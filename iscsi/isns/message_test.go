package isns

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// query is a query for all targets, byte by byte from RFC 4171: header (5.1),
// source, key, delimiter, and one attribute wanted.
const query = "0001 0002 0034 8c00 0007 0000" +
	"00000020 00000010 69716e2e 323032362d30312e 78000000" + // iqn.2026-01.x
	"00000021 00000004 00000001" +
	"00000000 00000000" +
	"00000020 00000000"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessageBytes(t *testing.T) {
	m := &Message{Function: DevAttrQry, Transaction: 7, Attributes: Attributes{
		Text(TagNodeName, "iqn.2026-01.x"), Number(TagNodeType, 1), Delimiter(), Want(TagNodeName),
	}}
	want := unhex(t, query)
	if got := m.Append(nil); !bytes.Equal(got, want) {
		t.Fatalf("%x, want\n%x", got, want)
	}
	back, err := ReadMessage(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if source := back.Attributes[0].Text(); source != "iqn.2026-01.x" {
		t.Errorf("source %q", source)
	}
	if op := back.Attributes.operating(); len(op) != 1 || op[0].Tag != TagNodeName {
		t.Errorf("operating attributes %v", op)
	}
}

// TestLongMessage sends what does not fit one PDU.
func TestLongMessage(t *testing.T) {
	m := &Message{Function: DevAttrQry.Response(), FromServer: true, Status: StatusNoSuchEntry}
	for range 10000 {
		m.Attributes = append(m.Attributes, Address(TagPortalIP, netip.MustParseAddr("192.0.2.1")))
	}
	wire := m.Append(nil)
	got, err := ReadMessage(bytes.NewReader(wire))
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("it comes back changed (%d attributes, status %v, error %v)", len(got.Attributes), got.Status, err)
	}
	swapped := bytes.Clone(wire)
	swapped[headerSize+maxPayload+11]++ // the second PDU's sequence number
	if _, err := ReadMessage(bytes.NewReader(swapped)); !errors.Is(err, ErrBadMessage) {
		t.Errorf("with a PDU missing: %v", err)
	}
	if _, err := ReadMessage(bytes.NewReader(wire[:len(wire)-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut short: %v", err)
	}
}

// TestEndless has a peer that never sends a last PDU.
func TestEndless(t *testing.T) {
	pdu := append(unhex(t, "0001 0002 fffc 8400 0001 0000"), make([]byte, 0xfffc)...)
	var sequence uint16
	next := readerFunc(func(p []byte) (int, error) {
		n := copy(p, pdu)
		if n != headerSize { // the payload follows its header
			return n, nil
		}
		p[10], p[11] = byte(sequence>>8), byte(sequence)
		if sequence > 0 {
			p[6] = 0x80
		}
		sequence++
		return n, nil
	})
	if _, err := ReadMessage(next); !errors.Is(err, ErrBadMessage) || sequence > MaxMessage/maxPayload+2 {
		t.Errorf("%v after %d PDUs", err, sequence)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestBadMessages(t *testing.T) {
	for what, wire := range map[string]string{
		"version 2":           "0002 0002 0000 8c00 0000 0000",
		"authenticated":       "0001 0002 0000 ac00 0000 0000",
		"length 2":            "0001 0002 0002 8c00 0000 0000 0000",
		"not the first":       "0001 0002 0000 8800 0000 0001",
		"response w/o status": "0001 8002 0000 4c00 0000 0000",
		"half an attribute":   "0001 0002 0004 8c00 0000 0000 00000020",
		"long attribute":      "0001 0002 0008 8c00 0000 0000 00000020 00000004",
		"huge attribute":      "0001 0002 0008 8c00 0000 0000 00000020 fffffffc",
		"odd attribute":       "0001 0002 000c 8c00 0000 0000 00000020 00000003 61626300",
	} {
		if _, err := ReadMessage(bytes.NewReader(unhex(t, wire))); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBadValues(t *testing.T) {
	bad := Attribute{TagPortalIP, []byte{1, 2, 3}}
	_, number := bad.Number()
	_, address := bad.Address()
	_, when := bad.Time()
	for _, err := range []error{number, address, when} {
		if !errors.Is(err, ErrBadMessage) {
			t.Errorf("three bytes: %v", err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(unhex(f, query))
	f.Add((&Message{Function: ESI, FromServer: true, Attributes: Attributes{Text(TagEntityID, "e"), Number(TagPortalPort, 3260)}}).Append(nil))
	f.Add((&Message{Function: DevAttrQry.Response(), Attributes: Attributes{
		Delimiter(), Address(TagGroupIP, netip.MustParseAddr("::1")), Number(TagGroupPort, 3260), Number(TagGroupTag, 1),
	}}).Append(nil))
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := ReadMessage(bytes.NewReader(wire))
		if err != nil {
			return
		}
		parseAddresses(m.Attributes)
		parseEvent(m)
		back, err := ReadMessage(bytes.NewReader(m.Append(nil)))
		if err != nil || !reflect.DeepEqual(m, back) {
			t.Errorf("%v comes back as %v, %v", m, back, err)
		}
	})
}
