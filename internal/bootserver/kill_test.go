package bootserver_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/target/control"
)

const (
	killTarget = "iqn.2026-11.com.example:killed"
	killDisk   = "BOOTLUN_TEST_DISK" // the disk that this process is to serve until it is killed, as JSON

	killWriters = 4
	killBlock   = 4096
	killBlocks  = 128 // of each writer
	killSize    = killWriters * killBlocks * killBlock
)

func TestMain(m *testing.M) {
	if text := os.Getenv(killDisk); text != "" {
		fmt.Fprintln(os.Stderr, serveUntilKilled(text))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serveUntilKilled serves a disk on a port of loopback, which it prints.
func serveUntilKilled(text string) error {
	var m control.Medium
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	targets, err := control.New(control.Config{
		Targets: []control.Target{{Name: killTarget, LUNs: []control.LUN{{Medium: m}}}},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return targets.Server().Serve(context.Background(), l)
}

// TestKill kills the server with SIGKILL while an initiator writes, again and
// again, and expects that all that was flushed is there. BOOTLUN_KILLS says how
// often (5).
//
// Over a file this shows that nothing is answered before it is with the kernel,
// whose page cache outlives the process; that a flush goes further is shown by
// TestFlushReachesTheDevice of package store. Over NBD the server behind is killed too: nbdkit's
// cache, which is lost with it, stands for a power failure.
func TestKill(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		killLoop(t, control.Medium{Path: emptyDisk(t, killSize)}, nil)
	})
	t.Run("qemu-nbd", func(t *testing.T) {
		nbd := peers.QEMU(t, "raw", emptyDisk(t, killSize))
		killLoop(t, control.Medium{NBD: nbd.URI()}, nbd)
	})
	t.Run("nbdkit with a volatile cache", func(t *testing.T) {
		nbd := peers.NBDKit(t, "--filter=cache", "file", emptyDisk(t, killSize), "cache=writeback")
		killLoop(t, control.Medium{NBD: nbd.URI()}, nbd)
	})
}

func killLoop(t *testing.T, disk control.Medium, nbd *peers.NBD) {
	n, err := strconv.Atoi(os.Getenv("BOOTLUN_KILLS"))
	if err != nil {
		n = 5
	}
	writers := make([]*stampWriter, killWriters)
	for i := range writers {
		writers[i] = &stampWriter{base: int64(i) * killBlocks * killBlock, rnd: rand.New(rand.NewPCG(uint64(i), 7))}
	}
	for round := range n {
		killRound(t, disk, nbd, writers, round)
		if t.Failed() {
			return
		}
	}
	p := startServed(t, disk)
	s, lun := p.attach(t)
	writes, flushes := uint64(0), 0
	for _, w := range writers {
		w.verify(t, lun)
		writes, flushes = writes+w.last, flushes+w.flushes
	}
	s.Close()
	p.kill()
	t.Logf("%d kills, %d writes sent, %d flushes acknowledged", n, writes, flushes)
}

// killRound verifies what the last round left, writes on, and kills in the
// middle of that; the NBD server first, or afterwards, or not.
func killRound(t *testing.T, disk control.Medium, nbd *peers.NBD, writers []*stampWriter, round int) {
	p := startServed(t, disk)
	defer p.kill()
	s, lun := p.attach(t)
	defer s.Close()
	for _, w := range writers {
		w.verify(t, lun)
	}
	var wg sync.WaitGroup
	did := make(chan struct{}, 1)
	for _, w := range writers {
		wg.Go(func() {
			for w.step(t.Context(), lun) == nil {
				select {
				case did <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 20 + rand.IntN(100) {
		<-did
	}
	if nbd != nil && round%3 == 0 {
		nbd.Kill()
		nbd.Start()
		for range 20 {
			<-did
		}
	}
	p.kill()
	if nbd != nil && round%3 != 2 {
		nbd.Kill()
		nbd.Start()
	}
	s.Close()
	wg.Wait()
}

// served is a process of ours that serves a disk.
type served struct {
	cmd  *exec.Cmd
	addr string
	once sync.Once
}

func startServed(t *testing.T, disk control.Medium) *served {
	t.Helper()
	text, err := json.Marshal(disk)
	if err != nil {
		t.Fatal(err)
	}
	p := &served{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), killDisk+"="+string(text))
	p.cmd.Stderr = t.Output()
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

func (p *served) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill() // it may have ended, which the test finds out
		_ = p.cmd.Wait()         // killed
	})
}

func (p *served) attach(t *testing.T) (*initiator.Session, *initiator.LUN) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := initiator.Dial(ctx, initiator.Config{Initiator: "iqn.2026-11.com.example:writer", Target: killTarget, Portal: p.addr})
	if err != nil {
		t.Fatal(err)
	}
	lun, err := s.OpenLUN(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s, lun
}

// stampWriter writes blocks that say when they were written, and notes what was
// acknowledged as flushed.
type stampWriter struct {
	base    int64
	rnd     *rand.Rand
	last    uint64             // stamp
	sent    [killBlocks]uint64 // the last stamp of each block, acknowledged or not
	acked   [killBlocks]uint64
	flushed [killBlocks]uint64
	flushes int
}

// step writes a block, or flushes.
func (w *stampWriter) step(ctx context.Context, lun *initiator.LUN) error {
	if w.rnd.IntN(8) == 0 {
		if err := lun.Flush(ctx); err != nil {
			return err
		}
		w.flushed = w.acked
		w.flushes++
		return nil
	}
	i := w.rnd.IntN(killBlocks)
	w.last++
	w.sent[i] = w.last
	if _, err := lun.WriteAtContext(ctx, stampedBlock(w.base, i, w.last), w.base+int64(i)*killBlock); err != nil {
		return err
	}
	w.acked[i] = w.last
	return nil
}

// verify expects of each block the stamp that was flushed, or a later one.
func (w *stampWriter) verify(t *testing.T, lun *initiator.LUN) {
	t.Helper()
	got := make([]byte, killBlock)
	for i := range killBlocks {
		if _, err := lun.ReadAt(got, w.base+int64(i)*killBlock); err != nil {
			t.Fatal(err)
		}
		stamp := binary.BigEndian.Uint64(got[8:])
		switch {
		case stamp < w.flushed[i] || stamp > w.sent[i]:
			t.Errorf("block %d at %d: stamp %d, flushed was %d, sent %d", i, w.base, stamp, w.flushed[i], w.sent[i])
		case !bytes.Equal(got, stampedBlock(w.base, i, stamp)):
			t.Errorf("block %d at %d: not all of it is of stamp %d", i, w.base, stamp)
		}
		w.acked[i] = stamp
	}
}

func stampedBlock(base int64, i int, stamp uint64) []byte {
	p := make([]byte, killBlock)
	if stamp == 0 {
		return p
	}
	for at := 0; at < killBlock; at += 16 {
		binary.BigEndian.PutUint64(p[at:], uint64(base)+uint64(i))
		binary.BigEndian.PutUint64(p[at+8:], stamp)
	}
	return p
}

func emptyDisk(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return path
}
