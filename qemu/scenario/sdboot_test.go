package scenario_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/qemu/scenario"
)

// systemPartitionAt is where mtools find the EFI system partition of an installation.
const systemPartitionAt = "@@1M"

// countedInstallation is Debian's systemd-boot installation with a boot counter of three tries, as kernel-install makes it where
// /etc/kernel/tries says so, and with a second entry. It gives the first one's name without its counter.
func countedInstallation(t *testing.T) (disk, name string) {
	t.Helper()
	need(t, "mren", "mdir", "mcopy", "mtype")
	disk = filepath.Join(t.TempDir(), "disk.img")
	original := installation{debian12, "efi", "sdboot", "ext4"}.image(t)
	mtool := func(name string, args ...string) string {
		out, err := exec.Command(name, append([]string{"-i", disk + systemPartitionAt}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	if out, err := exec.Command("cp", "--sparse=always", original, disk).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	const dir = "::/loader/entries/"
	name = strings.TrimSpace(mtool("mdir", "-b", dir+"*.conf"))
	name = strings.TrimSuffix(name[strings.LastIndexByte(name, '/')+1:], ".conf")
	first := mtool("mtype", dir+name+".conf")
	second := regexp.MustCompile(`(?m)^options.*$`).ReplaceAllString(first, "$0 entry=second")
	mtool("mren", dir+name+".conf", name+"+3.conf")
	mtool("mcopy", writeFile(t, "second", []byte(second)), dir+"second.conf")
	mtool("mcopy", "-o", writeFile(t, "conf", []byte("default "+name+"*\n")), "::/loader/loader.conf")
	return disk, name
}

// systemd-boot's boot counter is counted down, and the installed system ends it once it is up; what its bootctl sets for one boot
// counts for one.
func TestOwnKernelSDBoot(t *testing.T) {
	needInstallations(t)
	for _, file := range []string{ovmfCode, ovmfVars, filepath.Join(ipxeLoaders, "snponly.efi")} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("SKIP: needs %s: make deps installs it", file)
		}
	}
	disk, name := countedInstallation(t)
	flash, err := os.ReadFile(ovmfVars)
	if err != nil {
		t.Fatal(err)
	}
	kernel, image, err := images(t).Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lab := scenario.Lab{
		Kernel: kernel.Image, Image: image, OwnKernel: true, KeepWrites: true, LoaderDir: ipxeLoaders,
		Firmware: ovmfCode, FirmwareVars: writeFile(t, "vars.fd", flash),
		Root: scenario.Root{Path: disk, Up: installedUp, Quiet: true},
	}
	ok := t.Run("counted", func(t *testing.T) {
		running, ctx := startWithin(t, lab, 3*timeout)
		expect(ctx, t, running, regexp.QuoteMeta(name)+`\+3\.conf is now `+regexp.QuoteMeta(name)+`\+2-1\.conf; LoaderBootCountPath=`)
		waitUp(ctx, t, running)
		g := logIn(ctx, t, running)
		g.run("dmesg -n 1") // nothing of the kernel's comes between
		g.seesTable()
		said := g.run("systemctl is-system-running --wait; systemctl --no-pager status systemd-bless-boot | cat; ls -1 /boot/efi/loader/entries")
		if !slices.Contains(said, name+".conf") {
			t.Errorf("systemd-bless-boot has not ended the counter:\n%s", strings.Join(said, "\n"))
		}
		said = g.run("bootctl set-oneshot second.conf; ls /sys/firmware/efi/efivars | grep ^Loader; sync")
		if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "LoaderEntryOneShot-") }) {
			t.Errorf("bootctl has not set the entry for one boot:\n%s", strings.Join(said, "\n"))
		}
	})
	for i, second := range []bool{true, false} {
		ok = ok && t.Run(fmt.Sprint("boot ", i+2), func(t *testing.T) {
			running, ctx := startWithin(t, lab, 2*timeout)
			if second {
				expect(ctx, t, running, `EFI variables: LoaderEntryOneShot is unset`)
			}
			m, err := running.VM.Console.Expect(ctx, regexp.MustCompile(`^bootlun: load .*: (root=.* iscsi_auto)`))
			if err != nil {
				t.Fatal(err)
			}
			if line := m.Groups[1]; strings.Contains(line, "entry=second") != second {
				t.Errorf("it starts %q", line)
			}
		})
	}
}
