package boot

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/bootlun/bootlun/initiator/kernel"
	"github.com/bootlun/bootlun/iscsi"
)

// KeeperName is the keeper's argv[0]. By the at sign systemd's shutdown knows processes of an initramfs that the root disk
// depends on, and spares them.
const KeeperName = "@bootlun-keeper"

// shutdownProgram is what systemd runs when it has come to its end, after everything else: this program again, which the keeper
// leaves there.
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
	LUN       iscsi.LUN
	CHAP      *keptCHAP
	Interface kernel.Interface
	Boot      kernel.Boot
	Timeouts  kernel.Timeouts
	Offer     iscsi.Offer
}

// keptCHAP is an iscsi.CHAPClient with its secrets in the open, which a Secret would not say.
type keptCHAP struct{ Name, Secret, TargetName, TargetSecret string }

func keepCHAP(c *iscsi.CHAPClient) *keptCHAP {
	if c == nil {
		return nil
	}
	return &keptCHAP{c.User.Name, c.User.Secret.Reveal(), c.Target.Name, c.Target.Secret.Reveal()}
}

func (c *keptCHAP) client() *iscsi.CHAPClient {
	if c == nil {
		return nil
	}
	return &iscsi.CHAPClient{
		User:   iscsi.CHAPUser{Name: c.Name, Secret: iscsi.Secret(c.Secret)},
		Target: iscsi.CHAPUser{Name: c.TargetName, Secret: iscsi.Secret(c.TargetSecret)},
	}
}

func (s keptSession) kept() kernel.Kept {
	return kernel.Kept{SID: s.SID, Portals: s.Portals, IfIndex: s.IfIndex, Config: kernel.Config{
		Initiator: s.Initiator, Target: s.Target, Portal: s.Portal, ISID: s.ISID, CHAP: s.CHAP.client(),
		Interface: s.Interface, Boot: s.Boot, Timeouts: s.Timeouts, Offer: s.Offer,
	}}
}

// startKeeper starts the process that looks after the sessions from now on. It gets ready while the root is looked for, and
// [machine.awaitKeeper] waits for it. A machine without one still boots: the installed system's iscsid may do the same.
func startKeeper(_ context.Context, m *machine) (string, error) {
	o := order{Sessions: m.keptSessions(), Leases: m.leases, Multipath: m.shared}
	var err error
	if m.keeper, err = launchKeeper(o); err != nil {
		m.log.Warn(noKeeper, "error", err)
		return "none: " + strings.ReplaceAll(err.Error(), "\n", "; "), nil
	}
	return fmt.Sprintf("process %d keeps %d sessions", m.keeper.cmd.Process.Pid, len(o.Sessions)), nil
}

const noKeeper = "the keeper does not run; nobody reconnects a lost disk until iscsid does"

// keeperPatience is how long the keeper may take to get ready.
const keeperPatience = 10 * time.Second

// awaitKeeper waits until the keeper is at work. What it needs of the initramfs must not go before.
func (m *machine) awaitKeeper() {
	if m.keeper == nil {
		return // it has been told
	}
	if err := m.keeper.await(keeperPatience); err != nil {
		m.log.Warn(noKeeper, "error", err)
	}
}

// keeperChild is the keeper as init sees it, until it is ready.
type keeperChild struct {
	cmd     *exec.Cmd
	answers *os.File
}

// launchKeeper starts the keeper in a mount namespace of its own and hands it its order. It is this program's own file once more:
// what is in memory of it already serves both, and a process that runs keeps a file that is deleted.
func launchKeeper(o order) (*keeperChild, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	messages, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer messages.Close()
	answers, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{KeeperName}
	cmd.Env = []string{"PATH=/"}
	cmd.Stdout, cmd.Stderr = theirs, messages // for what Go's runtime has to say
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: syscall.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, answers.Close())
	}
	k := &keeperChild{cmd, answers}
	// A pipe takes 64 KiB at once, which no order has.
	_, err = in.Write(text)
	if err = errors.Join(err, in.Close()); err != nil {
		k.end()
		return nil, err
	}
	return k, nil
}

// await waits for the keeper's word, which is that it is ready or why it is not. It gives up the child if it is not.
func (k *keeperChild) await(patience time.Duration) error {
	err := k.answers.SetReadDeadline(time.Now().Add(patience))
	answer, readErr := bufio.NewReader(k.answers).ReadString('\n')
	if answer == keeperReady {
		return errors.Join(k.answers.Close(), k.cmd.Process.Release())
	}
	k.end()
	return errors.Join(fmt.Errorf("the keeper says %q", strings.TrimSpace(answer)), err, readErr)
}

// end does away with a keeper that was not waited for.
func (k *keeperChild) end() {
	k.cmd.Process.Kill()
	k.cmd.Wait()
	k.answers.Close()
}

// keeperReady is what the keeper says when it is at work; anything else is why it is not.
const keeperReady = "ready\n"

// keptSessions are the boot's sessions with all that it takes to log in again.
func (m *machine) keptSessions() []keptSession {
	var all []keptSession
	for _, p := range m.paths {
		k := m.keptSession(p.config)
		k.SID, k.ISID = p.session.SID, p.session.ISID
		all = append(all, k)
	}
	return all
}

// keptSession is what it takes to log in by a path.
func (m *machine) keptSession(c kernel.Config) keptSession {
	k := keptSession{
		Portals: m.portalsOf(c.Target), Initiator: c.Initiator, Target: c.Target, Portal: c.Portal, LUN: c.LUN,
		CHAP: keepCHAP(c.CHAP), Interface: c.Interface, Boot: c.Boot, Timeouts: c.Timeouts, Offer: c.Offer,
	}
	if i, err := net.InterfaceByName(c.Interface.NetDev); err == nil {
		k.IfIndex = i.Index
	}
	return k
}

// portalsOf are all the portals that the table has of a target, unless each has a session of its own.
func (m *machine) portalsOf(target string) []string {
	if m.shared != nil {
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
