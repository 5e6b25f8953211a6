package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keepAwake runs a loop of the lowest priority on every processor: a virtual one
// that halts takes longer to wake than a target to answer.
func (l *lab) keepAwake() error {
	for range runtime.NumCPU() {
		cmd := exec.Command(l.program, "spin")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return err
		}
		l.later(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	return nil
}

// spin loops, when nobody else wants the processor, until it is killed.
func spin(ctx context.Context, _ []string) error {
	runtime.LockOSThread()
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE, Nice: 19}
	if err := unix.SchedSetAttr(0, attr, 0); err != nil {
		return fmt.Errorf("run only when idle: %w", err)
	}
	for ctx.Err() == nil {
	}
	return nil
}

// awaitQuiet waits until other programs take less than a tenth of a processor,
// or patience ends.
func (l *lab) awaitQuiet(ctx context.Context) {
	const look = 200 * time.Millisecond
	end := time.Now().Add(l.patience)
	for time.Now().Before(end) && ctx.Err() == nil {
		before := busyTicks()
		time.Sleep(look)
		if busy := busyTicks() - before; float64(busy) < 0.1*look.Seconds()*100 {
			return
		}
	}
	if l.patience > 0 && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "the machine is not quiet: the next figure is doubtful")
	}
}

// busyTicks is the processors' time in hundredths of a second, without what nice
// programs (spin) took.
func busyTicks() (sum int64) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var user, nice, system, idle, iowait, irq, softirq, steal int64
	_, _ = fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal)
	return user + system + irq + softirq + steal
}
