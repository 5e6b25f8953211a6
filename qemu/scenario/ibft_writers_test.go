package scenario_test

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/golden"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// The firmware's network card and settings, as the lab has them.
const (
	writersMAC = "52:54:00:73:00:01"
	greeting   = "GRUB was started from the LUN"
)

// writer is a firmware that is to write a table.
type writer struct {
	table    string // in ibft/testdata
	set      func(*scenario.Lab)
	attempts []attempt // of edk2's own driver; none: iPXE does it
	always   bool      // without -update too
}

func writers() []writer {
	static := attempt{
		mac: writersMAC, ip: netip.MustParsePrefix("10.73.0.50/24"), gateway: netip.MustParseAddr("10.73.0.1"),
		target: scenario.TargetName, portal: netip.MustParseAddrPort("10.73.0.1:3260"), lun: 1,
	}
	dhcp := attempt{mac: writersMAC, dhcp: true}
	mutual := func(a attempt) attempt {
		a.chapName, a.secret, a.reverseName, a.reverseSecret = "machine", "machine-secret", "server", "server-secret"
		return a
	}
	oneWay := func(a attempt) attempt {
		a.chapName, a.secret = "machine", "machine-secret"
		return a
	}
	open := func(*scenario.Lab) {}
	asksOneWay := func(l *scenario.Lab) { l.CHAPName, l.CHAPSecret = "machine", "machine-secret" }
	asksMutual := func(l *scenario.Lab) {
		asksOneWay(l)
		l.ReverseCHAPName, l.ReverseCHAPSecret = "server", "server-secret"
	}
	return []writer{
		{table: "ipxe-efi", set: open},
		{table: "ipxe-efi-chap", set: asksMutual, always: true},
		{table: "edk2-plain", set: open, attempts: []attempt{static}},
		{table: "edk2-oneway", set: asksOneWay, attempts: []attempt{oneWay(static)}},
		{table: "edk2-paths", set: open, attempts: []attempt{static, static}},
		{table: "edk2-three", set: open, attempts: []attempt{static, static, static}},
		{table: "edk2-paths-chap", set: asksMutual, attempts: []attempt{mutual(static), mutual(static)}, always: true},
		{table: "edk2-four", set: asksMutual, attempts: slices.Repeat([]attempt{mutual(static)}, 4)},
		{table: "broken/edk2-eight", set: asksMutual, attempts: slices.Repeat([]attempt{mutual(static)}, 8)},
		{table: "edk2-dhcp", set: open, attempts: []attempt{dhcp}},
		{table: "edk2-dhcp-chap", set: asksMutual, attempts: []attempt{mutual(dhcp)}},
	}
}

// UEFI firmware logs in to our target, boots a program from the LUN and leaves a
// table, byte for byte the one in ibft/testdata.
func TestFirmwareTables(t *testing.T) {
	need(t, "qemu-system-x86_64", "grub-mkimage")
	for _, file := range []string{ovmfCode, "/usr/lib/ipxe/snponly.efi", grubEFI} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("SKIP: needs %s: make deps installs it", file)
		}
	}
	root := scenario.Root{Path: bootableESP(t)}
	for _, w := range writers() {
		if !w.always && !*golden.Update {
			continue // two of them show that it works
		}
		t.Run(w.table, func(t *testing.T) {
			got := w.write(t, root)
			golden.Compare(t, filepath.Join("..", "..", "ibft", "testdata", w.table+".bin"), got)
		})
	}
}

// write runs the firmware until the LUN's program greets, and reads its table.
func (w writer) write(t *testing.T, root scenario.Root) []byte {
	lab := scenario.Lab{Root: root, Mode: netboot.ModeSANBoot, Memory: 256, Firmware: ovmfCode}
	w.set(&lab)
	var variables []efiVariable
	if w.attempts != nil {
		variables = attemptVariables(t, scenario.InitiatorName, w.attempts)
	} else {
		lab.LoaderDir = "/usr/lib/ipxe"
	}
	lab.FirmwareVars = writeVariables(t, variables)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	running, err := lab.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Stop()
	expect(ctx, t, running, greeting)
	memory, err := running.VM.ReadMemory(ctx, 0, lab.Memory<<20)
	if err != nil {
		t.Fatal(err)
	}
	found, err := ibft.Decode(memory)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if broken := strings.HasPrefix(w.table, "broken/"); (f.Err != nil) != broken {
			t.Errorf("%s: error %v", f.Source, f.Err)
		}
	}
	return found[0].Raw
}

const grubEFI = "/usr/lib/grub/x86_64-efi/moddep.lst"

// bootableESP makes a disk with an EFI system partition, from which a GRUB
// starts that greets and waits.
func bootableESP(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	config, program, image := filepath.Join(dir, "grub.cfg"), filepath.Join(dir, "BOOTX64.EFI"), filepath.Join(dir, "esp.img")
	if err := os.WriteFile(config, []byte("echo "+greeting+"\nsleep 3600\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("grub-mkimage", "--format=x86_64-efi", "--directory="+filepath.Dir(grubEFI), "--output="+program,
		"--prefix=/", "--config="+config, "echo", "sleep").CombinedOutput()
	if err != nil {
		t.Fatalf("grub-mkimage: %v: %s", err, out)
	}
	grub, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	d, err := diskfs.Create(image, size, diskfs.SectorSize512)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Partition(&gpt.Table{ProtectiveMBR: true, Partitions: []*gpt.Partition{{
		Index: 1, Start: 2048, End: size/512 - 2049, Type: gpt.EFISystemPartition, Name: "esp",
	}}}); err != nil {
		t.Fatal(err)
	}
	esp, err := d.CreateFilesystem(disk.FilesystemSpec{Partition: 1, FSType: filesystem.TypeFat32, VolumeLabel: "ESP"})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/EFI", "/EFI/BOOT"} {
		if err := esp.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	f, err := esp.OpenFile("/EFI/BOOT/BOOTX64.EFI", os.O_CREATE|os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(grub); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return image
}
