package scenario_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// timeout is for one boot under emulation, on a busy machine.
const timeout = 15 * time.Minute

// images are kept with those of "make boot".
func images(t *testing.T) scenario.Images {
	t.Helper()
	dir, err := filepath.Abs("../../build")
	if err != nil {
		t.Fatal(err)
	}
	return scenario.Images{Dir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// need skips the test, loudly, where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: boots a virtual machine; -short leaves that out")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIP: needs %s: make deps installs it", p)
		}
	}
}

// labFor makes a lab of our image and the named root.
func labFor(t *testing.T, root string) scenario.Lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // a first Debian root takes minutes
	defer cancel()
	images := images(t)
	kernel, image, err := images.Netboot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := images.Root(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	return scenario.Lab{Kernel: kernel.Image, Image: image, Root: r}
}

// boot runs a lab until the installed system is up. It ends with the test.
func boot(t *testing.T, lab scenario.Lab) (*scenario.Running, context.Context) {
	t.Helper()
	running, ctx := start(t, lab)
	waitUp(ctx, t, running)
	return running, ctx
}

// start switches a lab's machine on. It ends with the test.
func start(t *testing.T, lab scenario.Lab) (*scenario.Running, context.Context) {
	t.Helper()
	return startWithin(t, lab, timeout)
}

func startWithin(t *testing.T, lab scenario.Lab, timeout time.Duration) (*scenario.Running, context.Context) {
	t.Helper()
	if testing.Verbose() {
		lab.Console = t.Output()
	}
	// The test's own context ends before its clean-up, which stops the machine.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	t.Cleanup(cancel)
	running, err := lab.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	return running, ctx
}

// waitUp waits until the installed system is up, and shows how it got there, or
// how far.
func waitUp(ctx context.Context, t *testing.T, running *scenario.Running) {
	t.Helper()
	err := running.WaitUp(ctx)
	var text bytes.Buffer
	running.Timeline.Print(&text)
	t.Logf("\n%s", &text)
	if err != nil {
		t.Fatal(err)
	}
}

// detail is what the machine said of a phase of its boot.
func detail(r *scenario.Running, phase string) string {
	for _, p := range r.Timeline.Phases() {
		if p.Name == phase {
			return p.Detail
		}
	}
	return ""
}

func expect(ctx context.Context, t *testing.T, r *scenario.Running, pattern string) {
	t.Helper()
	if _, err := r.VM.Console.Expect(ctx, regexp.MustCompile(pattern)); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, r *scenario.Running, line string) {
	t.Helper()
	if err := r.VM.Console.Send(line + "\r"); err != nil {
		t.Fatal(err)
	}
}

func TestBootTiny(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get")
	chap := func(l *scenario.Lab) {
		l.CHAPName, l.CHAPSecret = "machine", "secret-of-machine"
		l.ReverseCHAPName, l.ReverseCHAPSecret = "target", "secret-of-target"
	}
	tests := []struct {
		name  string
		set   func(*scenario.Lab)
		table string
	}{
		{"table synthesised from DHCP", func(*scenario.Lab) {}, "synthesised from the lease of 10.73.0.50"},
		{"table read from the firmware", func(l *scenario.Lab) { l.Table = scenario.FromFirmware }, "read from /sys/firmware/acpi/tables/iBFT"},
		{"table leaves the address to DHCP", func(l *scenario.Lab) { l.Table, l.NoAddress = scenario.FromFirmware, true }, "read from /sys/firmware/acpi/tables/iBFT"},
		{"mutual CHAP by the server's table", chap, "read from /sys/firmware/acpi/tables/IBFT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lab := labFor(t, scenario.RootTiny)
			tt.set(&lab)
			running, ctx := boot(t, lab)
			if got := detail(running, "table"); !strings.HasPrefix(got, tt.table) {
				t.Errorf("table: %q, want %q", got, tt.table)
			}
			// The shell of the booted system sees the LUN as its root, and writes to it.
			expect(ctx, t, running, `^\$ `)
			send(t, running, "cat /sys/class/iscsi_session/session*/targetname; echo wrote > /file && cat /file")
			expect(ctx, t, running, "^"+regexp.QuoteMeta(scenario.TargetName))
			expect(ctx, t, running, "^wrote")
		})
	}
}

func TestBootDebian(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	crowded, _ := writeCrowdedTable(t)
	tests := []struct {
		name string
		set  func(*scenario.Lab)
		more func(*guest)
	}{
		{"table synthesised from DHCP, another present", func(l *scenario.Lab) {
			l.Cmdline, l.ACPITables = "bootlun.source=dhcp", []string{crowded}
		}, compareISCSIStart},
		{"table read from the firmware", func(l *scenario.Lab) { l.Table = scenario.FromFirmware }, nil},
		// The target serves iPXE's int 13h, and open-iscsi in Debian's own initramfs.
		{"peer: iPXE sanboot, GRUB, open-iscsi", func(l *scenario.Lab) { l.Mode = netboot.ModeSANBoot }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lab := labFor(t, scenario.RootDebian)
			tt.set(&lab)
			running, ctx := boot(t, lab)
			g := logIn(ctx, t, running)
			g.seesRootOnLUN()
			if tt.more != nil {
				tt.more(g)
			}
		})
	}
}

// A distribution's own kernel and initramfs, netbooted with the machine's table
// before them, bring up their root by it.
func TestBootDistribution(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	tests := []struct {
		name, root, cmdline string
		more                func(*guest)
	}{
		{"dracut", scenario.RootDracut, "rd.iscsi.firmware=1 ip=ibft", sawDracutsNetwork},
		{"initramfs-tools and open-iscsi", scenario.RootDebian, "iscsi_auto", func(*guest) {}},
	}
	if os.Getenv(installationsEnable) == "" {
		tests = tests[:1] // TestBootOwnKernel has the other initramfs go by the same table
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // a first root takes minutes
			defer cancel()
			root, err := images(t).Root(ctx, tt.root)
			if err != nil {
				t.Fatal(err)
			}
			lab := scenario.Lab{Root: root, Mode: netboot.ModeKernel, Cmdline: "root=LABEL=bootlun-debian " + tt.cmdline}
			lab.CHAPName, lab.CHAPSecret = "machine", "secret-of-machine"
			lab.ReverseCHAPName, lab.ReverseCHAPSecret = "target", "secret-of-target"
			if lab.Kernel, lab.Image, err = rootfs.BootFiles(root.Path, t.TempDir()); err != nil {
				t.Fatal(err)
			}
			running, bootCtx := boot(t, lab)
			g := logIn(bootCtx, t, running)
			g.seesRootOnLUN()
			g.seesTable()
			tt.more(g)
		})
	}
}

// sawDracutsNetwork looks for what dracut leaves behind of an interface that it
// set up as the table says, and not by DHCP for want of anything better.
func sawDracutsNetwork(g *guest) {
	g.t.Helper()
	left := g.run("cat /run/initramfs/state/etc/sysconfig/network-scripts/ifcfg-ibft0")
	if !slices.Contains(left, "BOOTPROTO=ibft") {
		g.t.Errorf("dracut's network was not the table's:\n%s", strings.Join(left, "\n"))
	}
}

func TestBootFailureNamesStepAndRemedy(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get")
	lab := labFor(t, scenario.RootTiny)
	lab.Cmdline = "root=LABEL=nobody-has-this bootlun.failure=poweroff"
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	running, err := lab.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Stop()
	expect(ctx, t, running, `bootlun: failed: root: .*nobody-has-this.*root=UUID=`)
	if err := running.VM.Wait(); err != nil {
		t.Errorf("the machine did not power off: %v", err)
	}
}

func TestImageStaysSmall(t *testing.T) {
	need(t, "apt-get")
	lab := labFor(t, scenario.RootTiny)
	info, err := os.Stat(lab.Image)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= 10e6 {
		t.Errorf("the image with the cloud kernel's modules has %d bytes, want less than 10 MB", info.Size())
	}
}

func TestRootOfNoName(t *testing.T) {
	_, err := scenario.Images{Dir: t.TempDir()}.Root(t.Context(), "/nonexistent.img")
	if err == nil || !strings.Contains(err.Error(), "tiny, debian, dracut or the file") {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Stat("/nonexistent.img"); err == nil {
		t.Error("a root that was only named has been made")
	}
}
