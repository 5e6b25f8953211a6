package nbd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/target/store/nbd"
)

// TestRestartUnderLoad kills servers again and again while writers write, and
// expects that every acknowledged write is there in the end. What is killed
// takes its memory with it: qemu-nbd the tables of a qcow2 file, nbdkit's cache
// all that was not flushed. BOOTLUN_NBD_KILLS says how often (5).
func TestRestartUnderLoad(t *testing.T) {
	for name, server := range map[string]func(t *testing.T) *peers.NBD{
		"raw":   func(t *testing.T) *peers.NBD { return peers.QEMU(t, "raw", image(t, "raw", loadSize)) },
		"qcow2": func(t *testing.T) *peers.NBD { return peers.QEMU(t, "qcow2", image(t, "qcow2", loadSize)) },
		"volatile cache": func(t *testing.T) *peers.NBD {
			return peers.NBDKit(t, "--filter=cache", "file", image(t, "raw", loadSize), "cache=writeback")
		},
	} {
		t.Run(name, func(t *testing.T) { restartUnderLoad(t, server(t)) })
	}
}

const (
	loadWriters = 8
	loadBlock   = 4096
	loadBlocks  = 512 // of each writer
	loadSize    = loadWriters * loadBlocks * loadBlock
)

func restartUnderLoad(t *testing.T, server *peers.NBD) {
	s := open(t, server.URI(), nbd.Config{MaxUnflushed: 1 << 20})
	var stop atomic.Bool
	var wg sync.WaitGroup
	did := make(chan struct{}, 64)
	writers := make([]*loadWriter, loadWriters)
	for i := range writers {
		w := &loadWriter{s: s, base: int64(i) * loadBlocks * loadBlock, rnd: rand.New(rand.NewPCG(uint64(i), 1))}
		writers[i] = w
		wg.Go(func() {
			for !stop.Load() && !t.Failed() {
				if err := w.step(); err != nil {
					t.Error(err)
				}
				select {
				case did <- struct{}{}:
				default:
				}
			}
		})
	}
	for range kills(t) {
		for n := 0; n < 400 && !t.Failed(); n++ { // until there is something to lose
			<-did
		}
		server.Kill()
		server.Start()
	}
	stop.Store(true)
	wg.Wait()
	writes := uint64(0)
	for _, w := range writers {
		w.verify(t)
		writes += w.writes
	}
	t.Logf("%d writes", writes)
}

func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("BOOTLUN_NBD_KILLS"))
	if err != nil {
		return 5
	}
	return n
}

// loadWriter writes blocks that say how often they were written.
type loadWriter struct {
	s      *nbd.Store
	base   int64
	rnd    *rand.Rand
	stamps [loadBlocks]uint64 // 0: zeros
	writes uint64
}

// step does one thing at random.
func (w *loadWriter) step() error {
	i := w.rnd.IntN(loadBlocks)
	off := w.base + int64(i)*loadBlock
	var err error
	switch w.rnd.IntN(40) {
	case 0:
		err = w.s.Flush()
	case 1:
		w.stamps[i] = 0
		err = w.s.WriteZeroes(off, loadBlock)
	case 2, 3:
		got := make([]byte, loadBlock)
		if _, err = w.s.ReadAt(got, off); err == nil && !bytes.Equal(got, stamped(off, w.stamps[i])) {
			err = fmt.Errorf("block at %d is not what was acknowledged", off)
		}
	default:
		w.writes++
		stamp := w.writes
		w.stamps[i] = stamp
		if stamp%10 == 0 {
			_, err = w.s.WriteDurable(stamped(off, stamp), off)
		} else {
			_, err = w.s.WriteAt(stamped(off, stamp), off)
		}
	}
	return err
}

func (w *loadWriter) verify(t *testing.T) {
	got := make([]byte, loadBlock)
	for i, stamp := range w.stamps {
		off := w.base + int64(i)*loadBlock
		if _, err := w.s.ReadAt(got, off); err != nil || !bytes.Equal(got, stamped(off, stamp)) {
			t.Errorf("block at %d: stamp %d, want %d (error %v)", off, binary.BigEndian.Uint64(got[8:]), stamp, err)
		}
	}
}

func stamped(off int64, stamp uint64) []byte {
	p := make([]byte, loadBlock)
	if stamp == 0 {
		return p
	}
	for at := 0; at < loadBlock; at += 16 {
		binary.BigEndian.PutUint64(p[at:], uint64(off))
		binary.BigEndian.PutUint64(p[at+8:], stamp)
	}
	return p
}
