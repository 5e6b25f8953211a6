package main

import (
	"fmt"
	"io"
	"time"

	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/internal/cli"
)

// progress shows on a terminal how far a copy is. The zero value shows nothing.
type progress struct {
	w     io.Writer
	total int64 // 0 if not known
	start time.Time
	shown time.Time
}

const progressEvery = 250 * time.Millisecond

// newProgress shows on w if that is a terminal.
func newProgress(w io.Writer, total int64) *progress {
	if !cli.IsTerminal(w) {
		return &progress{}
	}
	return &progress{w: w, total: total, start: time.Now()}
}

// at shows that so many bytes are done, from time to time.
func (p *progress) at(done int64) {
	if now := time.Now(); p.w != nil && now.Sub(p.shown) >= progressEvery {
		p.shown = now
		fmt.Fprintf(p.w, "\r%s\x1b[K", p.line(done, now.Sub(p.start)))
	}
}

// end shows the last state and leaves the line.
func (p *progress) end(done int64) {
	if p.w != nil {
		fmt.Fprintf(p.w, "\r%s\x1b[K\n", p.line(done, time.Since(p.start)))
	}
}

func (p *progress) line(done int64, took time.Duration) string {
	line := bytesize.Format(done)
	if p.total > 0 {
		line = fmt.Sprintf("%3d%%  %s of %s", done*100/p.total, line, bytesize.Format(p.total))
	}
	if s := took.Seconds(); s > 0 {
		line += fmt.Sprintf(", %s/s", bytesize.Format(int64(float64(done)/s)))
	}
	return line
}
