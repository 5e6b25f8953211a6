//go:build linux && amd64

package kernel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/bootlun/bootlun/initiator/kernel/internal/scenario"
	"github.com/bootlun/bootlun/iscsi"
)

// guestTimeout is far more than the machine takes on the slowest host; it only keeps a machine that hangs from staying.
const guestTimeout = 5 * time.Minute

// TestGuest logs in through the real kernel of a virtual machine, to a real target on this host.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts a virtual machine; run without -short")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("SKIP: needs qemu-system-x86_64 (apt install qemu-system-x86)")
	}
	k := debianKernel(t)
	g := startTgt(t)
	const size = 8 << 20
	file := patternFile(t, size)
	g.target("iqn.2024-01.test:open", file, iscsi.CHAPUser{}, iscsi.CHAPUser{})
	g.target("iqn.2024-01.test:chap", file, tgtUser, iscsi.CHAPUser{})
	g.target("iqn.2024-01.test:mutual", file, tgtUser, tgtOutgoing)
	g.target("iqn.2024-01.test:digests", file, iscsi.CHAPUser{}, iscsi.CHAPUser{})
	g.set("HeaderDigest", "CRC32C")
	g.set("DataDigest", "CRC32C")

	s := scenario.Scenario{Cases: guestCases(t, g)}
	results := runGuest(t, k, s)
	sum := firstMiB(t, file)
	for i, c := range s.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if i >= len(results) {
				t.Fatal("the machine ended before this case")
			}
			r := results[i]
			if r.Name != c.Name || r.Left != 0 {
				t.Errorf("%s: %d sessions left after the logout", r.Name, r.Left)
			}
			if want := guestErrors[c.Name]; want != "" {
				if !strings.Contains(r.Error, want) {
					t.Errorf("error %q, want %q in it", r.Error, want)
				}
				return
			}
			if r.Error != "" {
				t.Fatal(r.Error)
			}
			if r.FirstMiB != sum || r.Size != size || r.SectorSize != 512 || !strings.HasPrefix(r.Device, "/dev/sd") ||
				!strings.HasSuffix(r.Address, ":0:0:1") {
				t.Errorf("disk %s at %s: %d bytes in sectors of %d, first MiB %s", r.Device, r.Address, r.Size, r.SectorSize, r.FirstMiB)
			}
			checkAttrs(t, c, r)
		})
	}
}

func guestCases(t *testing.T, g *tgt) []scenario.Case {
	portal := fmt.Sprintf("10.0.2.2:%d", g.port)
	to := iscsi.TargetAddress{Host: "10.0.2.2", Port: g.port, Tag: 1}
	redirect := serveTarget(t, "tcp4", "127.0.0.1", func(iscsi.LoginInfo) iscsi.Access {
		return iscsi.Access{Status: iscsi.StatusMovedTemporarily, Redirect: to}
	})
	redirect = strings.Replace(redirect, "127.0.0.1", "10.0.2.2", 1)
	base := scenario.Case{Target: "iqn.2024-01.test:open", Portal: portal, LUN: 1}
	with := func(name string, change func(*scenario.Case)) scenario.Case {
		c := base
		c.Name = name
		change(&c)
		return c
	}
	chap := func(c *scenario.Case) {
		c.Target, c.User, c.Secret = "iqn.2024-01.test:chap", tgtUser.Name, tgtUser.Secret.Reveal()
	}
	return []scenario.Case{
		with("open", func(*scenario.Case) {}),
		with("chap", chap),
		with("mutual chap", func(c *scenario.Case) {
			chap(c)
			c.Target, c.TargetUser, c.TargetSecret = "iqn.2024-01.test:mutual", tgtOutgoing.Name, tgtOutgoing.Secret.Reveal()
		}),
		with("digests", func(c *scenario.Case) { c.Target, c.Digests = "iqn.2024-01.test:digests", true }),
		with("redirect", func(c *scenario.Case) { c.Portal = redirect }),
		with("program gone", func(c *scenario.Case) { c.Child = true }),
		with("wrong secret", func(c *scenario.Case) { chap(c); c.Secret = "something wrong!" }),
		with("no such target", func(c *scenario.Case) { c.Target = "iqn.2024-01.test:absent" }),
		with("no such LUN", func(c *scenario.Case) { c.LUN = 5 }),
		with("no disk", func(c *scenario.Case) { c.LUN = 0 }),
		with("nobody there", func(c *scenario.Case) { c.Portal = "10.0.2.2:1" }),
	}
}

// guestErrors is what must be in the errors of the cases that fail.
var guestErrors = map[string]string{
	"wrong secret":   `refused CHAP name "alice"`,
	"no such target": "target not found",
	"no such LUN":    "check the LUN's number",
	"no disk":        "SCSI type 12",
	"nobody there":   "no target listens there",
}

// checkAttrs checks what iscsid reads when it takes a session over, and that what was negotiated is in force.
func checkAttrs(t *testing.T, c scenario.Case, r scenario.Result) {
	t.Helper()
	yes := func(b bool) string { return map[bool]string{true: "1", false: "0"}[b] }
	host, port, _ := strings.Cut(r.Portal, ":")
	persistentHost, persistentPort, _ := strings.Cut(c.Portal, ":")
	for name, want := range map[string]string{
		"session/targetname": c.Target, "session/initiatorname": "iqn.2024-01.test:guest", "session/ifacename": "default",
		"session/tpgt": "1", "session/state": "LOGGED_IN", "session/recovery_tmo": "86400", "session/fast_abort": "1",
		"session/abort_tmo": "15", "session/lu_reset_tmo": "30", "session/tgt_reset_tmo": "30", "session/erl": "0",
		"session/username": orNull(c.User), "session/password": orNull(c.Secret),
		"session/username_in": orNull(c.TargetUser), "session/password_in": orNull(c.TargetSecret),
		"session/initial_r2t": yes(r.Params.InitialR2T), "session/immediate_data": yes(r.Params.ImmediateData),
		"session/max_burst_len":         fmt.Sprint(r.Params.MaxBurstLength),
		"session/first_burst_len":       fmt.Sprint(r.Params.FirstBurstLength),
		"session/max_outstanding_r2t":   fmt.Sprint(r.Params.MaxOutstandingR2T),
		"connection/max_recv_dlength":   fmt.Sprint(r.Params.MaxRecvDataSegmentLength),
		"connection/max_xmit_dlength":   fmt.Sprint(r.Params.MaxSendDataSegmentLength),
		"connection/header_digest":      yes(c.Digests),
		"connection/data_digest":        yes(c.Digests),
		"connection/address":            host,
		"connection/port":               port,
		"connection/persistent_address": persistentHost,
		"connection/persistent_port":    persistentPort,
		"connection/ping_tmo":           "0",
		"connection/recv_tmo":           "0",
		"host/netdev":                   "eth0",
		"host/hwaddress":                guestMAC,
		"host/ipaddress":                "10.0.2.15",
	} {
		if got := r.Attrs[name]; got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

// orNull is how sysfs shows a text that may be absent.
func orNull(s string) string {
	if s == "" {
		return "(null)"
	}
	return s
}

func firstMiB(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, 1<<20); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

const guestMAC = "52:54:00:12:34:56"

// runGuest boots the machine and gives what it said.
func runGuest(t *testing.T, k guestKernel, s scenario.Scenario) []scenario.Result {
	t.Helper()
	image := guestImage(t, k, s)
	ctx, cancel := context.WithTimeout(t.Context(), guestTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512", "-serial", "stdio",
		"-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile=,mac="+guestMAC,
		"-kernel", k.image, "-initrd", image, "-append", "console=ttyS0 quiet panic=-1 net.ifnames=0")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	results, console, ended := readConsole(t, out)
	err = cmd.Wait()
	if !ended || t.Failed() || err != nil {
		t.Errorf("the machine ended early (%v)\n%s\nconsole:\n%s", err, &complaints, console)
	}
	return results
}

func readConsole(t *testing.T, out io.Reader) (results []scenario.Result, console string, ended bool) {
	t.Helper()
	var all strings.Builder
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		all.WriteString(line + "\n")
		if text, ok := strings.CutPrefix(line, scenario.ResultMark); ok {
			var r scenario.Result
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Errorf("%v in %s", err, text)
			}
			results = append(results, r)
		}
		if end, ok := strings.CutPrefix(line, scenario.EndMark); ok {
			ended = true
			if end != "<nil>" {
				t.Errorf("the machine's init: %s", end)
			}
		}
	}
	return results, all.String(), ended
}

// guestImage is the machine's initramfs: init, the modules and the scenario.
func guestImage(t *testing.T, k guestKernel, s scenario.Scenario) string {
	t.Helper()
	dir := t.TempDir()
	init := filepath.Join(dir, "init")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", init, "./internal/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the machine's init: %v\n%s", err, out)
	}
	program, err := os.ReadFile(init)
	if err != nil {
		t.Fatal(err)
	}
	records := []cpio.Record{
		cpio.Directory("proc", 0o755), cpio.Directory("sys", 0o755), cpio.Directory("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.StaticFile("init", string(program), 0o755),
	}
	for _, path := range k.withNeeded(t, "virtio_pci", "virtio_net", "iscsi_tcp", "sd_mod", "crc32c_intel") {
		module, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, cpio.StaticFile(filepath.Base(path), string(module), 0o644))
		s.Modules = append(s.Modules, "/"+filepath.Base(path))
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	records = append(records, cpio.StaticFile("scenario.json", string(text), 0o644))
	return writeImage(t, filepath.Join(dir, "image"), records)
}

func writeImage(t *testing.T, path string, records []cpio.Record) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := cpio.Newc.Writer(f)
	if err := cpio.WriteRecords(w, records); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cpio.WriteTrailer(w), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// guestKernel is an unpacked package of a Debian kernel.
type guestKernel struct {
	image   string
	modules map[string]string // path by name
}

// debianKernel takes the newest cloud kernel that is unpacked in build/kernel, and unpacks Debian's current one if there is none.
func debianKernel(t *testing.T) guestKernel {
	t.Helper()
	dir, err := filepath.Abs("../../build/kernel")
	if err != nil {
		t.Fatal(err)
	}
	images, _ := filepath.Glob(dir + "/linux-image-*-cloud-amd64/boot/vmlinuz-*")
	if len(images) == 0 {
		downloadKernel(t, dir)
		images, _ = filepath.Glob(dir + "/linux-image-*-cloud-amd64/boot/vmlinuz-*")
	}
	if len(images) == 0 {
		t.Skipf("SKIP: needs a kernel: none is in %s and Debian's could not be had (is the network up?)", dir)
	}
	k := guestKernel{images[len(images)-1], make(map[string]string)}
	root := filepath.Dir(filepath.Dir(k.image))
	err = filepath.WalkDir(filepath.Join(root, "lib/modules"), func(path string, _ os.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			k.modules[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// downloadKernel unpacks the package that linux-image-cloud-amd64 depends on below dir. Failures leave dir without it.
func downloadKernel(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "apt-cache", "depends", "linux-image-cloud-amd64").Output()
	if err != nil {
		t.Logf("apt-cache: %v", err)
		return
	}
	name := regexp.MustCompile(`linux-image-\S+-cloud-amd64`).FindString(string(out))
	tmp := t.TempDir()
	for _, args := range [][]string{
		{"apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name},
		{"sh", "-c", "dpkg-deb -x *.deb root && mkdir -p " + dir + " && mv root " + filepath.Join(dir, name)},
	} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = tmp
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("%s: %v\n%s", args[0], err, out)
			return
		}
	}
}

// withNeeded gives the modules' files after those of the modules that they need. A name without a file is built in.
func (k guestKernel) withNeeded(t *testing.T, names ...string) []string {
	t.Helper()
	var paths []string
	seen := make(map[string]bool)
	var add func(name string)
	add = func(name string) {
		name = strings.ReplaceAll(name, "-", "_")
		if path := k.modules[name]; path != "" && !seen[name] {
			seen[name] = true
			for _, needed := range moduleNeeds(t, path) {
				add(needed)
			}
			paths = append(paths, path)
		}
	}
	for _, name := range names {
		add(name)
	}
	return paths
}

// moduleNeeds reads "depends=" from a module.
func moduleNeeds(t *testing.T, path string) []string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Section(".modinfo").Data()
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}
