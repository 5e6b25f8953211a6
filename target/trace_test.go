package target_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// begun is a buffer that tells of its first write.
type begun struct {
	bytes.Buffer
	first chan struct{}
}

func (b *begun) Write(p []byte) (int, error) {
	if b.Len() == 0 {
		close(b.first)
	}
	return b.Buffer.Write(p)
}

// Another program reads the trace of a session with data longer than a segment, and
// with digests.
func TestTraceIsReadByTshark(t *testing.T) {
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("SKIP: needs tshark (apt install tshark)")
	}
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	c := connect(t, addr, several).ready()
	trace := &begun{first: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- srv.Trace(t.Context(), c.res.TSIH, trace, 0) }()
	<-trace.first
	if err := srv.Trace(t.Context(), c.res.TSIH, new(bytes.Buffer), 0); !errors.Is(err, target.ErrExists) {
		t.Errorf("a second trace: %v, want ErrExists", err)
	}
	later := connect(t, addr, c.joining(9))
	later.cmdSN, later.itt = c.cmdSN, 5000
	later.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
	c.cmdSN = later.cmdSN
	roundTrip(t, c, pattern(100<<10, 1), 0)
	c.nc.Close()
	later.nc.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trace.pcap")
	if err := os.WriteFile(file, trace.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	port := addr[strings.LastIndexByte(addr, ':')+1:]
	out, err := exec.CommandContext(t.Context(), path, "-r", file, "-d", "tcp.port=="+port+",iscsi",
		"-Y", "iscsi", "-T", "fields", "-e", "iscsi.opcode", "-e", "scsi_sbc.opcode", "-e", "_ws.expert.message", "-e", "tcp.port").Output()
	if err != nil {
		t.Fatal(err)
	}
	laterPort := later.nc.LocalAddr().String()
	laterPort = laterPort[strings.LastIndexByte(laterPort, ':')+1:]
	for _, want := range []string{"0x01", "0x25", laterPort} { // SCSI Command, Data-In
		if !strings.Contains(string(out), want) {
			t.Errorf("tshark sees no PDU %s in\n%s", want, out)
		}
	}
	if strings.Contains(strings.ToLower(string(out)), "malformed") {
		t.Errorf("tshark finds something malformed in\n%s", out)
	}
	if err := srv.Trace(t.Context(), 999, trace, 0); !errors.Is(err, target.ErrNoSession) {
		t.Errorf("trace of no session: %v, want ErrNoSession", err)
	}
}
