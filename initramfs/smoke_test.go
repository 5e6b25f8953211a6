package initramfs

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const loadInit = "github.com/bootlun/bootlun/initramfs/testdata/loadinit"

// TestBoot boots a real kernel with an image of ours, in every compression, on
// a machine with two kinds of network card.
func TestBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: boots a virtual machine")
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("SKIP: needs qemu-system-x86_64 (apt install qemu-system-x86)")
	}
	kernel := testKernel(t)
	for _, compression := range []Compression{Zstd, Gzip, XZ, None} {
		t.Run(string(compression), func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			m, err := Build(t.Context(), Config{
				Kernel: kernel, Output: image, Compression: compression, Cache: testCache(t),
				Init: loadInit, Commands: []string{},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d KiB, %d KiB unpacked, %d modules", m.Size>>10, m.RawSize>>10, len(m.Modules))
			console := bootMachine(t, qemu, kernel.Image, image)
			for _, want := range []string{
				"loaded: iscsi_tcp\n", "loaded: fs-vfat\n", "loaded: ext4\n",
				"card: virtio_net\n", "card: vmxnet3\n", "present: xfs false\n", "END\n",
			} {
				if !strings.Contains(console, want) {
					t.Errorf("the console does not say %q", want)
				}
			}
			if strings.Contains(console, "FAILED") || t.Failed() {
				t.Fatalf("console:\n%s", console)
			}
			t.Logf("machine:\n%s", timings(console))
		})
	}
}

// bootMachine runs a machine until it switches itself off and returns what it
// wrote to its console.
func bootMachine(t *testing.T, qemu, kernel, image string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, "-display", "none", "-serial", "stdio", "-no-reboot", "-nodefaults",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512",
		"-netdev", "user,id=a,restrict=on", "-device", "virtio-net-pci,netdev=a",
		"-netdev", "user,id=b,restrict=on", "-device", "vmxnet3,netdev=b",
		"-kernel", kernel, "-initrd", image, "-append", "console=ttyS0 panic=-1")
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Run(); err != nil {
		t.Fatalf("qemu: %v, console:\n%s", err, console.String())
	}
	return strings.ReplaceAll(console.String(), "\r", "")
}

// timings picks the lines that tell how long things took.
func timings(console string) string {
	var b strings.Builder
	for line := range strings.Lines(console) {
		for _, mark := range []string{"Trying to unpack", "Freeing initrd", "Run /init", "init started", "index of", "modules in"} {
			if strings.Contains(line, mark) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}
