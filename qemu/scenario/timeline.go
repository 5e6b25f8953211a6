package scenario

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/bootlun/bootlun/initramfs/boot"
	"github.com/bootlun/bootlun/netboot"
)

// Mark is the end of one phase of a boot: the first event or console line
// after the previous mark that it matches.
type Mark struct {
	Phase string
	Event func(netboot.Event) bool
	Line  func(text string) bool
}

// Phase is one stretch of a boot that a machine has gone through.
type Phase struct {
	Name string
	Took time.Duration
	// Detail is what the machine itself said of the phase, if anything.
	Detail string
}

// Timeline watches a boot go from mark to mark. Its methods may be called from
// several goroutines.
type Timeline struct {
	done chan struct{} // closed when no mark is to come

	mu     sync.Mutex
	marks  []Mark // those to come
	last   time.Time
	phases []Phase
}

// NewTimeline watches for marks. PowerOn starts it.
func NewTimeline(marks []Mark) *Timeline {
	return &Timeline{marks: marks, done: make(chan struct{})}
}

// Done is closed when the boot has passed its last mark.
func (t *Timeline) Done() <-chan struct{} { return t.done }

// PowerOn sets the instant from which the first phase counts.
func (t *Timeline) PowerOn(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = at
}

// Event is a netboot.Config hook.
func (t *Timeline) Event(e netboot.Event) {
	t.observe(e.Time, "", func(m Mark) bool { return m.Event != nil && m.Event(e) })
}

// Line takes a line of the console and when it came.
func (t *Timeline) Line(at time.Time, text string) {
	r, _ := boot.ParseResult(text)
	t.observe(at, r.Detail, func(m Mark) bool { return m.Line != nil && m.Line(text) })
}

func (t *Timeline) observe(at time.Time, detail string, hit func(Mark) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.marks) == 0 || !hit(t.marks[0]) {
		return
	}
	t.phases = append(t.phases, Phase{Name: t.marks[0].Phase, Took: at.Sub(t.last), Detail: detail})
	t.marks, t.last = t.marks[1:], at
	if len(t.marks) == 0 {
		close(t.done)
	}
}

// Phases are those that have ended, in order.
func (t *Timeline) Phases() []Phase {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Phase(nil), t.phases...)
}

// next is the phase whose mark is waited for; empty if none is to come.
func (t *Timeline) next() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.marks) == 0 {
		return ""
	}
	return t.marks[0].Phase
}

// Until is the time from power-on to the end of a phase; ok is false when the
// boot has not got there.
func (t *Timeline) Until(phase string) (total time.Duration, ok bool) {
	for _, p := range t.Phases() {
		total += p.Took
		if p.Name == phase {
			return total, true
		}
	}
	return 0, false
}

// Print writes the phases as a table: when each ended, how long it took.
func (t *Timeline) Print(w io.Writer) {
	var total time.Duration
	fmt.Fprintf(w, "%-12s %9s %9s\n", "phase", "ms", "at ms")
	for _, p := range t.Phases() {
		total += p.Took
		fmt.Fprintf(w, "%-12s %9d %9d  %s\n", p.Name, p.Took.Milliseconds(), total.Milliseconds(), p.Detail)
	}
}

// The phase whose end is a mounted root file system, in both lists of marks.
const PhaseRoot = "root"

// ImageMarks are the marks of a boot by our image. system matches the console
// line by which the installed system's init shows itself.
func ImageMarks(system *regexp.Regexp) []Mark {
	marks := []Mark{
		{Phase: "firmware", Event: kind(netboot.DHCPDiscover)},
		{Phase: "dhcp", Event: kind(netboot.DHCPAck)},
		loaded(),
	}
	marks = append(marks, stepMarks("kernel", "hardware", "table", "network", "login", "disk", PhaseRoot, "switch root")...)
	return append(marks, Mark{Phase: "system", Line: system.MatchString})
}

// OwnKernelMarks are the marks of a boot by our image that starts the LUN's own
// kernel, whose initramfs then brings up the root.
func OwnKernelMarks(root Root) []Mark {
	return handoffMarks(root, "entries", "read", "check", "load", "logout", "kexec")
}

// BootSectorMarks are the marks of a boot by our image that runs the LUN's boot
// sector and starts the kernel that this loads.
func BootSectorMarks(root Root) []Mark {
	return handoffMarks(root, "boot sector", "check", "load", "logout", "kexec")
}

// handoffMarks are those of a boot by our image that goes on from the login by
// the given steps to another kernel.
func handoffMarks(root Root, steps ...string) []Mark {
	marks := []Mark{
		{Phase: "firmware", Event: kind(netboot.DHCPDiscover)},
		{Phase: "dhcp", Event: kind(netboot.DHCPAck)},
		loaded(),
	}
	marks = append(marks, stepMarks("kernel", "hardware", "table", "network", "login")...)
	marks = append(marks, stepMarks(steps...)...)
	if root.Quiet {
		return append(marks, Mark{Phase: "system", Line: root.Up.MatchString})
	}
	return append(marks, distributionBoot(root.Up)...)
}

// stepMarks are the lines by which our init tells that its steps have ended.
func stepMarks(names ...string) []Mark {
	var marks []Mark
	for _, name := range names {
		marks = append(marks, Mark{Phase: name, Line: func(text string) bool {
			r, ok := boot.ParseResult(text)
			return ok && r.Step == name
		}})
	}
	return marks
}

// SANBootMarks are the marks of a boot in which iPXE attaches the LUN and the
// installed system's own loader and initramfs do the rest.
func SANBootMarks(system *regexp.Regexp) []Mark {
	return distributionMarks(Mark{Phase: "loader", Line: contains("Linux version ")}, system)
}

// KernelMarks are the marks of a boot by a distribution's kernel and initramfs.
func KernelMarks(system *regexp.Regexp) []Mark {
	return distributionMarks(loaded(), system)
}

func distributionMarks(loader Mark, system *regexp.Regexp) []Mark {
	return append([]Mark{
		{Phase: "firmware", Event: kind(netboot.DHCPDiscover)},
		{Phase: "dhcp", Event: kind(netboot.DHCPAck)},
		loader,
	}, distributionBoot(system)...)
}

// distributionBoot are the marks from a distribution's kernel on.
func distributionBoot(system *regexp.Regexp) []Mark {
	return []Mark{
		{Phase: "kernel", Line: contains("Run /init as init process")},
		{Phase: PhaseRoot, Line: regexp.MustCompile(`EXT4-fs \(sd.*mounted filesystem`).MatchString},
		{Phase: "system", Line: system.MatchString},
	}
}

// loaded is the end of the last download.
func loaded() Mark {
	return Mark{Phase: "loader", Event: func(e netboot.Event) bool {
		return e.Kind == netboot.HTTPDone && strings.Contains(e.Detail, "initramfs")
	}}
}

func kind(k netboot.Kind) func(netboot.Event) bool {
	return func(e netboot.Event) bool { return e.Kind == k }
}

func contains(s string) func(string) bool {
	return func(text string) bool { return strings.Contains(text, s) }
}
