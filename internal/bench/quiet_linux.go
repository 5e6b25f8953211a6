package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
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
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil { // which is how busyTicks knows it
		return fmt.Errorf("be nice: %w", err)
	}
	// The scheduler shares processors among sessions first, and there its policy
	// does not count (CONFIG_SCHED_AUTOGROUP).
	if err := os.WriteFile("/proc/self/autogroup", []byte("19"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("be a nice session: %w", err)
	}
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	if err := unix.SchedSetAttr(0, attr, 0); err != nil {
		return fmt.Errorf("run only when idle: %w", err)
	}
	for ctx.Err() == nil {
	}
	return nil
}

// awaitQuiet waits until other programs take less than a tenth of a processor,
// or patience, which is that of the whole run, ends. It counts the measurements
// that are doubtful.
func (l *lab) awaitQuiet(ctx context.Context) {
	const look = 100 * time.Millisecond
	for began := time.Now(); ctx.Err() == nil; {
		before := busyTicks()
		time.Sleep(look)
		if busy := busyTicks() - before; float64(busy) <= 0.1*look.Seconds()*100 {
			return
		}
		if l.patience -= time.Since(began); l.patience <= 0 {
			break
		}
		began = time.Now()
	}
	l.doubtful++
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
