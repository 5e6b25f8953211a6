//go:build linux

package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// workload is a load that a target is put under.
type workload struct {
	name     string
	kind     string // randread, randwrite, read or write
	size     int    // bytes a command
	depth    int    // commands outstanding a session
	sessions int
	digests  bool
}

func (w *workload) sequential() bool { return !strings.HasPrefix(w.kind, "rand") }

// args are what both load programs take after the LUN's URL.
func (w *workload) args(o *options, server int) []string {
	digests := "0"
	if w.digests {
		digests = "1"
	}
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
	return []string{w.kind, strconv.Itoa(w.size), strconv.Itoa(w.depth), strconv.Itoa(w.sessions), seconds(o.warm), seconds(o.seconds), digests, strconv.Itoa(server)}
}

// result is what a load program saw. Times are of microseconds unless they are
// named seconds.
type result struct {
	Ops      float64 `json:"ops"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu"`    // seconds of the load program
	Server   float64 `json:"server"` // and of the server
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Fairness float64 `json:"fairness"` // the slowest session's commands by the fastest's
	Errors   int     `json:"errors"`
}

func (r *result) rate() float64     { return r.Ops / r.Seconds }
func (r *result) cost() float64     { return r.Server / r.Ops * 1e6 } // of the server, in µs a command
func (r *result) p99() float64      { return r.P99 }
func (r *result) fairness() float64 { return r.Fairness }

// loader is a program that puts a target under load.
type loader struct {
	name    string
	command []string
}

//go:embed load/load.c
var loadSource []byte

// libiscsi builds the load program on libiscsi.
func (l *lab) libiscsi(ctx context.Context) (loader, error) {
	source, program := filepath.Join(l.dir, "load.c"), filepath.Join(l.dir, "load")
	if err := os.WriteFile(source, loadSource, 0o600); err != nil {
		return loader{}, err
	}
	if out, err := exec.CommandContext(ctx, "cc", "-O2", "-o", program, source, "-liscsi").CombinedOutput(); err != nil {
		return loader{}, fmt.Errorf("build the load program (needs gcc, libc6-dev and libiscsi-dev; make deps installs them): %w\n%s", err, out)
	}
	return loader{name: "libiscsi", command: []string{program}}, nil
}

// load runs a workload once against a system.
func (l *lab) load(ctx context.Context, by loader, s *system, w *workload) (result, error) {
	l.awaitQuiet(ctx)
	args := append(append(by.command[1:len(by.command):len(by.command)], s.url), w.args(&l.options, s.pid)...)
	ctx, cancel := context.WithTimeout(ctx, l.warm+l.seconds+3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, by.command[0], args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	var r result
	if err != nil {
		return r, fmt.Errorf("%s on %s, %s: %w\n%s", w.name, s.name, by.name, err, &said)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("%s says %q: %w", by.name, out, err)
	}
	return r, nil
}
