package scenario_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/internal/bootserver"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu/lan"
	"github.com/bootlun/bootlun/qemu/scenario"
	"github.com/bootlun/bootlun/qemu/xen"
)

const (
	// xenEnable is the environment variable by which "make test-xen" has its test run.
	xenEnable = "BOOTLUN_TEST_XEN"
	// xenTimeout is for a host and its guest. On two processors that had six times their work they took twelve minutes.
	xenTimeout = 20 * time.Minute

	xenCHAPName   = "guest"
	xenCHAPSecret = "secret-of-guest"
)

var (
	xenServer   = netip.MustParsePrefix("10.73.0.1/24")
	xenGuest    = netip.MustParsePrefix("10.73.0.51/24")
	xenGuestMAC = net.HardwareAddr{0x52, 0x54, 0, 0x73, 0, 0x51}
)

// An HVM guest of Xen finds the table that the line of "ibft convert --to xl"
// names, its kernel makes of it what "ibft show" says, and the guest logs in
// and starts by it.
func TestXenGuest(t *testing.T) {
	if os.Getenv(xenEnable) == "" {
		t.Skipf("SKIP: boots Xen in an emulated PC, which takes minutes: make test-xen runs it (it sets %s=1)", xenEnable)
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	host, guestDisk, root := xenImages(t)
	host.LAN = serveXenGuest(t, root)
	if testing.Verbose() {
		host.Console = t.Output()
	}
	tool := buildIBFT(t)
	file, line := tool.xenTable(t)

	// The test's own context ends before its clean-up, which stops the host.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), xenTimeout)
	t.Cleanup(cancel)
	vm, err := host.Start(ctx, xen.Guest{Disk: guestDisk, MAC: xenGuestMAC, Config: line, Files: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.Stop(); err != nil {
			t.Error(err)
		}
	})

	g := &guest{t: t, ctx: ctx, console: vm.Console, prompt: `^\$ `}
	g.expect(`dom0: here is the guest's console`)
	g.expect(`bootlun tiny root: / is /dev/sd`)
	g.expect(g.prompt)
	if names := g.run("cat /sys/class/iscsi_session/session*/targetname"); strings.Join(names, " ") != scenario.TargetName {
		t.Errorf("the guest's sessions are with %q, want %q", names, scenario.TargetName)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(raw))
	if said := strings.Join(g.run("shasum -a 256 /sys/firmware/acpi/tables/iBFT"), " "); !strings.Contains(said, sum) {
		t.Errorf("the guest's table is not the file's bytes (SHA-256 %s): %s", sum, said)
	}
	var says tableJSON
	if err := json.Unmarshal([]byte(tool.run(t, "show", "--json", "--reveal-secrets", file)), &says); err != nil {
		t.Fatal(err)
	}
	compareAttributes(t, attributes(g.run("grep -r . /sys/firmware/ibft")), says.attributes(t))
	g.send("poweroff")
	g.expect("dom0: the guest has ended")
	if err := vm.Wait(); err != nil {
		t.Errorf("the host did not power off: %v", err)
	}
}

// xenImages makes the host's disk, the guest's, and the LUN's.
func xenImages(t *testing.T) (host xen.Host, guestDisk string, root scenario.Root) {
	t.Helper()
	images := images(t)
	kernel, image, err := images.Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if root, err = images.Root(t.Context(), scenario.RootTiny); err != nil {
		t.Fatal(err)
	}
	if host.Image, err = images.XenHost(t.Context()); err != nil {
		t.Fatal(err)
	}
	guestDisk = filepath.Join(t.TempDir(), "loader.img")
	err = rootfs.Loader(t.Context(), guestDisk, rootfs.LoaderConfig{
		Kernel: kernel.Image, Initrd: image,
		// Unless told not to, Linux has Xen take away the card that the table names, for a paravirtual one.
		Cmdline: "console=hvc0 quiet xen_emul_unplug=never bootlun.source=table bootlun.timeout=5m bootlun.failure=poweroff",
	})
	if err != nil {
		t.Fatal(err)
	}
	return host, guestDisk, root
}

// serveXenGuest serves the LUN on a LAN of its own until the test ends. Nothing
// that is written to it is kept.
func serveXenGuest(t *testing.T, root scenario.Root) (socket string) {
	t.Helper()
	network, err := lan.New(lan.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { network.Close() })
	host, err := network.Host(lan.HostConfig{Name: "server", Addrs: []netip.Prefix{xenServer}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := bootserver.New(bootserver.Config{
		Config: netboot.Config{Addr: xenServer},
		Targets: []bootserver.Target{{
			Name: scenario.TargetName, CHAP: bootserver.CHAP{CHAPName: xenCHAPName, CHAPSecret: xenCHAPSecret},
			LUNs: []bootserver.LUN{{Number: 1, Medium: bootserver.Medium{Path: root.Path, Overlay: true}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, host) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	return network.Socket()
}

// ibftTool is our command, in a folder that has room for what it makes.
type ibftTool string

func buildIBFT(t *testing.T) ibftTool {
	t.Helper()
	tool := filepath.Join(t.TempDir(), "ibft")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", tool, "../../cmd/ibft").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return ibftTool(tool)
}

// run runs it, and returns what it prints.
func (tool ibftTool) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), string(tool), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ibft %s: %v\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// xenTable makes the guest's table, and the line of xl.cfg that names its file.
func (tool ibftTool) xenTable(t *testing.T) (file, line string) {
	t.Helper()
	dir := filepath.Dir(string(tool))
	secret, settings := writeFile(t, "secret", []byte(xenCHAPSecret)), filepath.Join(dir, "settings.bin")
	tool.run(t, "build", "--root-path", fmt.Sprintf("iscsi:%s::%d:1:%s", xenServer.Addr(), iscsi.DefaultPort, scenario.TargetName),
		"--initiator", scenario.InitiatorName, "--mac", xenGuestMAC.String(), "--ip", xenGuest.String(),
		"--gateway", xenServer.Addr().String(), "--hostname", "guest",
		"--chap-name", xenCHAPName, "--chap-secret-file", secret, "--out", settings)
	file = filepath.Join(dir, "guest.ibft")
	line = tool.run(t, "convert", "--to", "xl", "--table", file, "--reveal-secrets", settings)
	if !regexp.MustCompile(`(?m)^acpi_firmware=.*` + regexp.QuoteMeta(file)).MatchString(line) {
		t.Fatalf("ibft convert --to xl printed %q", line)
	}
	tool.run(t, "check", "--for", "xen,linux", file)
	return file, line
}
