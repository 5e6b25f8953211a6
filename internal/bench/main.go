//go:build linux

// Command bench measures the target against tgt and istgt, and the initiator
// against libiscsi, in one run on one machine: everybody in turn, workload by
// workload, several rounds, and prints medians and ratios. In a guest it measures
// a session of Linux against bare TCP.
//
//	go run ./internal/bench target
//	go run ./internal/bench initiator
//	go run ./internal/bench kernel
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options are what the comparisons take from the command line.
type options struct {
	rounds    int
	seconds   time.Duration
	warm      time.Duration
	size      int64
	only      string
	awake     bool
	patience  time.Duration
	quick     bool
	against   string
	rival     string
	profile   string
	directory string
}

const usage = `usage: bench [flags] target | initiator | kernel

target     our target, tgt (rdwr, tuned, aio and null stores) and istgt under libiscsi's load
initiator  our initiator and libiscsi on one LUN of one target
kernel     a session of a guest's kernel with our target, and bare TCP between the same two

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		if child, ok := children[args[0]]; ok {
			return child(ctx, args[1:])
		}
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.IntVar(&o.rounds, "rounds", 5, "how often each is measured; medians are shown")
	flags.DurationVar(&o.seconds, "time", time.Second, "how long each measurement takes")
	flags.DurationVar(&o.warm, "warm", 300*time.Millisecond, "how long the load runs before it")
	flags.Int64Var(&o.size, "size", 1<<30, "bytes of the disk")
	flags.StringVar(&o.only, "only", "", "workloads whose name contains this")
	flags.BoolVar(&o.awake, "awake", true, "keep virtual processors from halting, which else decides figures at depth 1")
	flags.DurationVar(&o.patience, "patience", time.Minute, "how long to wait in all for other programs to be quiet")
	flags.BoolVar(&o.quick, "quick", false, "a first look in a few minutes: two rounds of 0.4 s, and istgt not with many sessions")
	flags.StringVar(&o.rival, "rival", "", "this program built from other sources, to measure its target or initiator too")
	flags.StringVar(&o.against, "against", "ours", "with initiator: the target to use, ours or tgt")
	flags.StringVar(&o.profile, "profile", "", "with target: write our CPU profile to this file")
	flags.StringVar(&o.directory, "dir", "/dev/shm", "where disks are")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if o.quick {
		o.rounds, o.seconds, o.warm, o.patience = 2, 400*time.Millisecond, 200*time.Millisecond, 10*time.Second
		_ = flags.Parse(args) // what else is asked for goes first
	}
	compare, ok := map[string]func(context.Context, *lab) error{"target": compareTargets, "initiator": compareInitiators, "kernel": compareKernel}[flags.Arg(0)]
	if !ok || flags.NArg() != 1 {
		flags.Usage()
		return fmt.Errorf("say what to compare: target, initiator or kernel")
	}
	l, err := newLab(o)
	if err != nil {
		return err
	}
	defer l.close()
	return compare(ctx, l)
}

// lab is where comparisons take place.
type lab struct {
	options
	dir     string // of disks and programs
	stops   []func()
	program string // this one, for children

	doubtful int // measurements while the machine was not quiet
}

func newLab(o options) (*lab, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.directory, "bench")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, dir: dir, program: program}
	l.later(func() { os.RemoveAll(dir) })
	if o.awake {
		if err := l.keepAwake(); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// later has stop run when the lab closes, last first.
func (l *lab) later(stop func()) { l.stops = append(l.stops, stop) }

func (l *lab) close() {
	for len(l.stops) > 0 {
		last := len(l.stops) - 1
		l.stops[last]()
		l.stops = l.stops[:last]
	}
}

// disk makes a disk that is all allocated, so that nobody reads holes.
func (l *lab) disk(name string) (string, error) {
	path := filepath.Join(l.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	block := []byte(strings.Repeat("bootlun bench   ", 1<<16))
	for off := int64(0); off < l.size; off += int64(len(block)) {
		if _, err := f.WriteAt(block[:min(int64(len(block)), l.size-off)], off); err != nil {
			return "", err
		}
	}
	return path, f.Close()
}

// median is the middle of the figures, or 0 of none.
func median(figures []float64) float64 {
	if len(figures) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(figures))
	return (sorted[len(sorted)/2] + sorted[(len(sorted)-1)/2]) / 2
}
