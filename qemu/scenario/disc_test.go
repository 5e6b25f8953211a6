package scenario_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// elTorito makes an ISO image from which GRUB starts by the El Torito standard,
// reads a file from the disc and shows it.
func elTorito(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "boot/grub"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := "terminal_output console\necho STARTED FROM DISC\ncat /greeting\nsleep 60\nhalt\n" // what is on the serial line when the machine halts may be lost
	for name, text := range map[string]string{"boot/grub/grub.cfg": cfg, "greeting": "read from the disc\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	iso := filepath.Join(dir, "disc.iso")
	if out, err := exec.CommandContext(t.Context(), "grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", iso, root).CombinedOutput(); err != nil {
		t.Fatalf("grub-mkrescue: %v\n%s", err, out)
	}
	return iso
}

// iPXE boots the disc in a CD-ROM LUN: its int 13h reads blocks of 2048 bytes.
func TestBootDisc(t *testing.T) {
	need(t, "qemu-system-x86_64", "grub-mkrescue", "xorriso")
	lab := scenario.Lab{
		Root: scenario.Root{Path: elTorito(t), Up: regexp.MustCompile(`read from the disc`), Disc: true},
		Mode: netboot.ModeSANBoot, Memory: 256,
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute) // Stop needs it
	t.Cleanup(cancel)
	r, err := lab.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, want := range []*regexp.Regexp{regexp.MustCompile(`STARTED FROM DISC`), lab.Root.Up} {
		if _, err := r.VM.Console.Expect(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
}
