//go:build linux

package main

import (
	"fmt"
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
	fmt.Fprintf(os.Stderr, "%-20s %-10s %9.0f a second, p99 %.0f µs\n", workload, system, r.rate(), r.P99)
}

// figure is the median of what f takes from the results of a cell.
func (t *table) figure(workload, system string, f func(*result) float64) float64 {
	var all []float64
	for _, r := range t.cells[[2]string{workload, system}] {
		all = append(all, f(&r))
	}
	return median(all)
}

// best is the peer with the highest rate of those that keep allows.
func (t *table) best(workload string, systems []system, keep func(string) bool) (name string, rate float64) {
	for _, s := range systems {
		if s.name == oursName || s.name == nullName || !keep(s.name) {
			continue
		}
		if r := t.figure(workload, s.name, (*result).rate); r > rate {
			name, rate = s.name, r
		}
	}
	return name, rate
}

// amount is a rate in commands a second, or in MB/s of a sequential workload.
func amount(w *workload, rate float64) string {
	if w.sequential() {
		return fmt.Sprintf("%.0f MB/s", rate*float64(w.size)/1e6)
	}
	return fmt.Sprintf("%.0f", rate)
}

func mark(have, want float64) string {
	if have < want {
		return fmt.Sprintf("%.2f (below %.2f)", have, want)
	}
	return fmt.Sprintf("%.2f", have)
}

func (t *table) header(what string) *tabwriter.Writer {
	fmt.Printf("\nmedians of %d × %v, disks in %s\n\n", t.lab.rounds, t.lab.seconds, t.lab.directory)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, what)
	return w
}

func (t *table) printTargets(systems []system) {
	out := t.header("workload\tours\tbest peer\t\tratio\tratio to null\tp99 ours\tp99 peer\tfairness")
	defer out.Flush()
	p99 := func(r *result) float64 { return r.P99 }
	for i := range targetWorkloads {
		b := &targetWorkloads[i]
		ours := t.figure(b.name, oursName, (*result).rate)
		if ours == 0 {
			continue
		}
		row := func(peer string, rate, want float64) {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%.0f µs\t%.0f µs\t%.2f\n", b.name, amount(&b.workload, ours), peer, amount(&b.workload, rate),
				mark(ours/rate, want), mark(ours/t.figure(b.name, nullName, (*result).rate), 0.85),
				t.figure(b.name, oursName, p99), t.figure(b.name, peer, p99), t.figure(b.name, oursName, func(r *result) float64 { return r.Fairness }))
		}
		peer, rate := t.best(b.name, systems, func(name string) bool { return b.tuned == 0 || name != tunedName })
		row(peer, rate, b.want)
		if b.tuned != 0 {
			row(tunedName, t.figure(b.name, tunedName, (*result).rate), b.tuned)
		}
	}
}

func (t *table) printDigests(workloads []workload) {
	out := t.header("workload\tours\twith both digests\tratio")
	defer out.Flush()
	for i := range workloads {
		w := &workloads[i]
		without, with := t.figure(w.name, "false", (*result).rate), t.figure(w.name, "true", (*result).rate)
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", w.name, amount(w, without), amount(w, with), mark(with/without, 0.75))
	}
}
