package boot

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// bar shows how far a step is, on one line of a terminal that is drawn over.
// Anything else than a terminal is spared it.
type bar struct {
	c     console
	step  string
	draws bool
	drawn time.Time
	began time.Time
}

// A bar is drawn so often, and so wide.
const (
	barPause = 250 * time.Millisecond
	barWidth = 40
)

func (c console) bar(step string) *bar {
	f, ok := c.w.(*os.File)
	now := time.Now()
	return &bar{c: c, step: step, draws: ok && term.IsTerminal(int(f.Fd())), drawn: now, began: now}
}

// show draws that done of total bytes are there.
func (b *bar) show(done, total int64) {
	now := time.Now()
	if !b.draws || now.Sub(b.drawn) < barPause {
		return
	}
	b.drawn = now
	fmt.Fprintf(b.c.w, "\r%s\x1b[K", barLine(b.step, done, total, now.Sub(b.began)))
}

func barLine(step string, done, total int64, took time.Duration) string {
	full := int(min(done, total) * barWidth / max(total, 1))
	return fmt.Sprintf("%s%-12s [%s%s] %3d %% of %.1f MB, %.1f MB/s", linePrefix, step, strings.Repeat("=", full),
		strings.Repeat(" ", barWidth-full), done*100/max(total, 1), float64(total)/1e6, float64(done)/1e6/max(took.Seconds(), 1e-3))
}

// clear makes room for the line of what came of it.
func (b *bar) clear() {
	if b.draws && b.drawn != b.began {
		fmt.Fprint(b.c.w, "\r\x1b[K")
	}
}
