package target_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

const (
	fairSessions = 64
	fairRounds   = 50
)

// race has sessions, each of one command at a time, carry out a number of reads, and
// returns how many each had when the first of them was through. Another session keeps
// the server busy meanwhile, with 32 commands at a time.
func race(t *testing.T, sessions, rounds int) []int64 {
	addr, _ := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	greedy := newLoop(t, connect(t, addr, withISID(9999)).ready(), scsi.OpRead16, 4096, 32)
	loops := make([]*loop, sessions)
	for i := range loops {
		loops[i] = newLoop(t, connect(t, addr, withISID(uint16(i+1))).ready(), scsi.OpRead16, 4096, 1)
	}
	counts := make([]atomic.Int64, sessions)
	first := make([]int64, sessions)
	var all, greed sync.WaitGroup
	var once sync.Once
	var done atomic.Bool
	greed.Go(func() {
		for !done.Load() {
			greedy.round(t)
		}
	})
	for i, l := range loops {
		all.Go(func() {
			for range rounds {
				l.round(t)
				counts[i].Add(1)
			}
			once.Do(func() {
				for j := range counts {
					first[j] = counts[j].Load()
				}
			})
		})
	}
	all.Wait()
	done.Store(true)
	greed.Wait()
	return first
}

// TestNobodyStarves has every one of many sessions served while others keep the server
// busy: when the first is through, none has had nothing. How even it is depends on the
// machine, and is what make bench reports.
func TestNobodyStarves(t *testing.T) {
	counts := race(t, fairSessions, fairRounds)
	least, most := slices.Min(counts), slices.Max(counts)
	t.Logf("when the first of %d sessions has had %d commands, the slowest has had %d", len(counts), most, least)
	if least == 0 {
		t.Errorf("sessions are starved: %d", counts)
	}
}
