//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/iscsi"
)

var initiatorWorkloads = []bar{
	{workload: workload{"4k read, depth 1", "randread", 4096, 1, 1, false}, want: 1},
	{workload: workload{"4k write, depth 1", "randwrite", 4096, 1, 1, false}, want: 1},
	{workload: workload{"4k read, depth 32", "randread", 4096, 32, 1, false}, want: 1.5},
	{workload: workload{"4k write, depth 32", "randwrite", 4096, 32, 1, false}, want: 1.5},
	{workload: workload{"4k read, depth 128", "randread", 4096, 128, 1, false}, want: 1},
	{workload: workload{"4k write, depth 128", "randwrite", 4096, 128, 1, false}, want: 1},
	{workload: workload{"256k read, depth 8", "read", 256 << 10, 8, 1, false}, want: 1},
	{workload: workload{"256k write, depth 8", "write", 256 << 10, 8, 1, false}, want: 1},
}

func compareInitiators(ctx context.Context, l *lab) error {
	theirs, err := l.libiscsi(ctx)
	if err != nil {
		return err
	}
	var s system
	switch l.against {
	case oursName:
		s, err = l.ours(ctx)
	case "tgt":
		s, err = l.tgt(ctx, "tgt", "rdwr", nil)
	default:
		err = fmt.Errorf("--against %s: must be ours or tgt", l.against)
	}
	if err != nil {
		return err
	}
	loaders := []loader{l.ourLoader(), theirs}
	t := newTable(l)
	for round := range l.rounds {
		for i := range initiatorWorkloads {
			w := &initiatorWorkloads[i].workload
			if !strings.Contains(w.name, l.only) {
				continue
			}
			for j := range loaders {
				if round%2 == 1 {
					j = len(loaders) - 1 - j
				}
				r, err := l.load(ctx, loaders[j], &s, w)
				if err != nil {
					return err
				}
				t.add(w.name, loaders[j].name, r)
			}
		}
	}
	t.printInitiators(theirs.name)
	return nil
}

// ourLoader is the load program on our initiator.
func (l *lab) ourLoader() loader {
	return loader{name: oursName, command: []string{l.program, "load"}}
}

func (t *table) printInitiators(peer string) {
	out := t.header("workload\tours\t" + peer + "\tratio\tp99 ours\tp99 peer\tCPU s/GiB ours\tpeer")
	defer out.Flush()
	for i := range initiatorWorkloads {
		b := &initiatorWorkloads[i]
		ours, theirs := t.figure(b.name, oursName, (*result).rate), t.figure(b.name, peer, (*result).rate)
		if ours == 0 {
			continue
		}
		cost := func(r *result) float64 { return r.CPU / (r.Ops * float64(b.size) / (1 << 30)) }
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%.0f µs\t%.0f µs\t%.2f\t%.2f\n", b.name, amount(&b.workload, ours), amount(&b.workload, theirs),
			mark(ours/theirs, b.want), t.figure(b.name, oursName, (*result).p99), t.figure(b.name, peer, (*result).p99),
			t.figure(b.name, oursName, cost), t.figure(b.name, peer, cost))
	}
}

// loadOurs is the load program on our initiator. It takes the arguments of load.c
// and prints what that prints.
func loadOurs(ctx context.Context, args []string) error {
	if len(args) != 9 {
		return errors.New("load URL WORKLOAD SIZE DEPTH SESSIONS WARM SECONDS DIGESTS SERVER")
	}
	u, err := url.Parse(args[0])
	if err != nil {
		return err
	}
	name, number, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	w := workload{kind: args[1], digests: args[7] == "1"}
	n, err := strconv.Atoi(number)
	for i, p := range []*int{&w.size, &w.depth, &w.sessions} {
		var bad error
		*p, bad = strconv.Atoi(args[2+i])
		err = errors.Join(err, bad)
	}
	warm, bad1 := strconv.ParseFloat(args[5], 64)
	measure, bad2 := strconv.ParseFloat(args[6], 64)
	server, bad3 := strconv.Atoi(args[8])
	if err := errors.Join(err, bad1, bad2, bad3); err != nil {
		return err
	}
	var luns []*initiator.LUN
	for range w.sessions {
		lun, err := logIn(ctx, u.Host, name, n, &w)
		if err != nil {
			return err
		}
		defer lun.Session().Close()
		luns = append(luns, lun)
	}
	r, err := keepBusy(luns, &w, server, time.Duration(warm*1e9), time.Duration(measure*1e9))
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func logIn(ctx context.Context, portal, name string, number int, w *workload) (*initiator.LUN, error) {
	cfg := initiator.Config{Initiator: "iqn.2026-11.org.bootlun:load", Target: name, Portal: portal, MaxCommands: max(w.depth, 128)}
	if w.digests {
		cfg.Offer.HeaderDigest, cfg.Offer.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire
	}
	s, err := initiator.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	id, err := iscsi.MakeLUN(number)
	if err != nil {
		return nil, err
	}
	return s.OpenLUN(ctx, id)
}

// keepBusy has depth goroutines a session read or write.
func keepBusy(luns []*initiator.LUN, w *workload, server int, warm, measure time.Duration) (result, error) {
	var phase atomic.Int32 // 0 warming, 1 measuring, 2 over
	var wg sync.WaitGroup
	took := make([][]time.Duration, len(luns)*w.depth)
	failed := make([]error, len(took))
	next := make([]atomic.Int64, len(luns)) // of sequential workloads
	for i := range took {
		wg.Go(func() { took[i], failed[i] = worker(luns[i/w.depth], w, i, &next[i/w.depth], &phase) })
	}
	time.Sleep(warm)
	cpu, served, began := cpuSeconds(0), cpuSeconds(server), time.Now()
	phase.Store(1)
	time.Sleep(measure)
	phase.Store(2)
	r := result{Seconds: time.Since(began).Seconds(), CPU: cpuSeconds(0) - cpu, Server: cpuSeconds(server) - served}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return r, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	r.Ops = float64(len(all))
	if len(all) > 0 {
		r.P50, r.P99 = float64(all[len(all)/2].Nanoseconds())/1e3, float64(all[len(all)*99/100].Nanoseconds())/1e3
	}
	return r, nil
}

// worker does one command after the other and returns how long those took that
// began and ended while measuring.
func worker(lun *initiator.LUN, w *workload, number int, next *atomic.Int64, phase *atomic.Int32) (took []time.Duration, err error) {
	p := make([]byte, w.size)
	random := rand.New(rand.NewPCG(1, uint64(number)))
	places := lun.Size() / int64(w.size)
	do := lun.ReadAt
	if strings.HasSuffix(w.kind, "write") {
		do = lun.WriteAt
	}
	took = make([]time.Duration, 0, 1<<20)
	for phase.Load() < 2 {
		at := random.Int64N(places)
		if w.sequential() {
			at = next.Add(1) % places
		}
		measuring, began := phase.Load() == 1, time.Now()
		if _, err := do(p, at*int64(w.size)); err != nil {
			return nil, err
		}
		if measuring {
			took = append(took, time.Since(began))
		}
	}
	return took, nil
}

// cpuSeconds is the processor time of a process, 0 for this one.
func cpuSeconds(process int) float64 {
	const schedulers = 2 // CPUCLOCK_SCHED of Linux: what the scheduler has counted
	var t unix.Timespec
	_ = unix.ClockGettime(int32(^process<<3|schedulers), &t) // of a process that has ended: none
	return float64(t.Nano()) / 1e9
}
