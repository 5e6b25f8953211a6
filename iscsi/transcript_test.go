package iscsi_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "make testdata/transcripts again, from real programs")

// A transcript is what went over one connection: the bytes of each direction and
// how they took turns.
type transcript []flow

type flow struct {
	fromInitiator bool
	data          []byte
}

// stream joins one direction.
func (tr transcript) stream(fromInitiator bool) []byte {
	var all []byte
	for _, f := range tr {
		if f.fromInitiator == fromInitiator {
			all = append(all, f.data...)
		}
	}
	return all
}

func (tr *transcript) add(fromInitiator bool, data []byte) {
	if n := len(*tr); n > 0 && (*tr)[n-1].fromInitiator == fromInitiator {
		(*tr)[n-1].data = append((*tr)[n-1].data, data...)
		return
	}
	*tr = append(*tr, flow{fromInitiator, bytes.Clone(data)})
}

// flowMarks start the flows of the two directions in a transcript's file.
var flowMarks = map[bool]string{true: ">>> initiator", false: "<<< target"}

func (tr transcript) write(t *testing.T, path string) {
	t.Helper()
	var b bytes.Buffer
	for _, f := range tr {
		fmt.Fprintf(&b, "%s\n%s", flowMarks[f.fromInitiator], hex.Dump(f.data))
	}
	writeFile(t, path, b.Bytes())
}

func readTranscript(t testing.TB, path string) transcript {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var tr transcript
	from := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if line == flowMarks[true] || line == flowMarks[false] {
			from = line == flowMarks[true]
			continue
		}
		// An offset, sixteen bytes in hexadecimal, and the text between bars.
		_, digits, _ := strings.Cut(line, " ")
		digits, _, _ = strings.Cut(digits, "|")
		data, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		tr.add(from, data)
	}
	return tr
}

// recorder is a TCP proxy that keeps a transcript of every connection.
type recorder struct {
	addr string
	stop func() []transcript // stop and return what was recorded
}

func startRecorder(t *testing.T, target string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var all []*transcript
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				t.Error(err)
				client.Close()
				continue
			}
			tr := new(transcript)
			all = append(all, tr)
			wg.Go(func() { relay(client, server, tr) })
		}
	})
	stop := func() []transcript {
		l.Close()
		wg.Wait()
		var list []transcript
		for _, tr := range all {
			list = append(list, *tr)
		}
		return list
	}
	return &recorder{l.Addr().String(), stop}
}

// relay copies both ways until both sides have closed.
func relay(client, server net.Conn, tr *transcript) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	move := func(dst, src net.Conn, fromInitiator bool) {
		buf := make([]byte, 64<<10)
		for {
			n, err := src.Read(buf)
			if n > 0 {
				mu.Lock()
				tr.add(fromInitiator, buf[:n])
				mu.Unlock()
				if _, err := dst.Write(buf[:n]); err != nil {
					break
				}
			}
			if err != nil {
				break
			}
		}
		dst.Close()
	}
	wg.Go(func() { move(server, client, true) })
	wg.Go(func() { move(client, server, false) })
	wg.Wait()
}

// half is one direction of a transcript as a stream that Conn reads.
type half struct{ io.Reader }

func (half) Write(p []byte) (int, error) { return len(p), nil }
