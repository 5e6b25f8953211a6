package scenario_test

import (
	"archive/tar"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/lan"
)

// The addresses of a tool guest and of the host beside it.
const (
	toolGuestAddr = "10.77.0.1"
	toolHostAddr  = "10.77.0.2"
)

// toolGuest is a Debian with the tools of those who judge disks, booted from a disk of its own. This process is a host on its LAN.
type toolGuest struct {
	*guest
	vm   *qemu.VM
	lan  *lan.LAN
	host *lan.Host
}

// startToolGuest boots it, with the files in its folder /tools.
func startToolGuest(t *testing.T, limit time.Duration, files ...string) *toolGuest {
	t.Helper()
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	root := workbenchRoot(t)
	g := &toolGuest{}
	g.plugIn(t)
	kernel, initramfs, err := rootfs.BootFiles(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	t.Cleanup(cancel)
	g.vm, err = qemu.Machine{
		Name: "tools", Memory: 1536, CPUs: 2, NoReboot: true,
		Kernel: kernel, Initrd: initramfs, Append: "root=LABEL=workbench rw console=ttyS0,115200 net.ifnames=0 no_timer_check quiet",
		NICs:  []qemu.NIC{{LAN: g.lan.Socket()}},
		Disks: []qemu.Disk{{Path: root, Snapshot: true}, {Path: archiveFiles(t, files), ReadOnly: true}},
	}.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.vm.Stop() })
	if testing.Verbose() {
		g.vm.Console.Tee(t.Output())
	}
	g.guest = &guest{t: t, ctx: ctx, console: g.vm.Console, prompt: `# $`}
	g.expect(g.prompt)
	g.run("stty cols 3000; dmesg -n 1; export TERM=dumb; mkdir /tools && tar xf /dev/vdb -C /tools; cd /tools; PATH=/tools:$PATH")
	g.must("ip address add " + toolGuestAddr + "/24 dev eth0; ip address add fd77::1/64 dev eth0 nodad; ip link set eth0 up")
	g.must("until ping -qc1 -W1 " + toolHostAddr + " >/dev/null; do :; done")
	return g
}

func (g *toolGuest) plugIn(t *testing.T) {
	t.Helper()
	var err error
	if g.lan, err = lan.New(lan.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.lan.Close() })
	addrs := []netip.Prefix{netip.MustParsePrefix(toolHostAddr + "/24"), netip.MustParsePrefix("fd77::2/64")}
	if g.host, err = g.lan.Host(lan.HostConfig{Name: "host", Addrs: addrs}); err != nil {
		t.Fatal(err)
	}
}

// subtest runs a test in which a command that fails fails that test.
func (g *guest) subtest(t *testing.T, name string, run func(*testing.T)) {
	t.Helper()
	before := g.t
	defer func() { g.t = before }()
	t.Run(name, func(t *testing.T) {
		g.t = t
		run(t)
	})
}

// must runs a command that must work, and returns what it prints.
func (g *guest) must(command string) string {
	g.t.Helper()
	const failed = "the command failed"
	lines := g.run("{ " + command + "; } || echo the command 'failed'")
	text := strings.Join(lines, "\n")
	if strings.HasSuffix(text, failed) {
		g.t.Fatalf("%s: %s", command, text)
	}
	return text
}

// fails runs a command that must fail, and returns what it prints.
func (g *guest) fails(command string) string {
	g.t.Helper()
	return g.must("! { " + command + "; }")
}

// archiveFiles makes a disk of a tar archive.
func archiveFiles(t *testing.T, files []string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tools.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: filepath.Base(name), Mode: 0o755, Size: int64(len(b))})
		}
		if err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// buildCommand builds one of our commands for a guest and for this machine.
func buildCommand(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// writeSecrets makes a file of each secret, in a folder of their own.
func writeSecrets(t *testing.T, secrets map[string]string) (files []string) {
	t.Helper()
	dir := t.TempDir()
	for name, secret := range secrets {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(fmt.Errorf("secret %s: %w", name, err))
		}
		files = append(files, path)
	}
	return files
}
