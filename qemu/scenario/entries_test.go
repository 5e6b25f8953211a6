package scenario_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// partitionAt is where the Debian root's file system begins in its image.
const partitionAt = 1 << 20

// copyOfDebian is the Debian root, to be changed, with its kernel and initramfs as files in dir.
func copyOfDebian(t *testing.T) (root scenario.Root, dir, kernel, initramfs string) {
	t.Helper()
	need(t, "debugfs")
	original, err := images(t).Root(t.Context(), scenario.RootDebian)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	root = scenario.Root{Path: filepath.Join(dir, "root.img"), Up: original.Up}
	if out, err := exec.Command("cp", "--sparse=always", original.Path, root.Path).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	if kernel, initramfs, err = rootfs.BootFiles(root.Path, dir); err != nil {
		t.Fatal(err)
	}
	return root, dir, kernel, initramfs
}

// changedDebian is the Debian root with another grub.cfg, by tools that know nothing of ours: among its entries are some that cannot
// be started. The kernel of "low" is Debian's beside a configuration that denies CONFIG_ACPI_TABLE_UPGRADE.
func changedDebian(t *testing.T) scenario.Root {
	t.Helper()
	root, dir, kernelFile, initramfsFile := copyOfDebian(t)
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	spoiled := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)*3/4] ^= 0x40
		return b
	}
	version := strings.TrimSpace(debugfs(t, root.Path, "ls -p /boot"))
	version = regexp.MustCompile(`vmlinuz-([^/]+)/`).FindStringSubmatch(version)[1]
	commands := []string{
		"mkdir /boot/low",
		"write " + kernelFile + " /boot/low/vmlinuz",
		"write " + write("config", []byte("# CONFIG_ACPI_TABLE_UPGRADE is not set\nCONFIG_ISCSI_IBFT_FIND=y\n")) + " /boot/low/config-" + version,
		"write " + write("k", spoiled(kernelFile)) + " /boot/spoiled-kernel",
		"write " + write("i", spoiled(initramfsFile)) + " /boot/spoiled-initramfs",
		"write " + initramfsFile + " /boot/huge-initramfs",
		"set_inode_field /boot/huge-initramfs size 1073741824", // of which the disk has little: it is refused before
		"set_inode_field /boot/huge-initramfs blocks 2097152",
		"rm /boot/grub/grub.cfg",
		"write " + write("grub.cfg", []byte(changedMenu)) + " /boot/grub/grub.cfg",
		"write " + write("grubenv", []byte("# GRUB Environment Block\nsaved_entry=good\nnext_entry=spoiled kernel\n"+strings.Repeat("#", 956))) + " /boot/grub/grubenv",
	}
	debugfs(t, root.Path, commands...)
	return root
}

const changedMenu = `set timeout=0
load_env
set default="${saved_entry}"
if [ "${next_entry}" ]; then
	set default="${next_entry}"
	set next_entry=
	save_env next_entry
fi
line="root=LABEL=bootlun-debian ro console=ttyS0,115200 iscsi_auto"
menuentry "good" { linux /vmlinuz $line entry=good
	initrd /initrd.img }
menuentry "not there" { linux /none $line
	initrd /initrd.img }
menuentry "spoiled kernel" { linux /boot/spoiled-kernel $line
	initrd /initrd.img }
menuentry "spoiled initramfs" { linux /vmlinuz $line
	initrd /boot/spoiled-initramfs }
menuentry "huge" { linux /vmlinuz $line
	initrd /boot/huge-initramfs }
menuentry "low memory" --id low { linux /boot/low/vmlinuz $line entry=low
	initrd /initrd.img }
`

// debugfs runs commands of e2fsprogs' editor on the root's file system.
func debugfs(t *testing.T, image string, commands ...string) string {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command("debugfs", "-w", "-f", "-", fmt.Sprintf("%s?offset=%d", image, partitionAt))
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(commands, "\n")+"\n"), &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("debugfs: %v\n%s%s", err, out, &errs)
	}
	return string(out)
}

// record is a log to look into.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// The next entry, of which GRUB's environment tells, cannot be started, nor can those after it; each is passed over for a reason that
// the console gives, on a machine with too little memory for one of them. What starts has the table in low memory. GRUB's
// environment forgets its next entry, and the target sees a logout.
func TestOwnKernelNextEntry(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	lab := labFor(t, scenario.RootDebian)
	lab.Root, lab.OwnKernel, lab.Memory, lab.KeepWrites = changedDebian(t), true, 512, true
	var log record
	lab.Logger = slog.New(slog.NewTextHandler(&log, nil))
	running, ctx := start(t, lab)
	expect(ctx, t, running, `iBFT found at 0x0*9e000`)
	console := transcript(running)
	for _, want := range []string{
		`grubenv: next_entry=""`,
		`"spoiled kernel".* it is damaged: its content is not what its signature is for`,
		`trying the next entry, "spoiled initramfs"`,
		`"spoiled initramfs".* initramfs: it is damaged`,
		`"huge": the file is too large: kernel and initramfs have 1037 MiB, this machine has room for 1?\d\d$`,
		`bootlun: load .* kexec_load, the table at 0x9e000`,
		`bootlun: logout .* all sessions`,
		`bootlun: kexec .* \d+ ms after our init's; "low memory" takes over`,
	} {
		if !slices.ContainsFunc(console, regexp.MustCompile(want).MatchString) {
			t.Errorf("no line of the console matches %q", want)
		}
	}
	if reasons := regexp.MustCompile(`session over.*`).FindAllString(log.String(), -1); len(reasons) != 1 || !strings.Contains(reasons[0], "logged out") {
		t.Errorf("the target's log says of sessions that ended %q, want one that logged out", reasons)
	}
	if os.Getenv(installationsEnable) == "" {
		return // the rest is a boot of Debian
	}
	waitUp(ctx, t, running)
	g := logIn(ctx, t, running)
	g.seesRootOnLUN()
	expectLine(t, g.run("cat /proc/cmdline"), `entry=low$`)
	expectLine(t, g.run("grep next_entry /boot/grub/grubenv"), `^next_entry=$`)
	expectLine(t, g.run("cat /sys/firmware/ibft/target0/target-name"), "^"+regexp.QuoteMeta(scenario.TargetName))
}

func transcript(r *scenario.Running) (lines []string) {
	for _, l := range r.VM.Console.Lines() {
		lines = append(lines, l.Text)
	}
	return lines
}

func expectLine(t *testing.T, lines []string, pattern string) {
	t.Helper()
	if !slices.ContainsFunc(lines, regexp.MustCompile(pattern).MatchString) {
		t.Errorf("no line matches %q:\n%s", pattern, strings.Join(lines, "\n"))
	}
}

// A LUN with nothing on it ends in a shell.
func TestOwnKernelBlankLUN(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get")
	blank := filepath.Join(t.TempDir(), "blank.img")
	if err := os.WriteFile(blank, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	lab := labFor(t, scenario.RootTiny)
	lab.Root, lab.OwnKernel = scenario.Root{Path: blank, Up: regexp.MustCompile(`here is a shell`)}, true
	running, ctx := start(t, lab)
	expect(ctx, t, running, `bootlun: failed: entries: no configuration of a boot loader and no kernel.*; the LUN has no partition table and no file system; bootlun.handoff=switch_root`)
	expect(ctx, t, running, `here is a shell`)
}

// A LUN that goes away for good, while the menu is shown, ends in what bootlun.failure says.
func TestOwnKernelLostLUN(t *testing.T) {
	needInstallations(t)
	lab := labFor(t, scenario.RootDebian)
	lab.OwnKernel, lab.Menu, lab.Cmdline = true, "wait", "bootlun.timeout=10s bootlun.failure=poweroff"
	running, ctx := start(t, lab)
	expect(ctx, t, running, `Enter starts, e edits`)
	if err := running.VM.SetLink(ctx, 0, false); err != nil {
		t.Fatal(err)
	}
	send(t, running, "")
	expect(ctx, t, running, `bootlun: failed: kexec: none of 1 entries could be started: .*the LUN has not answered for 10s|the connection is lost`)
	if err := running.VM.Wait(); err != nil {
		t.Errorf("the machine did not power off: %v", err)
	}
}

// The menu is on the serial line and on the screen at once: the keyboard moves, the serial line edits the command line and starts. The
// entry to begin with is the machine's in the server's configuration.
func TestOwnKernelMenu(t *testing.T) {
	needInstallations(t)
	lab := labFor(t, scenario.RootDebian)
	lab.Root, lab.OwnKernel, lab.Screen = changedDebian(t), true, true
	lab.Entry, lab.Menu = "spoiled kernel", "wait"
	running, ctx := start(t, lab)
	expect(ctx, t, running, `> spoiled kernel`)
	expect(ctx, t, running, `Enter starts, e edits the command line`)
	if screen := onScreen(ctx, t, running); !strings.Contains(screen, "> spoiled kernel") || !strings.Contains(screen, "  low memory") {
		t.Errorf("the screen shows\n%s", screen)
	}
	press(ctx, t, running, "up")
	expect(ctx, t, running, `> not there`)
	press(ctx, t, running, "up")
	expect(ctx, t, running, `> good`)
	if err := running.VM.Console.Send("e"); err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, running, `Command line of "good"`)
	if err := running.VM.Console.Send(" edited=yes\r"); err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, running, `bootlun: load .* kexec_file_load, the table before the initramfs: .*entry=good edited=yes`)
	waitUp(ctx, t, running)
	g := logIn(ctx, t, running)
	g.seesRootOnLUN()
	expectLine(t, g.run("cat /proc/cmdline"), `^root=LABEL=bootlun-debian ro console=ttyS0,115200 iscsi_auto entry=good edited=yes$`)
	expectLine(t, g.run("grep next_entry /boot/grub/grubenv"), `^next_entry=spoiled kernel$`) // bootlun.entry= went before it
}

// installationsEnable is the variable by which make test-installations asks for tests that take long.
const installationsEnable = "BOOTLUN_TEST_INSTALLATIONS"

// needInstallations skips what takes long, and is run with the installations.
func needInstallations(t *testing.T) {
	t.Helper()
	if os.Getenv(installationsEnable) == "" {
		t.Skip("SKIP: boots more machines: make test-installations")
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
}

// press presses a key of the machine's keyboard, by QEMU's name for it.
func press(ctx context.Context, t *testing.T, r *scenario.Running, key string) {
	t.Helper()
	keys := []map[string]string{{"type": "qcode", "data": key}}
	if err := r.VM.QMP.Execute(ctx, "send-key", map[string]any{"keys": keys}, nil); err != nil {
		t.Fatal(err)
	}
}

// onScreen is the text in the memory of the machine's screen, lines of 80 characters with their attributes. Linux scrolls by moving
// where the screen begins, so what is shown is somewhere in it.
func onScreen(ctx context.Context, t *testing.T, r *scenario.Running) string {
	t.Helper()
	memory, err := r.VM.ReadMemory(ctx, 0xB8000, 32<<10)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range len(memory) / 160 {
		for i := range 80 {
			b.WriteByte(memory[(line*80+i)*2])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
