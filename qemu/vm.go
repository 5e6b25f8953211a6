package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/bootlun/bootlun/qemu/qmp"
)

// stopTimeout is how long Stop leaves QEMU to write its disks' last blocks before it kills it.
const stopTimeout = 10 * time.Second

// VM is a running machine. Its methods may be called from several goroutines.
type VM struct {
	Console *Console
	QMP     *qmp.Client
	Started time.Time // When it was powered on.

	name string
	ctx  context.Context // Ends when the process has to.
	kill context.CancelCauseFunc
	done chan struct{} // Closed when the process and the console have ended, after err is set.
	err  error
}

// errStopped is the cause that Stop gives a VM's context.
var errStopped = errors.New("stopped")

// Start powers the machine on. The VM lives until it powers itself off, Stop is called, or the context ends; on Linux
// also no longer than this process, however that ends. Start fails where QEMU does not come up, with what QEMU wrote on
// its standard error.
func (m Machine) Start(ctx context.Context) (*VM, error) {
	if m.Accel == "" {
		m.Accel = DetectAccel()
	}
	if err := m.checkLANs(); err != nil {
		return nil, fmt.Errorf("qemu: %s: %w", m.name(), err)
	}
	binary, err := exec.LookPath(m.binary())
	if err != nil {
		return nil, fmt.Errorf("qemu: %s: %w; install QEMU (Debian: apt install qemu-system-x86 ipxe-qemu)", m.name(), err)
	}
	vm := &VM{name: m.name(), done: make(chan struct{})}
	vm.ctx, vm.kill = context.WithCancelCause(ctx)
	if err := vm.start(m, binary); err != nil {
		vm.kill(err)
		return nil, fmt.Errorf("qemu: %s: %w", m.name(), err)
	}
	return vm, nil
}

// start runs QEMU and connects to its console and monitor.
func (vm *VM) start(m Machine, binary string) error {
	console, consoleEnd, err := socketPair()
	if err != nil {
		return err
	}
	defer consoleEnd.Close()
	monitor, monitorEnd, err := socketPair()
	if err != nil {
		console.Close()
		return err
	}
	defer monitorEnd.Close()

	cmd := exec.CommandContext(vm.ctx, binary, m.Args()...)
	cmd.ExtraFiles = []*os.File{consoleFD - 3: consoleEnd, qmpFD - 3: monitorEnd}
	cmd.SysProcAttr = processAttr()
	vm.Console = newConsole(console)
	if !m.KeepPrompt {
		vm.Console.Tee(&promptAnswer{send: vm.Console.Send})
	}
	vm.Started = time.Now()
	started := make(chan error)
	go vm.run(cmd, started)
	err = <-started
	consoleEnd.Close() // So that the end of QEMU is the end of both streams.
	monitorEnd.Close()
	if err != nil {
		monitor.Close()
		<-vm.done
		return fmt.Errorf("starting %s: %w", binary, err)
	}
	if vm.QMP, err = qmp.New(vm.ctx, monitor, m.OnEvent); err != nil {
		return fmt.Errorf("QEMU did not come up: %w", vm.reap(err))
	}
	return nil
}

// reap ends a process whose monitor failed, and says why: in its own words where it ended by itself, as it does when it
// dislikes its arguments.
func (vm *VM) reap(err error) error {
	if errors.Is(err, qmp.ErrClosed) {
		select {
		case <-vm.done:
		case <-time.After(stopTimeout):
		}
	}
	vm.kill(err)
	<-vm.done
	return cmp.Or(vm.err, err)
}

// run is the process's goroutine. It keeps its thread: Linux delivers the signal of a parent's death when the thread that
// started the process ends.
func (vm *VM) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(vm.done)
	defer vm.Console.close()
	var stderr tail
	cmd.Stderr = &stderr
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	vm.err = vm.result(cmd.Wait(), stderr.String())
	vm.kill(nil)
}

// checkLANs looks for what the cards plug into: QEMU itself runs without, and says nothing.
func (m Machine) checkLANs() error {
	for i, n := range m.NICs {
		if n.LAN == "" {
			continue
		}
		if _, err := os.Stat(n.LAN); err != nil {
			return fmt.Errorf("network card %d: its LAN: %w", i, err)
		}
	}
	return nil
}

// result is how the VM ended, from how its process did.
func (vm *VM) result(err error, stderr string) error {
	cause := context.Cause(vm.ctx)
	switch {
	case err == nil || errors.Is(cause, errStopped):
		return nil
	case cause != nil:
		return fmt.Errorf("killed: %w", cause)
	}
	return fmt.Errorf("%w: %s", err, cmp.Or(stderr, "(nothing on its standard error)"))
}

// Done is closed when the VM has ended.
func (vm *VM) Done() <-chan struct{} { return vm.done }

// Wait waits until the VM has ended. It returns nil where the machine was powered off, from inside, by QMP or by Stop; the
// context's cause where that ended it; and otherwise QEMU's exit status with the end of its standard error.
func (vm *VM) Wait() error {
	<-vm.done
	<-vm.QMP.Done()
	if vm.err != nil {
		return fmt.Errorf("qemu: %s: %w", vm.name, vm.err)
	}
	return nil
}

// Stop pulls the plug: the guest is not asked, but QEMU writes out what the guest has given to its disks. It returns
// what Wait does.
func (vm *VM) Stop() error {
	ctx, cancel := context.WithTimeout(vm.ctx, stopTimeout)
	defer cancel()
	if err := vm.QMP.Execute(ctx, "quit", nil, nil); err == nil {
		select {
		case <-vm.done:
		case <-ctx.Done():
		}
	}
	vm.kill(errStopped)
	return vm.Wait()
}
