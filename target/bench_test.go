package target_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// loop sends a number of commands at once and takes their replies, again and
// again, without allocating. Task tags repeat from one round to the next.
type loop struct {
	nc       net.Conn
	requests []byte
	cmdSNs   []int // where in requests
	cmdSN    uint32
	replies  []byte
}

// newLoop makes rounds of depth commands of size bytes each.
func newLoop(tb testing.TB, c *client, op scsi.OpCode, size, depth int) *loop {
	l := &loop{nc: c.nc, cmdSN: c.cmdSN}
	write := op == scsi.OpWrite16
	replySize := iscsi.BHSLength
	if !write {
		replySize += size
	}
	for i := range depth {
		cdb := transfer(op, uint64(i*size/512), uint32(size/512))
		p := iscsi.SCSICommand{
			Final: true, Attribute: iscsi.Simple, ITT: uint32(1000 + i), ExpectedLength: uint32(size),
			Read: !write, Write: write, CDB: cdb,
		}
		var b iscsi.BHS
		p.Encode(&b)
		if write {
			b.SetDataSegmentLength(size)
		}
		l.cmdSNs = append(l.cmdSNs, len(l.requests)+24)
		l.requests = append(l.requests, b[:]...)
		if write {
			l.requests = append(l.requests, pattern(size, i)...)
		}
	}
	l.replies = make([]byte, depth*replySize)
	l.round(tb)
	var b iscsi.BHS
	copy(b[:], l.replies)
	if want := iscsi.OpDataIn; !write && b.Opcode() != want || write && b.Opcode() != iscsi.OpSCSIResponse || b[3] != 0 {
		tb.Fatalf("reply %v, status %d", &b, b[3])
	}
	return l
}

func (l *loop) round(tb testing.TB) {
	for _, at := range l.cmdSNs {
		sn := l.cmdSN
		l.requests[at], l.requests[at+1], l.requests[at+2], l.requests[at+3] = byte(sn>>24), byte(sn>>16), byte(sn>>8), byte(sn)
		l.cmdSN++
	}
	if _, err := l.nc.Write(l.requests); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(l.nc, l.replies); err != nil {
		tb.Fatal(err)
	}
}

// quietLoop serves a store and makes a loop on it.
func quietLoop(tb testing.TB, s store.Store, op scsi.OpCode, size, depth int) *loop {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	srv, err := target.New(target.Config{
		Targets: []*target.Target{disk(s)}, Logger: slog.New(slog.DiscardHandler), LogoutTimeout: -1,
	})
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(tb.Context(), l) // ends with the test's context
	}()
	tb.Cleanup(func() { <-done })
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	conn := iscsi.NewConn(nc)
	res, err := iscsi.Login(tb.Context(), conn, iscsi.InitiatorConfig{InitiatorName: testInitiator, TargetName: testTarget})
	if err != nil {
		tb.Fatal(err)
	}
	c := &client{nc: nc, conn: conn, cmdSN: res.CmdSN}
	ready := iscsi.SCSICommand{Final: true, CDB: scsi.TestUnitReadyCDB(), CmdSN: c.cmdSN}
	var b iscsi.BHS
	ready.Encode(&b)
	if err := conn.WritePDU(&b, nil); err != nil {
		tb.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		tb.Fatal(err)
	}
	if _, err := conn.ReadPDU(&b); err != nil { // the unit attention
		tb.Fatal(err)
	}
	c.cmdSN++
	return newLoop(tb, c, op, size, depth)
}

// promptStores makes the stores whose steady state must not allocate.
func promptStores(tb testing.TB) map[string]store.Store {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 8<<20), 0o600); err != nil {
		tb.Fatal(err)
	}
	file, err := store.OpenFile(path, store.FileOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { file.Close() })
	return map[string]store.Store{"memory": store.NewMemory(diskSize), "file": file}
}

// TestSteadyState expects commands that need not wait to be served
// without any allocation.
func TestSteadyState(t *testing.T) {
	if raceDetector {
		t.Skip("SKIP: pools leak under the race detector")
	}
	for name, s := range promptStores(t) {
		for _, op := range []scsi.OpCode{scsi.OpRead16, scsi.OpWrite16} {
			for _, size := range []int{4096, 128 << 10} {
				t.Run(fmt.Sprintf("%s/%v/%d", name, op, size), func(t *testing.T) {
					l := quietLoop(t, s, op, size, 8)
					for range 50 { // fill the pools
						l.round(t)
					}
					if n := testing.AllocsPerRun(200, func() { l.round(t) }); n >= 1 {
						t.Errorf("%v allocations for 8 commands", n)
					}
				})
			}
		}
	}
}

func BenchmarkCommand(b *testing.B) {
	for _, op := range []scsi.OpCode{scsi.OpRead16, scsi.OpWrite16} {
		for _, shape := range []struct{ size, depth int }{{4096, 1}, {4096, 32}, {256 << 10, 4}} {
			b.Run(fmt.Sprintf("%v/%d/depth%d", op, shape.size, shape.depth), func(b *testing.B) {
				l := quietLoop(b, store.NewMemory(diskSize), op, shape.size, shape.depth)
				b.SetBytes(int64(shape.size))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%shape.depth == 0 {
						l.round(b)
					}
				}
			})
		}
	}
}
