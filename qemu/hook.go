package qemu

import (
	"io"
	"slices"
	"sync/atomic"
)

// hook is a listener to a console: to the bytes as they come, or to complete lines.
type hook struct {
	raw     io.Writer // Nil where onLine is not.
	onLine  func(Line)
	stopped atomic.Bool
}

// feed tells a hook what came, and which lines that completed. A listener that fails loses; the machine does not.
func (h *hook) feed(b []byte, complete []Line) {
	if h.raw != nil {
		h.raw.Write(b)
		return
	}
	for _, l := range complete {
		if !h.stopped.Load() {
			h.onLine(l)
		}
	}
}

// past tells a new hook what came before it.
func (h *hook) past(lines []Line, unfinished Line) {
	if h.raw == nil {
		h.feed(nil, lines)
		return
	}
	var text []byte
	for _, l := range lines {
		text = append(append(text, l.Text...), "\r\n"...)
	}
	if text = append(text, unfinished.Text...); len(text) > 0 {
		h.raw.Write(text)
	}
}

// Tee copies the console to w from its beginning: first the transcript so far, then every byte as it comes, escape
// sequences included. It returns a function that ends this. The machine waits for w, whose errors are ignored; w must not
// call Tee or OnLine.
func (c *Console) Tee(w io.Writer) (stop func()) { return c.add(&hook{raw: w}) }

// OnLine has f called for every complete line from the console's beginning, in order: first for those that are there,
// then for each as it ends. It returns a function that ends this. The machine waits for f; f must not call Tee or OnLine.
func (c *Console) OnLine(f func(Line)) (stop func()) { return c.add(&hook{onLine: f}) }

func (c *Console) add(h *hook) (stop func()) {
	c.hookMu.Lock()
	defer c.hookMu.Unlock()
	c.mu.Lock()
	lines, unfinished := slices.Clone(c.lines), c.text.unfinished()
	c.mu.Unlock()
	h.past(lines, unfinished)
	c.hooks = append(c.hooks, h)
	return func() { h.stopped.Store(true) }
}

// promptAnswer answers the prompt for which iPXE would wait two seconds.
type promptAnswer struct {
	send func(string) error
	seen int // How much of the prompt the console ended with.
}

const ipxePrompt = "Press Ctrl-B for the iPXE command line..."

// Write looks for the prompt, also where it comes in pieces.
func (p *promptAnswer) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c == ipxePrompt[p.seen]:
			p.seen++
		case c == ipxePrompt[0]: // The only place where its first letter occurs.
			p.seen = 1
		default:
			p.seen = 0
		}
		if p.seen == len(ipxePrompt) {
			p.seen = 0
			if err := p.send(" "); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}
