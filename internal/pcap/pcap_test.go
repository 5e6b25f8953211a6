package pcap

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// A CHAP response is never in a trace, also where it is in two PDUs; the rest of a login is.
func TestSecretsAreMasked(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	trace := New(0)
	tap := trace.Tap(near)
	login := func(text string, more bool) {
		var b iscsi.BHS
		p := iscsi.LoginRequest{Continue: more}
		p.Encode(&b)
		b.SetDataSegmentLength(len(text))
		tap.Header(true, b, nil)
		tap.Data(true, []byte(text[:3]))
		tap.Data(true, []byte(text[3:]))
	}
	login("CHAP_N=alice\x00CHAP_R=0xdeadbeef\x00", false)
	login("CHAP_N=alice\x00CHAP_R=0xdead", true)
	login("beef\x00HeaderDigest=None\x00", false)
	login("MaxBurstLength=65536\x00CHAP_R=", false)
	packets, dropped := trace.Take()
	if dropped != 0 || !bytes.Contains(packets, []byte("MaxBurstLength=65536")) || !bytes.Contains(packets, []byte("CHAP_N=alice\x00CHAP_R=**********")) {
		t.Errorf("%d dropped, %q", dropped, packets)
	}
	if s := string(packets); strings.Contains(s, "dead") || strings.Contains(s, "beef") {
		t.Errorf("a secret shows in %q", s)
	}
}
