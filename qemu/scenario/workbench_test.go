package scenario_test

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/lan"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

//go:embed testdata/workbench.sh
var workbenchScript string

// The targets of the guest's root and of the LUN that it works on.
const (
	workbenchRootTarget = "iqn.2026-11.org.bootlun:root"
	workbenchTarget     = "iqn.2026-11.org.bootlun:workbench"
	workbenchDiscTarget = "iqn.2026-11.org.bootlun:disc"
)

// workbenchRoot is a Debian with the tools of those who judge disks.
func workbenchRoot(t *testing.T) string {
	t.Helper()
	return debianImage(t, "root-workbench.img", rootfs.DebianConfig{
		Size: 3 << 30, Hostname: "workbench", Label: "workbench", SelfBooting: true, Autologin: true,
		Packages: []string{"fio", "xfsprogs", "multipath-tools", "sg3-utils", "ddpt"},
	})
}

// workbench is a target with two portals on two networks, and the file behind its
// only LUN.
type workbench struct {
	server *target.Server
	file   string
	lans   [2]*lan.LAN
}

func startWorkbench(t *testing.T, root string) *workbench {
	t.Helper()
	w := &workbench{file: filepath.Join(t.TempDir(), "disk.img")}
	if err := os.WriteFile(w.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(w.file, 1<<30); err != nil {
		t.Fatal(err)
	}
	open := func(path string, opts store.FileOptions) *store.File {
		file, err := store.OpenFile(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	rootDisk := store.NewOverlay(open(root, store.FileOptions{ReadOnly: true}))
	var err error
	w.server, err = target.New(target.Config{Targets: []*target.Target{
		{Name: workbenchRootTarget, LUNs: []target.LUN{{Store: rootDisk}}},
		{Name: workbenchTarget, LUNs: []target.LUN{{Store: open(w.file, store.FileOptions{})}}},
		{Name: workbenchDiscTarget, LUNs: []target.LUN{{Store: open(disc(t), store.FileOptions{ReadOnly: true}), CDROM: true}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error)
	for i := range w.lans {
		listener := w.listen(t, i)
		go func() { ended <- w.server.Serve(ctx, listener) }()
	}
	t.Cleanup(func() {
		stop()
		for range w.lans {
			<-ended
		}
	})
	return w
}

// disc makes an ISO image with a file and its sum.
func disc(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	content := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(content)
	files := map[string][]byte{"content": content, "SUMS": fmt.Appendf(nil, "%x  content\n", sha256.Sum256(content))}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	iso := filepath.Join(t.TempDir(), "disc.iso")
	if out, err := exec.CommandContext(t.Context(), "xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "workbench", "-o", iso, dir).CombinedOutput(); err != nil {
		t.Fatalf("xorriso: %v\n%s", err, out)
	}
	return iso
}

// listen makes the i-th network with a portal in it.
func (w *workbench) listen(t *testing.T, i int) net.Listener {
	t.Helper()
	var err error
	if w.lans[i], err = lan.New(lan.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.lans[i].Close() })
	addr := netip.AddrFrom4([4]byte{10, 75, byte(i + 1), 1})
	host, err := w.lans[i].Host(lan.HostConfig{Name: "portal", Addrs: []netip.Prefix{netip.PrefixFrom(addr, 24)}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := host.Listen(t.Context(), "tcp", netip.AddrPortFrom(addr, 3260).String())
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// onMedium is how many bytes the LUN's file takes.
func (w *workbench) onMedium(t *testing.T) int64 {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(w.file, &s); err != nil {
		t.Fatal(err)
	}
	return s.Blocks * 512
}

// machine boots from its root's LUN by our image, and has the script as a disk.
func (w *workbench) machine(t *testing.T) qemu.Machine {
	t.Helper()
	kernel, image, err := images(t).Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mac := ibft.MAC{0x52, 0x54, 0, 0x75, 0, 1}
	table, err := ibft.Settings{
		RootPaths: []string{"iscsi:10.75.1.1:::0:" + workbenchRootTarget}, InitiatorName: "iqn.2026-11.org.bootlun:workbench-guest",
		NIC: ibft.NIC{Origin: ibft.OriginManual, MAC: mac, IP: netip.MustParseAddr("10.75.1.2"), PrefixLen: 24},
	}.Table(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := table.Build(ibft.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tableFile, scriptFile := filepath.Join(dir, "ibft.bin"), filepath.Join(dir, "script")
	padding := strings.Repeat("\n", 512-len(workbenchScript)%512)
	for name, content := range map[string]string{tableFile: string(raw), scriptFile: workbenchScript + padding} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return qemu.Machine{
		Name: "workbench", Memory: 2048, NoReboot: true, ACPITables: []string{tableFile},
		Kernel: kernel.Image, Initrd: image, Append: "console=ttyS0,115200 no_timer_check quiet bootlun.source=table",
		NICs:  []qemu.NIC{{LAN: w.lans[0].Socket(), MAC: mac.HardwareAddr()}, {LAN: w.lans[1].Socket()}},
		Disks: []qemu.Disk{{Path: scriptFile, ReadOnly: true}},
	}
}

// Linux's open-iscsi, dm-multipath, file systems, fio and sg3_utils judge the
// target: what they do is in testdata/workbench.sh.
func TestWorkbench(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage", "xorriso")
	w := startWorkbench(t, workbenchRoot(t))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*timeout)
	defer cancel()
	vm, err := w.machine(t).Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Stop()
	if testing.Verbose() {
		vm.Console.Tee(t.Output())
	}
	w.attend(ctx, t, vm)
	if err := vm.Wait(); err != nil {
		t.Error(err)
	}
}

// attend starts the script and does what it asks for, until it is done.
func (w *workbench) attend(ctx context.Context, t *testing.T, vm *qemu.VM) {
	t.Helper()
	say := func(text string) {
		if err := vm.Console.Send(text + "\r"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := vm.Console.Expect(ctx, regexp.MustCompile(`# $`)); err != nil {
		t.Fatal(err)
	}
	say("cp /dev/vda /tmp/script; bash /tmp/script")
	var full int64
	for {
		m, err := vm.Console.Expect(ctx, regexp.MustCompile(`^workbench asks: (.*)\.$|^workbench: (all is well|FAILED.*;)$`))
		if err != nil {
			t.Fatal(err)
		}
		switch asked := m.Groups[1]; asked {
		case "":
			if m.Groups[2] != "all is well" {
				t.Fatal(w.lastLines(vm, m.Groups[2]))
			}
			return
		case "bytes on the medium, full":
			full = w.onMedium(t)
		case "bytes on the medium, trimmed":
			if n := w.onMedium(t); n > full-(48<<20) {
				t.Errorf("after fstrim the LUN's file takes %d bytes, before it took %d", n, full)
			}
		case "cut":
			err = vm.SetLink(ctx, 1, false)
		case "mend":
			err = vm.SetLink(ctx, 1, true)
		case "grow":
			_, err = w.server.ResizeLUN(workbenchTarget, 0, 1536<<20)
		default:
			t.Fatalf("the script asks for %q", asked)
		}
		if err != nil {
			t.Fatal(err)
		}
		say("")
	}
}

// lastLines is a failure with the end of the console.
func (w *workbench) lastLines(vm *qemu.VM, failure string) string {
	lines := vm.Console.Lines()
	var b strings.Builder
	fmt.Fprintln(&b, failure)
	for _, l := range lines[max(0, len(lines)-25):] {
		fmt.Fprintln(&b, l.Text)
	}
	return b.String()
}
