package scenario_test

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// guest is the shell on a machine's console.
type guest struct {
	t       *testing.T
	ctx     context.Context
	console *qemu.Console
	prompt  string // an expression
	ran     int
}

func (g *guest) expect(pattern string) {
	g.t.Helper()
	if _, err := g.console.Expect(g.ctx, regexp.MustCompile(pattern)); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) send(line string) {
	g.t.Helper()
	if err := g.console.Send(line + "\r"); err != nil {
		g.t.Fatal(err)
	}
}

// run runs a command and returns the lines that it prints. The prompt has been
// expected before, and is again when it returns.
func (g *guest) run(command string) []string {
	g.t.Helper()
	g.ran++
	end := fmt.Sprint("end-of-", g.ran, "-")
	g.send(command + "; echo " + end + "$?") // as typed it does not look as when printed
	g.expect("^" + end + "[0-9]")
	g.expect(g.prompt)
	var lines []string
	for _, l := range g.console.Lines() {
		lines = append(lines, l.Text)
	}
	last := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, end) })
	for i, l := range slices.Backward(lines[:last]) {
		if strings.Contains(l, "$?") {
			return lines[i+1 : last]
		}
	}
	return lines[:last]
}

// logIn logs in to a Debian that is up.
func logIn(ctx context.Context, t *testing.T, r *scenario.Running) *guest {
	t.Helper()
	g := &guest{t: t, ctx: ctx, console: r.VM.Console, prompt: `# $`}
	g.expect("login: ")
	g.send("root")
	g.expect("Password: ")
	g.send(scenario.RootPassword)
	g.expect(g.prompt)
	return g
}

func (g *guest) seesRootOnLUN() {
	g.t.Helper()
	g.send("findmnt -no SOURCE,FSTYPE /; cat /sys/class/iscsi_session/session*/targetname")
	g.expect(`^/dev/sda1 +ext4`)
	g.expect("^" + regexp.QuoteMeta(scenario.TargetName))
	g.expect(g.prompt)
}

// seesTable looks for the lab's table in the kernel.
func (g *guest) seesTable() {
	g.t.Helper()
	names := g.run("cd /sys/firmware/ibft && cat acpi_header/oem_table_id initiator/initiator-name target0/target-name")
	for _, want := range []string{"bootlun", scenario.InitiatorName, scenario.TargetName} {
		if !slices.Contains(names, want) { // the kernel may print lines of its own between
			g.t.Errorf("the machine's table says %q, want %q among them", names, want)
		}
	}
}

// seesFirmware looks for what a kernel keeps of UEFI: its calls, which need its memory map, and its variables.
func (g *guest) seesFirmware(efi bool) {
	g.t.Helper()
	said := g.run("ls -1 /sys/firmware; ls /sys/firmware/efi/efivars | grep -c ^Boot")
	if !efi && slices.Contains(said, "efi") {
		g.t.Errorf("a kernel on BIOS sees UEFI: %q", said)
	}
	if efi && (!slices.Contains(said, "efi") || slices.Contains(said, "0")) {
		g.t.Errorf("what there is of the firmware: %q, want efi and variables", said)
	}
}

// debianImage makes a root, once, in the folder of the other images.
func debianImage(t *testing.T, name string, config rootfs.DebianConfig) string {
	t.Helper()
	path := filepath.Join(images(t).Dir, name)
	if rootfs.Fresh(path, config.Key()) {
		return path
	}
	config.Log = images(t).Logger
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if err := rootfs.Debian(ctx, path, config); err != nil {
		t.Fatal(err)
	}
	return path
}
