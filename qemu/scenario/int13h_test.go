package scenario_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/bootprobe"
	"github.com/bootlun/bootlun/internal/golden"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// SeaBIOS and iPXE answer calls of int 13h and of the other services as package
// int13h's testdata/answers says, beside which lie that package's own answers.
func TestInt13h(t *testing.T) {
	need(t, "qemu-system-x86_64")
	calls := bootprobe.Calls()
	sectors, err := bootprobe.Disk(calls)
	if err != nil {
		t.Fatal(err)
	}
	for bios, start := range map[string]func(context.Context, *testing.T, string) *qemu.VM{
		"seabios": startFromDisk, "ipxe": startFromLUN,
	} {
		t.Run(bios, func(t *testing.T) {
			disk := filepath.Join(t.TempDir(), "disk.img")
			if err := os.WriteFile(disk, sectors, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(disk, bootprobe.Size); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
			defer cancel()
			vm := start(ctx, t, disk)
			if _, err := vm.Console.Expect(ctx, regexp.MustCompile(bootprobe.Done)); err != nil {
				t.Fatal(err)
			}
			memory, err := vm.ReadMemory(ctx, bootprobe.Address, bootprobe.AnswersSize(calls))
			if err != nil {
				t.Fatal(err)
			}
			lines, err := bootprobe.Answers(calls, memory)
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, filepath.Join("..", "..", "bootloader", "int13h", "testdata", "answers", bios+".txt"), strings.Join(lines, "\n")+"\n")
		})
	}
}

// startFromDisk starts a machine, with a screen, from a disk of its own.
func startFromDisk(ctx context.Context, t *testing.T, disk string) *qemu.VM {
	vm, err := qemu.Machine{
		Name: "int13h", Memory: 128, Disks: []qemu.Disk{{Path: disk}},
		ExtraArgs: []string{"-device", "VGA", "-machine", "graphics=on"}, // a screen, and a VGA BIOS behind int 10h
	}.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Stop() })
	return vm
}

// startFromLUN has iPXE start a machine from a LUN.
func startFromLUN(ctx context.Context, t *testing.T, disk string) *qemu.VM {
	lab := scenario.Lab{Root: scenario.Root{Path: disk}, Mode: netboot.ModeSANBoot, Memory: 128}
	running, err := lab.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { running.Stop() })
	return running.VM
}
