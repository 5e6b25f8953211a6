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
	loaders := []loader{l.ourLoader(), {name: eachName, command: []string{l.program, "load", eachName}}, theirs}
	if l.rival != "" {
		loaders = append(loaders, loader{name: rivalName, command: []string{l.rival, "load", oursName}})
	}
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

// eachName is our initiator with a goroutine for each command in flight.
const eachName = "each"

// ourLoader is the load program on our initiator.
func (l *lab) ourLoader() loader {
	return loader{name: oursName, command: []string{l.program, "load", oursName}}
}

func (t *table) printInitiators(peer string) {
	out := t.header("workload\tours\t" + peer + "\tratio, bar\tgoroutines: ratio\tp99 µs: ours, peer\tCPU s/GiB: ours, goroutines, peer\trival: ratio, CPU")
	defer out.Flush()
	for i := range initiatorWorkloads {
		b := &initiatorWorkloads[i]
		ours, theirs := t.figure(b.name, oursName, (*result).rate), t.figure(b.name, peer, (*result).rate)
		if ours == 0 {
			continue
		}
		cost := func(r *result) float64 { return r.CPU / (r.Ops * float64(b.size) / (1 << 30)) }
		ratio := t.ratio(b.name, peer, (*result).rate)
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%.2f\t%.0f, %.0f\t%.2f, %.2f, %.2f\t", b.name, amount(&b.workload, ours), amount(&b.workload, theirs),
			mark(ratio, b.want), ratio/t.ratio(b.name, eachName, (*result).rate), t.figure(b.name, oursName, (*result).p99), t.figure(b.name, peer, (*result).p99),
			t.figure(b.name, oursName, cost), t.figure(b.name, eachName, cost), t.figure(b.name, peer, cost))
		if t.lab.rival != "" {
			fmt.Fprintf(out, "%.2f, %.2f", t.ratio(b.name, rivalName, (*result).rate), t.ratio(b.name, rivalName, cost))
		}
		fmt.Fprintln(out)
	}
}

// loadOurs is the load program on our initiator. It takes who is to keep the commands
// in flight, a queue ("ours") or a goroutine for each of them, and the arguments of
// load.c, and prints what that prints.
func loadOurs(ctx context.Context, args []string) error {
	if len(args) != 10 || args[0] != oursName && args[0] != eachName {
		return errors.New("load ours|each URL WORKLOAD SIZE DEPTH SESSIONS WARM SECONDS DIGESTS SERVER")
	}
	queued := args[0] == oursName
	args = args[1:]
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
	r, err := keepBusy(luns, &w, queued, server, time.Duration(warm*1e9), time.Duration(measure*1e9))
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

// keepBusy has depth commands in flight in each session: by a queue, which more than
// one deserve, or by goroutines.
func keepBusy(luns []*initiator.LUN, w *workload, queued bool, server int, warm, measure time.Duration) (result, error) {
	l := load{w: w, writes: strings.HasSuffix(w.kind, "write"), next: make([]atomic.Int64, len(luns))}
	var wg sync.WaitGroup
	workers, do := len(luns)*w.depth, l.each
	if queued = queued && w.depth > 1; queued {
		workers, do = len(luns), l.queue
	}
	took := make([][]time.Duration, workers)
	failed := make([]error, workers)
	for i := range workers {
		session := i * len(luns) / workers
		wg.Go(func() { took[i], failed[i] = do(luns[session], i, &l.next[session]) })
	}
	time.Sleep(warm)
	cpu, served, began := cpuSeconds(0), cpuSeconds(server), time.Now()
	l.phase.Store(1)
	time.Sleep(measure)
	l.phase.Store(2)
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

// load is what goroutines have in common.
type load struct {
	w      *workload
	writes bool
	phase  atomic.Int32   // 0 warming, 1 measuring, 2 over
	next   []atomic.Int64 // of sequential workloads
}

// place returns where the next command goes.
func (l *load) place(lun *initiator.LUN, random *rand.Rand, next *atomic.Int64) int64 {
	size := int64(l.w.size)
	places := lun.Size() / size
	if l.w.sequential() {
		return next.Add(1) % places * size
	}
	return random.Int64N(places) * size
}

// each does one command after the other and returns how long those took that
// began and ended while measuring.
func (l *load) each(lun *initiator.LUN, number int, next *atomic.Int64) (took []time.Duration, err error) {
	p := make([]byte, l.w.size)
	random := rand.New(rand.NewPCG(1, uint64(number)))
	do := lun.ReadAt
	if l.writes {
		do = lun.WriteAt
	}
	took = make([]time.Duration, 0, 1<<20)
	for l.phase.Load() < 2 {
		at := l.place(lun, random, next)
		measuring, began := l.phase.Load() == 1, time.Now()
		if _, err := do(p, at); err != nil {
			return nil, err
		}
		if measuring {
			took = append(took, time.Since(began))
		}
	}
	return took, nil
}

// queue is each with depth commands at a time.
func (l *load) queue(lun *initiator.LUN, number int, next *atomic.Int64) (took []time.Duration, err error) {
	q := lun.Queue(context.Background())
	defer q.Close()
	random := rand.New(rand.NewPCG(1, uint64(number)))
	do := q.Read
	if l.writes {
		do = q.Write
	}
	type slot struct {
		p         []byte
		measuring bool
		began     time.Time
	}
	slots := make([]slot, l.w.depth)
	submit := func(i int) {
		s := &slots[i]
		s.measuring, s.began = l.phase.Load() == 1, time.Now()
		do(s.p, l.place(lun, random, next), i)
	}
	for i := range slots {
		slots[i].p = make([]byte, l.w.size)
		submit(i)
	}
	took = make([]time.Duration, 0, 1<<20)
	for c, ok := q.Next(); ok; c, ok = q.Next() {
		if c.Err != nil {
			return nil, c.Err
		}
		if s := &slots[c.Tag]; s.measuring {
			took = append(took, time.Since(s.began))
		}
		if l.phase.Load() < 2 {
			submit(c.Tag)
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
