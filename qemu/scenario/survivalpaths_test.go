package scenario_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
)

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
	g.obeysGroups()
	if thorough() {
		g.losesInTurn()
	}
	g.survives("both paths lost", func() { s.portals[0].kill(); s.portals[1].kill() },
		func() { s.portals[0].start(); s.portals[1].start() })
	g.passes()
	g.unharmedByPaths()
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

// obeysGroups has the first path become worse than the second, and as good again (ALUA).
func (g *survivor) obeysGroups() {
	g.t.Helper()
	first := g.shelf.portals[0]
	set := func(state scsi.AccessState) {
		// 1 is the group of targets that name none.
		if err := first.server.SetPortGroup(target.PortGroup{ID: 1, State: state}); err != nil {
			g.t.Fatal(err)
		}
	}
	set(scsi.ActiveNonOptimized)
	g.writesBy("sdb", "sda")
	set(scsi.ActiveOptimized)
	g.writesByAll("sda", "sdb")
}

// losesInTurn has one path cut, and meanwhile the server of the other start anew.
func (g *survivor) losesInTurn() {
	g.t.Helper()
	first, second := g.shelf.portals[0], g.shelf.portals[1]
	g.survives("one path cut, the other's server killed and started", func() { first.link(false); second.kill() }, second.start)
	g.passes()
	g.drainLogins()
	first.link(true)
	g.writesByAll("sda", "sdb")
}

// writes is a shell function: how many writes a disk has completed (Linux, Documentation/block/stat.rst).
const writes = `writes() { awk '{print $5}' /sys/block/$1/stat; }; `

// writesBy waits until the disk's writes go by one of its paths and none by another.
func (g *survivor) writesBy(better, worse string) {
	g.t.Helper()
	g.run(fmt.Sprintf(writes+`until b=$(writes %[1]s) w=$(writes %[2]s); sleep 2; [ $(writes %[1]s) -ge $((b+20)) ] && [ $(writes %[2]s) = $w ]; do :; done`, better, worse))
}

// writesByAll waits until they go by both.
func (g *survivor) writesByAll(one, other string) {
	g.t.Helper()
	g.run(fmt.Sprintf(writes+`until a=$(writes %[1]s) b=$(writes %[2]s); sleep 2; [ $(writes %[1]s) -gt $a ] && [ $(writes %[2]s) -gt $b ]; do :; done`, one, other))
}
