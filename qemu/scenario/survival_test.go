package scenario_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
)

// keeperInCharge has systemd leave out iscsid.
const keeperInCharge = "systemd.mask=iscsid.service systemd.mask=iscsid.socket systemd.mask=open-iscsi.service"

// thorough says that all that is known about survival is to be tried, as make test-survival does. It takes an hour.
func thorough() bool { return os.Getenv("BOOTLUN_TEST_SURVIVAL") != "" }

// needThorough skips a test that make test has no time for.
func needThorough(t *testing.T) {
	t.Helper()
	if !thorough() {
		t.Skip("SKIP: takes minutes: make test-survival runs it")
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
}

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
	if thorough() {
		g.run("systemctl start iscsid.service")
		g.awaitISCSID()
		g.flips("iscsid")
	}
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
	g.awaitISCSID()
	first := g.shelf.portals[0]
	g.restarts("iscsid", first, number(g.t, "BOOTLUN_SURVIVAL_RESTARTS", 2))
	g.cuts()
	if thorough() {
		g.breaks("iscsid")
		g.moves("iscsid", first, g.shelf.portals[1])
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

// awaitISCSID waits until iscsid has taken over.
func (g *survivor) awaitISCSID() {
	g.t.Helper()
	g.run("until grep -q iscsid /run/bootlun/keeper.json; do sleep .5; done")
}

// keeperInCharge does all the harm there is.
func (g *survivor) keeperInCharge() {
	g.t.Helper()
	first := g.shelf.portals[0]
	g.restarts("keeper", first, number(g.t, "BOOTLUN_SURVIVAL_RESTARTS", 3))
	g.breaks("keeper")
	g.cuts()
	g.survives("server that insists on digests", first.kill, func() { first.digests = true; first.start() })
	g.flips("keeper")
	g.moves("keeper", first, g.shelf.portals[1])
}

func nothing() {}

// breaks breaks the connection in other ways than by the server's end.
func (g *survivor) breaks(who string) {
	g.t.Helper()
	first := g.shelf.portals[0]
	g.survives(who+" in charge: connection reset", func() { first.each(func(c *faultyConn) { c.set(func(c *faultyConn) { c.deaf = true }) }) }, nothing)
	g.survives(who+" in charge: half-open connection", func() { g.shelf.link(false); first.kill() }, func() { first.start(); g.shelf.link(true) })
	g.survives(who+" in charge: server's words lost", first.mute, nothing)
}

// flips damages an answer, on a session with digests.
func (g *survivor) flips(who string) {
	g.t.Helper()
	g.survives(who+" in charge: bit flipped on its way", func() {
		g.shelf.portals[0].each(func(c *faultyConn) { c.set(func(c *faultyConn) { c.damage = true }) })
	}, nothing)
}

// cuts cuts the link for 5 s, or for as long as the environment says.
func (g *survivor) cuts() {
	g.t.Helper()
	for _, text := range strings.Fields(cmp.Or(os.Getenv("BOOTLUN_SURVIVAL_CUTS"), "5s")) {
		d, err := time.ParseDuration(text)
		if err != nil {
			g.t.Fatalf("BOOTLUN_SURVIVAL_CUTS: %v", err)
		}
		g.outlasts(d)
	}
}

// moves has a portal send sessions to another one, loses the one that is there, and goes back.
func (g *survivor) moves(who string, from, to *portal) {
	g.t.Helper()
	g.survives(who+" in charge: address changed by redirect", from.kill, func() {
		from.redirect = &target.Redirect{To: iscsi.TargetAddress{Host: to.host.Addr().String(), Port: iscsi.DefaultPort}}
		from.start()
	})
	if at := g.run("cat /sys/class/iscsi_connection/connection*/address"); !slices.Contains(at, to.host.Addr().String()) {
		g.t.Errorf("after the redirect the session is at %q", at)
	}
	from.kill()
	from.redirect = nil
	from.start()
	g.survives(who+" in charge: back to the first address", to.kill, to.start)
}

// mute has a server's words lost from now on.
func (p *portal) mute() {
	p.each(func(c *faultyConn) { c.set(func(c *faultyConn) { c.mute = true }) })
}

// The end of a machine on a root by iSCSI, as often as BOOTLUN_SURVIVAL_ENDS says; the tests above have one of each kind.
func TestSurvivorEnds(t *testing.T) {
	n := countEnds(t)
	if n == 0 {
		t.Skip("SKIP: the other scenarios end once each; BOOTLUN_SURVIVAL_ENDS=10 has ten power-offs and ten reboots, half of each with iscsid in charge")
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	for i := range n {
		for _, verb := range []string{"poweroff", "reboot"} {
			t.Run(fmt.Sprint(verb, i+1), func(t *testing.T) {
				bootInCharge(t, newShelf(t, workbenchRoot(t), 1), i%2 == 0).ends(verb)
			})
		}
	}
}

// countEnds is how often machines are to be ended, to measure that; 0 if not at all.
func countEnds(t *testing.T) int { return number(t, "BOOTLUN_SURVIVAL_ENDS", 0) }

// bootInCharge boots with iscsid in charge of the session, or without it.
func bootInCharge(t *testing.T, s *shelf, iscsid bool) *survivor {
	t.Helper()
	if !iscsid {
		return bootSurvivor(t, s, 1, keeperInCharge)
	}
	g := bootSurvivor(t, s, 1, "")
	g.awaitISCSID()
	return g
}

// A machine whose disk goes away while it is shut down waits for it, and loses nothing.
func TestSurvivorEndsLate(t *testing.T) {
	needThorough(t)
	for verb, iscsid := range map[string]bool{"poweroff": true, "reboot": false} {
		t.Run(verb, func(t *testing.T) {
			s := newShelf(t, workbenchRoot(t), 1)
			g := bootInCharge(t, s, iscsid)
			g.run("dmesg -n 7")
			g.send("systemctl " + verb)
			g.expect(`systemd-shutdown\[1\]`)
			s.portals[0].kill()
			g.expect("Syncing filesystems and block devices - timed out")
			s.portals[0].start()
			g.expect("bootlun: shutdown: the root is unmounted and logged out of; " + verb)
			if err := g.vm.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
