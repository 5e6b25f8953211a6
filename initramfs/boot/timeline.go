package boot

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Result of one step, as the console line and the boot timeline show it.
type Result struct {
	Step   string
	Took   time.Duration
	Detail string // what came of it: the table's source, the address, the disk
}

// linePrefix marks the lines that tell the course of the boot on a console
// which the kernel and the rescue shell write to as well.
const linePrefix = "bootlun: "

// String is the line that the console shows; [ParseResult] reads it back.
func (r Result) String() string {
	return fmt.Sprintf("%s%-12s %5d ms  %s", linePrefix, r.Step, r.Took.Milliseconds(), r.Detail)
}

// resultLine leaves out what the kernel has printed before the line's end.
var resultLine = regexp.MustCompile(`bootlun: ([a-z][a-z ]*?) +(\d+) ms  (.*?)(?:\[ *\d+\.\d{6}\] .*)?$`)

// ParseResult finds a step's result in a console line; ok is false for every
// other line.
func ParseResult(line string) (r Result, ok bool) {
	m := resultLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
	if m == nil {
		return Result{}, false
	}
	ms, err := strconv.Atoi(m[2])
	if err != nil {
		return Result{}, false
	}
	return Result{Step: m[1], Took: time.Duration(ms) * time.Millisecond, Detail: m[3]}, true
}

// console writes one line an event, in one write each so that lines of
// several writers do not mix.
type console struct{ w io.Writer }

func (c console) result(r Result) { fmt.Fprintf(c.w, "%s\n", r) }

func (c console) say(format string, args ...any) {
	fmt.Fprintf(c.w, linePrefix+format+"\n", args...)
}
