package scenario_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/qemu"
)

// number is one that an environment variable may say, such as how often a scenario does what it does.
func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a number from 1 on", variable, text)
	}
	return n
}

// survivorPatience is for all that a machine goes through.
const survivorPatience = 40 * time.Minute

// survivor is a Debian on the shelf's disk, on which fio writes and verifies without end.
type survivor struct {
	*guest
	shelf *shelf
	vm    *qemu.VM
}

// Each pass of fio writes a file anew in random order, with checksums, and reads it back.
const fioLoop = `(while [ ! -e /run/stop ]; do fio --name=pass --filename=/root/fio.data --size=1m --rw=randwrite --bs=4k ` +
	`--direct=1 --fsync=64 --ioengine=libaio --iodepth=4 --verify=crc32c --verify_fatal=1 --output=/run/fio.out || { echo fio failed >>/run/failed; break; }; ` +
	`echo pass >>/run/passes; done) </dev/null >/dev/null 2>&1 & true`

func bootSurvivor(t *testing.T, s *shelf, paths int, cmdline string) *survivor {
	t.Helper()
	g := startSurvivor(t, s.machine(paths, cmdline))
	g.shelf = s
	return g
}

// startSurvivor switches a machine on and waits for its shell.
func startSurvivor(t *testing.T, machine qemu.Machine) *survivor {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), survivorPatience)
	t.Cleanup(cancel)
	vm, err := machine.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Stop() })
	if testing.Verbose() {
		vm.Console.Tee(t.Output())
	}
	g := &survivor{guest: &guest{t: t, ctx: ctx, console: vm.Console, prompt: `# $`}, vm: vm}
	g.expect(g.prompt)
	g.run("stty cols 3000; dmesg -n 1; touch /run/passes; export TERM=dumb")
	return g
}

// load starts the writer, and waits for its first pass.
func (g *survivor) load() {
	g.t.Helper()
	g.run(fioLoop)
	g.morePasses(1)
}

// passes waits until fio has written all anew and read it back: two more passes, as one may have been under way.
func (g *survivor) passes() {
	g.t.Helper()
	g.morePasses(2)
}

func (g *survivor) morePasses(n int) {
	g.t.Helper()
	out := g.run(fmt.Sprintf(`n=$(($(wc -l </run/passes)+%d)); while [ $(wc -l </run/passes) -lt $n ] && [ ! -e /run/failed ]; do sleep .2; done; `+
		`cat /run/failed /run/fio.out 2>/dev/null | grep -i -e failed -e 'err=' -e bad`, n))
	if text := strings.Join(out, "\n"); strings.Contains(text, "failed") || strings.Contains(text, "bad") {
		g.t.Fatalf("fio: %s\n%s", text, strings.Join(g.run("dmesg | tail -40; cat /run/bootlun/keeper.log"), "\n"))
	}
}

// outlasts has the link cut for a while. A connection that is not given up in that time goes on without a new login; what tells
// of the return is the target's first answer.
func (g *survivor) outlasts(length time.Duration) {
	g.t.Helper()
	s := g.shelf
	s.link(false)
	time.Sleep(length)
	s.link(true)
	mended := time.Now()
	deadline := time.After(3 * time.Minute)
	for heard := false; !heard; {
		select {
		case at := <-s.words:
			if heard = at.After(mended); heard {
				g.t.Logf("link cut for %v: I/O again %v after its return", length, at.Sub(mended).Round(time.Millisecond))
			}
		case <-deadline:
			g.t.Fatalf("link cut for %v: nothing for three minutes\n%s", length, strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
		}
	}
	g.flows()
}

// flows waits until the target has given some answers more. What fio reads and writes between two faults is verified by its next
// pass, which is waited for once after many of them.
func (g *survivor) flows() {
	g.t.Helper()
	deadline := time.After(3 * time.Minute)
	for range 30 {
		select {
		case <-g.shelf.words:
		case <-deadline:
			g.t.Fatalf("no I/O for three minutes\n%s", strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
		}
	}
}

// survives does harm, has the harm mended, waits for the session and goes on with a disk that works.
func (g *survivor) survives(what string, harm, mend func()) {
	g.t.Helper()
	g.returns(what, harm, mend)
	g.flows()
}

// restarts has a portal's server killed and started again and again, always in the middle of I/O.
func (g *survivor) restarts(who string, p *portal, times int) {
	g.t.Helper()
	for i := range times {
		g.survives(fmt.Sprintf("%s in charge: server killed and started, %d", who, i+1), p.kill, p.start)
	}
}

// returns does harm, has the harm mended, and waits for the session, which says how long it took.
func (g *survivor) returns(what string, harm, mend func()) {
	g.t.Helper()
	g.drainLogins()
	start := time.Now()
	harm()
	mend()
	mended := time.Now()
	select {
	case at := <-g.shelf.logins:
		g.t.Logf("%s: session again %v after the fault, %v after it was mended", what,
			at.Sub(start).Round(time.Millisecond), at.Sub(mended).Round(time.Millisecond))
	case <-time.After(3 * time.Minute):
		g.t.Fatalf("%s: no session for three minutes\n%s", what, strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
	}
}

func (g *survivor) drainLogins() {
	for {
		select {
		case <-g.shelf.logins:
		default:
			return
		}
	}
}

// unharmed looks for what must not have happened to the only path of the disk.
func (g *survivor) unharmed() {
	g.t.Helper()
	g.rootIsWell(`I/O error|rejecting I/O|offlined`)
}

// unharmedByPaths does so where the disk has several: what the kernel says of them is no harm to the disk above.
func (g *survivor) unharmedByPaths() {
	g.t.Helper()
	g.rootIsWell(`I/O error.* dm-`)
}

// rootIsWell looks for what the kernel must not have said, an expression, and at the root.
func (g *survivor) rootIsWell(harm string) {
	g.t.Helper()
	if bad := g.run(`dmesg | grep -E '` + harm + `|EXT4-fs error|EXT4-fs warning|emounting filesystem read-only'`); len(bad) > 0 {
		g.t.Errorf("the kernel says\n%s", strings.Join(bad, "\n"))
	}
	if options := strings.Join(g.run("findmnt -no OPTIONS /"), ""); !strings.HasPrefix(options, "rw,") {
		g.t.Errorf("the root is mounted %q", options)
	}
}

// logged waits until the keeper has said something that often.
func (g *survivor) logged(what string, times int) {
	g.t.Helper()
	g.run(fmt.Sprintf("until [ $(grep -c '%s' /run/bootlun/keeper.log) -ge %d ]; do sleep .5; done", what, times))
}

// ends shuts the machine down: the root is unmounted and logged out of. Where ends are what is measured, the machine has ten seconds
// from the last service's end on.
func (g *survivor) ends(verb string) {
	g.t.Helper()
	g.run("touch /run/stop; while pgrep -x fio >/dev/null; do sleep .2; done; dmesg -n 7")
	g.send("systemctl " + verb)
	g.expect(`Reached target .*(Power Off|Reboot|System Shutdown|Late Shutdown)|systemd-shutdown\[1\]`)
	last := time.Now()
	g.expect(`bootlun: shutdown: the root is unmounted and logged out of; ` + verb)
	if err := g.vm.Wait(); err != nil {
		g.t.Error(err)
	}
	took := time.Since(last).Round(time.Millisecond)
	g.t.Logf("%s took %v after the last service", verb, took)
	if countEnds(g.t) > 0 && took > 10*time.Second {
		g.t.Errorf("%s took longer than ten seconds", verb)
	}
}
