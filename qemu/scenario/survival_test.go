package scenario_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/target"
)

// repeats is how often a scenario does what it does: a few times, or as an environment variable says.
func repeats(t *testing.T, variable string, otherwise int) int {
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

// survivor is a Debian on the shelf's disk, on which fio writes and verifies without end.
type survivor struct {
	*guest
	shelf *shelf
	vm    *qemu.VM
}

// Each pass of fio writes a file anew in random order, with checksums, and reads it back.
const fioLoop = `(while [ ! -e /run/stop ]; do fio --name=pass --filename=/root/fio.data --size=2m --rw=randwrite --bs=4k ` +
	`--direct=1 --fsync=64 --ioengine=libaio --iodepth=4 --verify=crc32c --verify_fatal=1 --output=/run/fio.out || { echo fio failed >>/run/failed; break; }; ` +
	`echo pass >>/run/passes; done) </dev/null >/dev/null 2>&1 & true`

func bootSurvivor(t *testing.T, s *shelf, paths int, cmdline string) *survivor {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 25*time.Minute)
	t.Cleanup(cancel)
	vm, err := s.machine(paths, cmdline).Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Stop() })
	if testing.Verbose() {
		vm.Console.Tee(t.Output())
	}
	g := &survivor{guest: &guest{t: t, ctx: ctx, console: vm.Console, prompt: `# $`}, shelf: s, vm: vm}
	g.expect(g.prompt)
	g.run("stty cols 3000; dmesg -n 1; touch /run/passes; export TERM=dumb")
	return g
}

// load starts the writer.
func (g *survivor) load() {
	g.t.Helper()
	g.run(fioLoop)
	g.passes()
}

// passes waits until fio has gone through two more passes: one may have been under way.
func (g *survivor) passes() {
	g.t.Helper()
	out := g.run(`n=$(wc -l </run/passes); while [ $(wc -l </run/passes) -lt $((n+2)) ] && [ ! -e /run/failed ]; do sleep .2; done; cat /run/failed /run/fio.out 2>/dev/null | grep -i -e failed -e 'err=' -e bad`)
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

// unharmed looks for what must not have happened.
func (g *survivor) unharmed() {
	g.t.Helper()
	if bad := g.run(`dmesg | grep -E 'I/O error|EXT4-fs error|EXT4-fs warning|emounting filesystem read-only|rejecting I/O|offlined'`); len(bad) > 0 {
		g.t.Errorf("the kernel says\n%s", strings.Join(bad, "\n"))
	}
	if options := strings.Join(g.run("findmnt -no OPTIONS /"), ""); !strings.HasPrefix(options, "rw,") {
		g.t.Errorf("the root is mounted %q", options)
	}
}

// keeperInCharge has systemd leave out iscsid.
const keeperInCharge = "systemd.mask=iscsid.service systemd.mask=iscsid.socket systemd.mask=open-iscsi.service"

// A Debian root survives what its target does, first with its own iscsid in charge of the session, then with the keeper, which
// takes over when iscsid ends.
func TestSurvival(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	s := newShelf(t, workbenchRoot(t), 2)
	g := bootSurvivor(t, s, 1, "")
	g.load()
	g.hasName(s.portals[0])
	g.iscsidInCharge()
	g.run("systemctl stop iscsid.socket iscsid.service; until grep -q '\"inCharge\": \"keeper\"' /run/bootlun/keeper.json; do sleep .5; done")
	g.keeperInCharge()
	g.passes()
	g.unharmed()
	g.t.Log(strings.Join(g.run("grep -h -e VmLck -e VmRSS /proc/$(pgrep -o bootlun-keeper)/status"), ", "))
	g.t.Log(strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
	g.ends("reboot")
}

// hasName looks for the disk under the name that others know it by, which udev makes of the session's attributes.
func (g *survivor) hasName(p *portal) {
	g.t.Helper()
	name := fmt.Sprintf("/dev/disk/by-path/ip-%s:3260-iscsi-%s-lun-0", p.host.Addr(), survivalTarget)
	if at := g.run("readlink -f " + name); !slices.Equal(at, []string{"/dev/sda"}) {
		g.t.Errorf("%s is %q\n%s", name, at, strings.Join(g.run("ls /dev/disk/by-path"), "\n"))
	}
}

// iscsidInCharge does harm while the keeper stands by.
func (g *survivor) iscsidInCharge() {
	g.t.Helper()
	g.run("until grep -q iscsid /run/bootlun/keeper.json; do sleep .5; done")
	g.restarts("iscsid", g.shelf.portals[0], repeats(g.t, "BOOTLUN_SURVIVAL_RESTARTS", 2))
	for _, length := range cuts(g.t) {
		g.outlasts(length)
	}
	g.passes()
	g.unharmed()
	if n := strings.Join(g.run("grep -c '\"recoveries\": 0' /run/bootlun/keeper.json"), ""); n != "1" {
		g.t.Errorf("the keeper did not stand by:\n%s", strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
	}
	if tmo := strings.Join(g.run("cat /sys/class/iscsi_session/session*/recovery_tmo"), " "); tmo != "off" {
		g.t.Errorf("with iscsid the recovery timeout is %q", tmo)
	}
}

// keeperInCharge does all the harm there is.
func (g *survivor) keeperInCharge() {
	g.t.Helper()
	nothing := func() {}
	first := g.shelf.portals[0]
	g.restarts("keeper", first, repeats(g.t, "BOOTLUN_SURVIVAL_RESTARTS", 3))
	g.survives("connection reset", func() { first.each(func(c *faultyConn) { c.set(func(c *faultyConn) { c.deaf = true }) }) }, nothing)
	g.survives("half-open connection", func() { g.shelf.link(false); first.kill() }, func() { first.start(); g.shelf.link(true) })
	g.survives("server's words lost", first.mute, nothing)
	for _, length := range cuts(g.t) {
		g.outlasts(length)
	}
	g.survives("server that insists on digests", first.kill, func() { first.digests = true; first.start() })
	g.survives("bit flipped on its way", func() { first.each(func(c *faultyConn) { c.set(func(c *faultyConn) { c.damage = true }) }) }, nothing)
	g.moves(first, g.shelf.portals[1])
}

// cuts are for how long links are cut: 5 s, or what the environment says.
func cuts(t *testing.T) []time.Duration {
	var all []time.Duration
	for _, text := range strings.Fields(cmp.Or(os.Getenv("BOOTLUN_SURVIVAL_CUTS"), "5s")) {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("BOOTLUN_SURVIVAL_CUTS: %v", err)
		}
		all = append(all, d)
	}
	return all
}

// moves has a portal send sessions to another one, loses the one that is there, and goes back.
func (g *survivor) moves(from, to *portal) {
	g.t.Helper()
	g.survives("address changed by redirect", from.kill, func() {
		from.redirect = &target.Redirect{To: iscsi.TargetAddress{Host: to.host.Addr().String(), Port: iscsi.DefaultPort}}
		from.start()
	})
	if at := g.run("cat /sys/class/iscsi_connection/connection*/address"); !slices.Contains(at, to.host.Addr().String()) {
		g.t.Errorf("after the redirect the session is at %q", at)
	}
	from.kill()
	from.redirect = nil
	from.start()
	g.survives("back to the first address", to.kill, to.start)
}

// ends shuts the machine down. From the last service's end on it has ten seconds, and the root is unmounted and logged out of.
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
	if took := time.Since(last); took > 10*time.Second {
		g.t.Errorf("%s took %v after the last service", verb, took)
	} else {
		g.t.Logf("%s took %v after the last service", verb, took.Round(time.Millisecond))
	}
}

// mute has a server's words lost from now on.
func (p *portal) mute() {
	p.each(func(c *faultyConn) { c.set(func(c *faultyConn) { c.mute = true }) })
}

// A root by two paths, of which either may be lost, and one comes only when the machine runs.
func TestSurvivalByTwoPaths(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	s := newShelf(t, workbenchRoot(t), 2)
	s.portals[1].kill()
	g := bootSurvivor(t, s, 2, keeperInCharge)
	g.hasPaths("sda")
	g.load()
	s.portals[1].start()
	g.logged("has come and is in use", 1)
	g.hasPaths("sda  sdb")
	for i, p := range []*portal{s.portals[0], s.portals[1]} {
		g.drainLogins()
		p.kill()
		g.logged("has failed", i+1)
		g.flows()
		p.start()
		<-s.logins
		g.logged("back in use", i+1)
	}
	g.survives("both paths lost", func() { s.portals[0].kill(); s.portals[1].kill() },
		func() { s.portals[0].start(); s.portals[1].start() })
	g.passes()
	// What the kernel says of paths is no harm to the disk that is above them.
	if bad := g.run(`dmesg | grep -E 'I/O error.* dm-|EXT4-fs error|emounting filesystem read-only'`); len(bad) > 0 {
		t.Errorf("the kernel says\n%s", strings.Join(bad, "\n"))
	}
	g.t.Log(strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
	g.ends("poweroff")
}

// hasPaths checks by which disks the root is reached.
func (g *survivor) hasPaths(disks string) {
	g.t.Helper()
	if on := g.run("findmnt -no SOURCE /; ls /sys/block/dm-0/slaves"); !slices.Contains(on, disks) {
		g.t.Fatalf("the root is on %q, want %q", on, disks)
	}
}

// logged waits until the keeper has said something that often.
func (g *survivor) logged(what string, times int) {
	g.t.Helper()
	g.run(fmt.Sprintf("until [ $(grep -c '%s' /run/bootlun/keeper.log) -ge %d ]; do sleep .5; done", what, times))
}

// The end of a machine on a root by iSCSI, as often as BOOTLUN_SURVIVAL_ENDS says; the tests above have one of each kind.
func TestSurvivorEnds(t *testing.T) {
	n := repeats(t, "BOOTLUN_SURVIVAL_ENDS", 0)
	if n == 0 {
		t.Skip("SKIP: the other scenarios end once each; BOOTLUN_SURVIVAL_ENDS=10 has ten power-offs and ten reboots")
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	for i := range n {
		for _, verb := range []string{"poweroff", "reboot"} {
			t.Run(fmt.Sprint(verb, i+1), func(t *testing.T) {
				bootSurvivor(t, newShelf(t, workbenchRoot(t), 1), 1, "").ends(verb)
			})
		}
	}
}
