package main

import (
	"context"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"time"

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

// run keeps depth commands in flight.
func (b *bench) run(ctx context.Context, lun *initiator.LUN) (*benchResult, error) {
	places := lun.Size() / b.block.bytes
	if places == 0 {
		return nil, fmt.Errorf("the disk has %d bytes, fewer than --block", lun.Size())
	}
	var times histogram
	began := time.Now()
	if err := b.load(ctx, lun, places, began.Add(b.time), &times); err != nil {
		return nil, err
	}
	took := time.Since(began)
	µs := func(share float64) float64 { return float64(times.quantile(share).Nanoseconds()) / 1e3 }
	return &benchResult{
		Kind: b.kind, Block: b.block.bytes, Depth: b.depth, Seconds: took.Seconds(), Ops: times.total,
		P50: µs(0.5), P99: µs(0.99), P999: µs(0.999), Max: float64(times.max.Nanoseconds()) / 1e3,
	}, nil
}

// load has a queue read or write until it is time.
func (b *bench) load(ctx context.Context, lun *initiator.LUN, places int64, until time.Time, times *histogram) error {
	q := lun.Queue(ctx)
	defer q.Close()
	do := q.Read
	if b.writes() {
		do = q.Write
	}
	bufs, began := make([][]byte, b.depth), make([]time.Time, b.depth)
	var next int64
	ask := func(i int) {
		place := next % places
		if next++; b.kind[0] == 'r' && b.kind != "read" {
			place = rand.Int64N(places)
		}
		if began[i] = time.Now(); began[i].Before(until) {
			do(bufs[i], place*b.block.bytes, i)
		}
	}
	for i := range bufs {
		bufs[i] = make([]byte, b.block.bytes)
		for j := 0; b.writes() && j < len(bufs[i]); j++ {
			bufs[i][j] = byte(rand.Uint32())
		}
		ask(i)
	}
	for c, ok := q.Next(); ok; c, ok = q.Next() {
		if c.Err != nil {
			return c.Err
		}
		times.add(time.Since(began[c.Tag]))
		ask(c.Tag)
	}
	return nil
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
