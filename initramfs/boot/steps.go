package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// step is one arrow of the boot: source → table → network → login → disk →
// handoff. It works on the machine and says in a few words what came of it.
type step struct {
	name   string
	remedy string // what the operator can do when it fails
	run    func(ctx context.Context, m *machine) (detail string, err error)
}

// steps in their order. What runs once the last one has succeeded is the
// handoff, from which there is no return.
var steps = append(stepsToNetwork[:len(stepsToNetwork):len(stepsToNetwork)], []step{
	{"login", "check that the target runs, its portal is reachable from here, and names and CHAP secrets agree", logIn},
	{"disk", "check that the target serves this LUN to this initiator", waitDisk},
	{"keeper", "", startKeeper},
	{"root", "name the root file system with root=UUID=…", mountRoot},
}...)

// ownKernelSteps are those before the LUN's own kernel is started.
var ownKernelSteps = append(stepsToNetwork[:len(stepsToNetwork):len(stepsToNetwork)], []step{
	{"login", "check that the target runs and serves this LUN to this initiator, its portal is reachable from here, and names and CHAP secrets agree", openLUN},
	{"entries", "bootlun.handoff=switch_root starts the LUN's system with this kernel", findEntries},
}...)

// bootSectorSteps are those before the LUN's boot sector is run.
var bootSectorSteps = ownKernelSteps[: len(ownKernelSteps)-1 : len(ownKernelSteps)-1]

// stepsToNetwork are common to all ways to boot.
var stepsToNetwork = []step{
	{"hardware", "rebuild the image with this machine's drivers: bootlun image build --modules", loadDrivers},
	{"table", "give a root path by DHCP option 17, bootlun.rootpath= or the firmware's iSCSI settings", findTable},
	{"network", "check the table's NIC (ibft show) against this machine's (ip link)", configureNetwork},
}

// steps are those of a handoff.
func (h Handoff) steps() []step {
	switch h {
	case HandoffKexec:
		return ownKernelSteps
	case HandoffBootSector:
		return bootSectorSteps
	}
	return steps
}

// StepError says which step of the boot failed, and what to do.
type StepError struct {
	Step   string
	Remedy string
	Err    error
}

// Error is one line for the console, also where the cause is several errors.
func (e *StepError) Error() string {
	cause := strings.ReplaceAll(e.Err.Error(), "\n", "; ")
	return fmt.Sprintf("%s: %s; %s", e.Step, cause, e.Remedy)
}

// Unwrap gives the cause.
func (e *StepError) Unwrap() error { return e.Err }

// permanentError marks a failure that trying again cannot mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// runStep runs s until it succeeds, fails for good, or its deadline passes,
// with growing pauses; the network of a machine that has just been switched on
// can be slow. It returns what happened for the console and the timeline.
func runStep(ctx context.Context, s step, m *machine) (Result, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, m.cfg.Timeout,
		fmt.Errorf("gave up after %s (bootlun.timeout=)", m.cfg.Timeout))
	defer cancel()
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		detail, err := s.run(ctx, m)
		if err == nil {
			return Result{Step: s.name, Took: time.Since(start), Detail: detail}, nil
		}
		var final permanentError
		if errors.As(err, &final) || ctx.Err() != nil {
			return Result{}, &StepError{Step: s.name, Remedy: s.remedy, Err: err}
		}
		m.log.Warn("trying again", slog.String("step", s.name), slog.Duration("in", pause), slog.Any("error", err))
		select {
		case <-ctx.Done():
			return Result{}, &StepError{Step: s.name, Remedy: s.remedy, Err: fmt.Errorf("%w: %w", context.Cause(ctx), err)}
		case <-time.After(pause):
		}
	}
}
