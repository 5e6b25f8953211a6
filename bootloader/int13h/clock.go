package int13h

import "time"

// clock is the machine's time. Unless it is interactive, a step takes 10 ns and
// waiting moves it forward at once: the same run takes the same time everywhere.
type clock struct {
	interactive bool
	start       time.Time
	skipped     time.Duration
	ticks       uint64 // timer interrupts that have been raised
}

const (
	stepTime = 10 * time.Nanosecond
	pollTime = time.Millisecond // what a look for a key or at the time takes

	pitFrequency = 1193182
	tickTime     = 65536 * time.Second / pitFrequency
	ticksPerDay  = 0x1800B0
)

func (t *clock) now(m *machine) time.Duration {
	if t.interactive {
		return time.Since(t.start)
	}
	return time.Duration(m.cpu.Steps())*stepTime + t.skipped
}

// due tells whether a timer tick has come since the last one; those that were
// missed are lost, as with a real timer.
func (t *clock) due(m *machine) bool {
	n := uint64(t.now(m) / tickTime)
	if n <= t.ticks {
		return false
	}
	t.ticks = n
	return true
}

// pass lets time pass.
func (t *clock) pass(m *machine, d time.Duration) error {
	if !t.interactive {
		t.skipped += d
		return m.ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

func (t *clock) untilDue(m *machine) error {
	next := time.Duration(t.ticks+1) * tickTime
	return t.pass(m, max(next-t.now(m), 0)+1)
}

// pitCount is where a counter that counts down from reload since then stands.
func (t *clock) pitCount(m *machine, since time.Duration) uint64 {
	return uint64(t.now(m)-since) * pitFrequency / uint64(time.Second)
}
