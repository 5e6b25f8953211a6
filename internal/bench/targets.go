//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/bootlun/bootlun/internal/peers"
)

const (
	oursName  = "ours"
	rivalName = "rival"
	nullName  = "tgt null" // moves no data: what load program and loopback allow one thread
	lunName   = "iqn.2026-11.org.bootlun:bench"
)

// system is a target that is measured.
type system struct {
	name, url string
	pid       int

	// slowLogin has it measured but once where there are many sessions.
	slowLogin bool
}

// bar is what our target must reach of the best peer's figure.
type bar struct {
	workload
	want float64
	// tuned, if not 0, is what it must reach of tuned tgt's; want is of the rest's.
	tuned float64
}

var targetWorkloads = []bar{
	{workload: workload{"4k read, depth 1", "randread", 4096, 1, 1, false}, want: 1.2},
	{workload: workload{"4k write, depth 1", "randwrite", 4096, 1, 1, false}, want: 1.2},
	{workload: workload{"4k read, depth 32", "randread", 4096, 32, 1, false}, want: 1.5},
	{workload: workload{"4k write, depth 32", "randwrite", 4096, 32, 1, false}, want: 1.5},
	{workload: workload{"256k read, depth 8", "read", 256 << 10, 8, 1, false}, want: 1.1},
	{workload: workload{"256k write, depth 8", "write", 256 << 10, 8, 1, false}, want: 1.3, tuned: 1.0},
	{workload: workload{"4k read, 8 × 4", "randread", 4096, 4, 8, false}, want: 1.5},
	{workload: workload{"4k read, 64 × 1", "randread", 4096, 1, 64, false}, want: 1.6},
	{workload: workload{"4k read, 64 × 4", "randread", 4096, 4, 64, false}, want: 1.5},
	{workload: workload{"256k read, 8 × 2", "read", 256 << 10, 2, 8, false}, want: 1.1},
	{workload: workload{"64k read, 64 × 2", "read", 64 << 10, 2, 64, false}, want: 1.1},
	{workload: workload{"4k read, digests", "randread", 4096, 32, 1, true}, want: 1.5},
}

const (
	tunedName  = "tgt tuned"
	digestName = "digests" // ours with both
)

func compareTargets(ctx context.Context, l *lab) error {
	by, err := l.libiscsi(ctx)
	if err != nil {
		return err
	}
	systems, err := l.targets(ctx)
	if err != nil {
		return err
	}
	t := newTable(l)
	for round := range l.rounds {
		for i := range targetWorkloads {
			w := &targetWorkloads[i].workload
			if !strings.Contains(w.name, l.only) {
				continue
			}
			for j := range systems {
				if round%2 == 1 { // nobody always comes after the same one
					j = len(systems) - 1 - j
				}
				if systems[j].slowLogin && w.sessions > 8 && (round > 0 || l.quick) {
					continue
				}
				r, err := l.load(ctx, by, &systems[j], w)
				if err != nil && systems[j].slowLogin && w.sessions > 8 {
					fmt.Fprintln(os.Stderr, err, "(left out)")
					continue
				}
				if err != nil {
					return err
				}
				t.add(w.name, systems[j].name, r)
			}
		}
	}
	t.printTargets(systems)
	return l.digestCost(ctx, systems[0])
}

// digestCost measures our target with and without both digests, by our initiator:
// libiscsi's has none of data.
func (l *lab) digestCost(ctx context.Context, ours system) error {
	t := newTable(l)
	workloads := []workload{{"4k read, depth 32", "randread", 4096, 32, 1, false}, {"256k read, depth 8", "read", 256 << 10, 8, 1, false}}
	for range l.rounds {
		for _, w := range workloads {
			for _, digests := range []bool{false, true} {
				w.digests = digests
				r, err := l.load(ctx, l.ourLoader(), &ours, &w)
				if err != nil {
					return err
				}
				t.add(w.name, map[bool]string{false: oursName, true: digestName}[digests], r)
			}
		}
	}
	t.printDigests(workloads)
	return nil
}

// targets starts everybody with a disk of his own.
func (l *lab) targets(ctx context.Context) ([]system, error) {
	ours, err := l.ours(ctx)
	if err != nil {
		return nil, err
	}
	systems := []system{ours}
	if l.rival != "" {
		rival, err := l.serving(ctx, rivalName, l.rival, "")
		if err != nil {
			return nil, err
		}
		systems = append(systems, rival)
	}
	large := [][2]string{
		{"MaxRecvDataSegmentLength", "262144"}, {"FirstBurstLength", "262144"}, {"MaxBurstLength", "1048576"}, {"InitialR2T", "No"},
	}
	for _, v := range []struct {
		name, store string
		set         [][2]string
	}{{"tgt", "rdwr", nil}, {tunedName, "rdwr", large}, {"tgt aio", "aio", large}, {nullName, "null", large}} {
		s, err := l.tgt(ctx, v.name, v.store, v.set)
		if err != nil {
			return nil, err
		}
		systems = append(systems, s)
	}
	disk, err := l.disk("istgt")
	if err != nil {
		return nil, err
	}
	g, err := peers.StartISTGT(ctx, l.dir, peers.ISTGTUser{Name: "nobody", Secret: "nobody-nobody"}, peers.ISTGTDisk{Path: disk, Size: l.size, Auth: "None"})
	if err != nil {
		return nil, err
	}
	l.later(g.Stop)
	// It lets one session a second in.
	return append(systems, system{"istgt", fmt.Sprintf("iscsi://%s/%s0/0", g.Portal, peers.ISTGTName), g.PID(), true}), nil
}

// tgt starts a tgtd of its own for a kind of store.
func (l *lab) tgt(ctx context.Context, name, store string, set [][2]string) (system, error) {
	disk, err := l.disk(strings.ReplaceAll(name, " ", "-"))
	if err != nil {
		return system{}, err
	}
	g, err := peers.StartTGT(ctx, "127.0.0.1")
	if err != nil {
		return system{}, err
	}
	l.later(g.Stop)
	tid, err := g.Target(lunName, []string{disk}, "--bstype", store)
	if err != nil {
		return system{}, err
	}
	for _, kv := range set {
		if err := g.Set(tid, kv[0], kv[1]); err != nil {
			return system{}, err
		}
	}
	return system{name: name, pid: g.PID(), url: fmt.Sprintf("iscsi://%s/%s/1", g.Portal, lunName)}, nil
}

// ours starts our target as a process of its own, as the peers are.
func (l *lab) ours(ctx context.Context) (system, error) {
	return l.serving(ctx, oursName, l.program, l.profile)
}

// serving starts the target of this program, or one like it.
func (l *lab) serving(ctx context.Context, name, program, profile string) (system, error) {
	disk, err := l.disk(name)
	if err != nil {
		return system{}, err
	}
	cmd := exec.CommandContext(ctx, program, "serve", disk, profile)
	in, err := cmd.StdinPipe()
	if err != nil {
		return system{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return system{}, err
	}
	if err := cmd.Start(); err != nil {
		return system{}, err
	}
	l.later(func() {
		in.Close() // its sign to end
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return system{}, fmt.Errorf("%s: target does not come up: %w", program, err)
	}
	return system{name: name, pid: cmd.Process.Pid, url: fmt.Sprintf("iscsi://%s/%s/0", strings.TrimSpace(addr), lunName)}, nil
}
