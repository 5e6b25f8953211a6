package main

import (
	"context"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/internal/cli"
)

func benchCommand() *cli.Command {
	c := cli.NewCommand("bench", "measure how fast a disk is", "URL [flags]")
	c.Text = `So many commands as --depth says are in flight at any time. Writing DESTROYS what is on
the disk, and wants --overwrite besides.`
	c.Examples = []cli.Example{
		{"iscsi bench iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1", "4 KiB random reads"},
		{"iscsi bench --kind read --block 256K --depth 8 iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1"},
		{"iscsi bench --kind randwrite --overwrite iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1"},
	}
	c.Max = 1
	var r reach
	r.define(c)
	b := bench{kind: "randread", block: sizeFlag{bytes: 4096, set: true}}
	kinds := []string{"randread", "read", "randwrite", "write"}
	c.Choice("kind", "`KIND` of load: randread, read, randwrite or write (randread)", kinds, false, func(s string) error {
		for _, k := range kinds {
			if s == k {
				b.kind = s
				return nil
			}
		}
		return fmt.Errorf("want one of %v", kinds)
	})
	c.Var(&b.block, "block", "`BYTES` of a command (4096)")
	c.IntVar(&b.depth, "depth", 32, "`NUMBER` of commands in flight (32)")
	c.DurationVar(&b.time, "time", 10*time.Second, "measure for this `TIME` (10s)")
	overwrite := c.Bool("overwrite", false, "do write, over what is on the disk")
	asJSON := c.Bool("json", false, "print JSON")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		switch {
		case b.writes() && !*overwrite:
			return c.Misused("--kind %s destroys what is on the disk: say --overwrite as well", b.kind)
		case b.depth < 1 || b.depth > maxDepth:
			return c.Misused("--depth is from 1 to %d", maxDepth)
		case b.block.bytes < 1 || b.block.bytes > copyUnit:
			return c.Misused("--block is from 1 to %d", copyUnit)
		}
		cfg, err := r.config(c, args, true)
		if err != nil {
			return err
		}
		cfg.MaxCommands = max(b.depth, 128)
		return r.withLUN(ctx, cfg, std, func(lun *initiator.LUN) error {
			result, err := b.run(ctx, lun)
			if err != nil {
				return err
			}
			if *asJSON {
				return cli.PrintJSON(std.Out, result)
			}
			return result.print(std.Out)
		})
	}
	return c
}

// maxDepth is as many commands as a session takes.
const maxDepth = 1024

// bench is what to measure.
type bench struct {
	kind  string
	block sizeFlag
	depth int
	time  time.Duration
}

func (b *bench) writes() bool { return b.kind == "write" || b.kind == "randwrite" }

// benchResult is what was measured. Latencies are in microseconds.
type benchResult struct {
	Kind    string  `json:"kind"`
	Block   int64   `json:"block"`
	Depth   int     `json:"depth"`
	Seconds float64 `json:"seconds"`
	Ops     int64   `json:"ops"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	P999    float64 `json:"p999"`
	Max     float64 `json:"max"`
}

// run keeps depth goroutines busy.
func (b *bench) run(ctx context.Context, lun *initiator.LUN) (*benchResult, error) {
	places := lun.Size() / b.block.bytes
	if places == 0 {
		return nil, fmt.Errorf("the disk has %d bytes, fewer than --block", lun.Size())
	}
	var next atomic.Int64
	times := make([]histogram, b.depth)
	began := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for i := range b.depth {
		g.Go(func() error { return b.worker(gctx, lun, places, began.Add(b.time), &next, &times[i]) })
	}
	err := g.Wait()
	took := time.Since(began)
	if err != nil {
		return nil, err
	}
	var all histogram
	for i := range times {
		all.merge(&times[i])
	}
	µs := func(share float64) float64 { return float64(all.quantile(share).Nanoseconds()) / 1e3 }
	return &benchResult{
		Kind: b.kind, Block: b.block.bytes, Depth: b.depth, Seconds: took.Seconds(), Ops: all.total,
		P50: µs(0.5), P99: µs(0.99), P999: µs(0.999), Max: float64(all.max.Nanoseconds()) / 1e3,
	}, nil
}

// worker does one command after the other.
func (b *bench) worker(ctx context.Context, lun *initiator.LUN, places int64, until time.Time, next *atomic.Int64, h *histogram) error {
	p := make([]byte, b.block.bytes)
	do := lun.ReadAtContext
	if b.writes() {
		do = lun.WriteAtContext
		for i := range p {
			p[i] = byte(rand.Uint32())
		}
	}
	for {
		began := time.Now()
		if began.After(until) {
			return nil
		}
		place := next.Add(1) % places
		if b.kind[0] == 'r' && b.kind != "read" {
			place = rand.Int64N(places)
		}
		if _, err := do(ctx, p, place*b.block.bytes); err != nil {
			return err
		}
		h.add(time.Since(began))
	}
}

func (r *benchResult) print(w io.Writer) error {
	rate := float64(r.Ops) / r.Seconds
	_, err := fmt.Fprintf(w, "%s of %s, depth %d, %.1f s: %.0f a second, %s/s\nlatency: half within %.0f µs, 99 %% within %.0f µs, 99.9 %% within %.0f µs, the longest %.0f µs\n",
		r.Kind, bytesize.Format(r.Block), r.Depth, r.Seconds, rate, bytesize.Format(int64(rate*float64(r.Block))), r.P50, r.P99, r.P999, r.Max)
	return err
}

// histogram counts times in buckets that are a sixteenth of a power of two wide.
type histogram struct {
	counts [64 * 16]int64
	total  int64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
	h.max = max(h.max, d)
}

func bucket(d time.Duration) int {
	n := uint64(max(d, 16))
	e := bits.Len64(n) - 5
	return e*16 + int(n>>e)&15
}

// upper returns the longest time in a bucket.
func upper(i int) time.Duration {
	return time.Duration((uint64(16+i%16)+1)<<(i/16) - 1)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns the time within which a share of all is, a little too long.
func (h *histogram) quantile(share float64) time.Duration {
	left := int64(share * float64(h.total))
	for i, n := range h.counts {
		if left -= n; left < 0 {
			return min(upper(i), h.max)
		}
	}
	return h.max
}
