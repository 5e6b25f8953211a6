package boot

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bootlun/bootlun/initiator/kernel"
	"github.com/bootlun/bootlun/iscsi"
)

// KeeperName is the keeper's argv[0]. By the at sign systemd's shutdown knows processes of an initramfs that the root disk
// depends on, and spares them.
const KeeperName = "@bootlun-keeper"

// shutdownProgram is what systemd runs when it has come to its end, after everything else: this program again. The keeper runs
// from the same file, so that the system has one copy of it, in memory.
const shutdownProgram = "/run/initramfs/shutdown"

// order is what init tells the keeper, through a pipe: secrets are in it.
type order struct {
	Sessions  []keptSession
	Leases    []keptLease
	Multipath *multipathDisk
}

// keptSession is kernel.Kept without what cannot be sent.
type keptSession struct {
	SID       uint32
	Portals   []string
	IfIndex   int
	Initiator string
	Target    string
	Portal    string
	ISID      iscsi.ISID
	CHAP      *iscsi.CHAPClient
	Interface kernel.Interface
	Boot      kernel.Boot
	Timeouts  kernel.Timeouts
	Offer     iscsi.Offer
}

func (s keptSession) kept() kernel.Kept {
	return kernel.Kept{SID: s.SID, Portals: s.Portals, IfIndex: s.IfIndex, Config: kernel.Config{
		Initiator: s.Initiator, Target: s.Target, Portal: s.Portal, ISID: s.ISID, CHAP: s.CHAP,
		Interface: s.Interface, Boot: s.Boot, Timeouts: s.Timeouts, Offer: s.Offer,
	}}
}

// startKeeper starts the process that looks after the sessions from now on. A machine without one still boots: the step says
// so, and the installed system's iscsid may do the same.
func startKeeper(ctx context.Context, m *machine) (string, error) {
	o := order{Sessions: m.keptSessions(), Leases: m.leases, Multipath: m.shared}
	pid, err := launchKeeper(ctx, o)
	if err != nil {
		m.log.Warn("the keeper does not run; nobody reconnects a lost disk until iscsid does", "error", err)
		return "none: " + strings.ReplaceAll(err.Error(), "\n", "; "), nil
	}
	return fmt.Sprintf("process %d keeps %d sessions", pid, len(o.Sessions)), nil
}

// launchKeeper starts the keeper in a mount namespace of its own, hands it its order, and waits until it is at work.
func launchKeeper(ctx context.Context, o order) (pid int, err error) {
	if err := copyProgram("/proc/self/exe", shutdownProgram); err != nil {
		return 0, err
	}
	messages, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer messages.Close()
	cmd := exec.Command(shutdownProgram)
	cmd.Args = []string{KeeperName}
	cmd.Env = []string{"PATH=/"}
	cmd.Stderr = messages // for what Go's runtime has to say
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: syscall.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, errors.Join(err, in.Close())
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	err = errors.Join(gob.NewEncoder(in).Encode(o), in.Close())
	answer, readErr := bufio.NewReader(out).ReadString('\n')
	if answer == keeperReady {
		pid = cmd.Process.Pid
		return pid, errors.Join(out.Close(), cmd.Process.Release())
	}
	return 0, errors.Join(fmt.Errorf("the keeper says %q", strings.TrimSpace(answer)), err, readErr, cmd.Wait())
}

// keeperReady is what the keeper says when it is at work; anything else is why it is not.
const keeperReady = "ready\n"

// copyProgram puts a program where it can be executed.
func copyProgram(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil // an earlier try's
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// keptSessions are the boot's sessions with all that it takes to log in again.
func (m *machine) keptSessions() []keptSession {
	var all []keptSession
	for _, p := range m.paths {
		s, c := p.session, p.config
		k := keptSession{
			SID: s.SID, Portals: m.portalsOf(c.Target), Initiator: c.Initiator, Target: c.Target, Portal: c.Portal, ISID: s.ISID,
			CHAP: c.CHAP, Interface: c.Interface, Boot: c.Boot, Timeouts: c.Timeouts, Offer: c.Offer,
		}
		if i, err := net.InterfaceByName(c.Interface.NetDev); err == nil {
			k.IfIndex = i.Index
		}
		all = append(all, k)
	}
	return all
}

// portalsOf are all the portals that the table has of a target, unless each has a session of its own.
func (m *machine) portalsOf(target string) []string {
	if len(m.paths) > 1 {
		return nil
	}
	var portals []string
	for _, p := range m.table.Paths() {
		if p.Target.Name == target {
			portals = append(portals, p.Target.Portal().String())
		}
	}
	return portals
}
