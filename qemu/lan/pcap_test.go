package lan

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestPcapBytes(t *testing.T) {
	got := appendPcapFrame(pcapHeader(), time.Unix(0x01020304, 0x0a0b0c), []byte("frame"))
	want := "4d3cb2a1" + "0200" + "0400" + "00000000" + "00000000" + "00000100" + "01000000" +
		"04030201" + "0c0b0a00" + "05000000" + "05000000" + hex.EncodeToString([]byte("frame"))
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

func TestCapture(t *testing.T) {
	l := newLAN(t, Config{})
	a, b := plugIn(t, l), plugIn(t, l)
	var w bytes.Buffer
	if err := l.Capture(&w); err != nil {
		t.Fatal(err)
	}
	f := testFrame(broadcast, macA, "captured")
	a.send(f)
	b.receive(testType)
	if err := l.Capture(nil); err != nil {
		t.Fatal(err)
	}
	a.send(testFrame(broadcast, macA, "not captured"))
	b.receive(testType)
	if w.Len() != pcapFileHeader+pcapFrameHeader+len(f) || !bytes.HasSuffix(w.Bytes(), f) {
		t.Errorf("the capture is % x; want the header and one frame", w.Bytes())
	}
	failing := writerFunc(func([]byte) (int, error) { return 0, errors.New("disk full") })
	if err := l.Capture(failing); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("a capture that cannot start: %v", err)
	}
}

// TestTcpdumpReadsTheCapture has the reference reader look at what we write.
func TestTcpdumpReadsTheCapture(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("SKIP: needs tcpdump (apt install tcpdump)")
	}
	file := appendPcapFrame(pcapHeader(), time.Unix(1, 5), testFrame(broadcast, macA, "some payload"))
	cmd := exec.CommandContext(t.Context(), tcpdump, "-e", "-n", "-tt", "--time-stamp-precision=nano", "-r", "-")
	cmd.Stdin = bytes.NewReader(file)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), macA.String()) || !strings.Contains(string(out), "1.000000005") {
		t.Errorf("tcpdump: %v\n%s", err, out)
	}
}
