//go:build linux && amd64

package kernel

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/bootlun/bootlun/initiator/kernel/internal/scenario"
)

const guestMAC = "52:54:00:12:34:56"

// runGuest boots the machine and gives what it said.
func runGuest(t *testing.T, k guestKernel, s scenario.Scenario, extra []cpio.Record) []scenario.Result {
	t.Helper()
	image := guestImage(t, k, s, extra)
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

// guestImage is the machine's initramfs: init, the modules, the scenario and what is extra.
func guestImage(t *testing.T, k guestKernel, s scenario.Scenario, extra []cpio.Record) string {
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
	records = append(records, extra...)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	records = append(records, cpio.StaticFile("scenario.json", string(text), 0o644))
	return writeImage(t, filepath.Join(dir, "image"), records)
}

// iscsidRecords are open-iscsi's daemon as it is installed here, and what it needs. Its own initiator name is another one than
// the sessions' that it will find.
func iscsidRecords(t *testing.T) ([]cpio.Record, error) {
	t.Helper()
	const daemon = "/sbin/iscsid"
	libraries, err := exec.CommandContext(t.Context(), "ldd", daemon).Output()
	if err != nil {
		return nil, err
	}
	files := append(regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1), daemon, "/etc/iscsi/iscsid.conf")
	records := []cpio.Record{
		cpio.StaticFile("etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.2024-01.test:other\n", 0o600),
		cpio.StaticFile("etc/passwd", "root:x:0:0::/:/init\n", 0o644), // it asks who root is
	}
	dirs := []string{"etc/iscsi", "run/lock/iscsi", "var/lib/iscsi", "tmp"}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		records = append(records, cpio.StaticFile(file[1:], string(text), 0o755))
		dirs = append(dirs, filepath.Dir(file[1:]))
	}
	return append(directories(dirs), records...), nil
}

// directories makes each directory once, after those above it.
func directories(paths []string) []cpio.Record {
	var records []cpio.Record
	seen := map[string]bool{".": true}
	var add func(path string)
	add = func(path string) {
		if !seen[path] {
			seen[path] = true
			add(filepath.Dir(path))
			records = append(records, cpio.Directory(path, 0o755))
		}
	}
	for _, p := range paths {
		add(p)
	}
	return records
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
