//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// table collects what was measured.
type table struct {
	lab   *lab
	cells map[[2]string][]result // by workload and system
}

func newTable(l *lab) *table { return &table{lab: l, cells: make(map[[2]string][]result)} }

func (t *table) add(workload, system string, r result) {
	key := [2]string{workload, system}
	t.cells[key] = append(t.cells[key], r)
	fmt.Fprintf(os.Stderr, "%-20s %-10s %9.0f a second, p99 %6.0f µs, %6.1f µs of processor a command\n", workload, system, r.rate(), r.P99, r.cost())
}

// figure is the median of what f takes from the results of a cell.
func (t *table) figure(workload, system string, f func(*result) float64) float64 {
	var all []float64
	for _, r := range t.cells[[2]string{workload, system}] {
		all = append(all, f(&r))
	}
	return median(all)
}

// ratio is the median of ours by another's figure, round by round: what else the
// machine did meanwhile has met both.
func (t *table) ratio(workload, other string, f func(*result) float64) float64 {
	var all []float64
	ours := t.cells[[2]string{workload, oursName}]
	for i, r := range t.cells[[2]string{workload, other}] {
		all = append(all, f(&ours[i])/f(&r))
	}
	return median(all)
}

// closest is the peer by which our ratio is the least, of those that keep allows.
func (t *table) closest(workload string, systems []system, keep func(string) bool) (name string, ratio float64) {
	for _, s := range systems {
		if s.name == oursName || s.name == rivalName || s.name == nullName || !keep(s.name) {
			continue
		}
		if r := t.ratio(workload, s.name, (*result).rate); r > 0 && (name == "" || r < ratio) {
			name, ratio = s.name, r
		}
	}
	return name, ratio
}

// amount is a rate in commands a second, or in MB/s of a sequential workload.
func amount(w *workload, rate float64) string {
	if w.sequential() {
		return fmt.Sprintf("%.0f MB/s", rate*float64(w.size)/1e6)
	}
	return fmt.Sprintf("%.0f", rate)
}

// mark is a figure beside its bar.
func mark(have, want float64) string {
	return fmt.Sprintf("%.2f%s %.2f", have, miss(have < want), want)
}

func miss(missed bool) string {
	if missed {
		return "!"
	}
	return ""
}

func (t *table) header(what string) *tabwriter.Writer {
	fmt.Printf("\nmedians of %d × %v, disks in %s; %d measurements while the machine was not quiet\n\n",
		t.lab.rounds, t.lab.seconds, t.lab.directory, t.lab.doubtful)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, what)
	return w
}

// Bars that all workloads have in common.
const (
	nullBar     = 0.85 // of what tgt's null store does
	fairnessBar = 0.8
	digestBar   = 0.75 // of what it is without digests
)

// printTargets prints what was measured beside the bars. A bar that is missed has
// an exclamation mark.
func (t *table) printTargets(systems []system) {
	out := t.header("workload\tours\tclosest peer\tratio, bar\tto null, bar\tp99 µs, peer's\tfairness\tCPU µs/op, peer's, null's\trival: ratio, CPU, p99\t")
	defer out.Flush()
	for i := range targetWorkloads {
		b := &targetWorkloads[i]
		if t.figure(b.name, oursName, (*result).rate) == 0 {
			continue
		}
		peer, ratio := t.closest(b.name, systems, func(name string) bool { return b.tuned == 0 || name != tunedName })
		t.printTarget(out, b, peer, ratio, b.want)
		if b.tuned != 0 {
			t.printTarget(out, b, tunedName, t.ratio(b.name, tunedName, (*result).rate), b.tuned)
		}
	}
}

func (t *table) printTarget(out io.Writer, b *bar, peer string, ratio, want float64) {
	ours := func(f func(*result) float64) float64 { return t.figure(b.name, oursName, f) }
	null := t.ratio(b.name, nullName, (*result).rate)
	tail, theirs := ours((*result).p99), t.figure(b.name, peer, (*result).p99)
	missed := ratio < want || null < nullBar || tail > theirs || ours((*result).fairness) < fairnessBar
	fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%.0f%s %.0f\t%.2f%s\t%.1f  %.1f  %.1f\t", b.name, amount(&b.workload, ours((*result).rate)), peer,
		mark(ratio, want), mark(null, nullBar), tail, miss(tail > theirs), theirs, ours((*result).fairness), miss(ours((*result).fairness) < fairnessBar),
		ours((*result).cost), t.figure(b.name, peer, (*result).cost), t.figure(b.name, nullName, (*result).cost))
	if t.lab.rival != "" {
		fmt.Fprintf(out, "%.2f  %.2f  %.2f\t", t.ratio(b.name, rivalName, (*result).rate), t.ratio(b.name, rivalName, (*result).cost), t.ratio(b.name, rivalName, (*result).p99))
	} else {
		fmt.Fprint(out, "\t")
	}
	fmt.Fprintf(out, "%s\n", map[bool]string{false: "pass", true: "MISSED"}[missed])
}

func (t *table) printDigests(workloads []workload) {
	out := t.header("workload\tours\twith both digests\tratio, bar\tCPU µs/op, with digests\t")
	defer out.Flush()
	for i := range workloads {
		w := &workloads[i]
		ratio := 1 / t.ratio(w.name, digestName, (*result).rate)
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%.1f  %.1f\t%s\n", w.name, amount(w, t.figure(w.name, oursName, (*result).rate)),
			amount(w, t.figure(w.name, digestName, (*result).rate)), mark(ratio, digestBar),
			t.figure(w.name, oursName, (*result).cost), t.figure(w.name, digestName, (*result).cost),
			map[bool]string{false: "pass", true: "MISSED"}[ratio < digestBar])
	}
}
