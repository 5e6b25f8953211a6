//go:build !bootlun_small || bootlun_int13h

package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/bootlun/bootlun/bootloader/entries"
	"github.com/bootlun/bootlun/bootloader/files"
	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/bootloader/kexec"
	"github.com/bootlun/bootlun/ibft"
)

// The handoff by the LUN's own boot sector: it runs in package int13h, above a
// session of ours, and the kernel that it loads is started by kexec.

// startBootSector runs the boot sector and starts what it loads. It returns only
// if nothing could be started.
func (m *machine) startBootSector(ctx context.Context, c console) error {
	h, err := m.runBootSector(ctx)
	var n next
	if err == nil {
		n, err = caught(h)
	}
	if err != nil {
		return &StepError{
			Step: "boot sector", Err: err,
			Remedy: "bootlun.handoff=kexec reads the boot loader's configuration instead, and the server's mode sanboot boots what is no Linux",
		}
	}
	detail := h.Why
	if h.Multiboot == nil {
		if name, kernel := m.original(h); kernel != nil {
			n.kernel, n.rebuilt = kernel, false
			detail += ", the kernel of " + name
		}
	}
	c.result(Result{Step: "boot sector", Took: uptime(), Detail: detail})
	loaded, err := m.take(c, n)
	if err == nil {
		return m.jump(c, loaded, "the boot loader's kernel")
	}
	return &StepError{Step: "kexec", Err: err, Remedy: "see why in the lines above"}
}

// caught is what a boot loader was about to start. Of a hypervisor's modules the first are its kernel and the initramfs.
func caught(h *int13h.Handoff) (next, error) {
	mb := h.Multiboot
	if mb == nil {
		return next{kernel: h.Kernel, initramfs: h.Initrd, cmdline: h.Cmdline, rebuilt: true}, nil
	}
	if len(mb.Modules) == 0 {
		return next{}, fmt.Errorf("%s: without modules: only what starts a Linux kernel, such as Xen, can be started", h.Why)
	}
	n := next{kernel: mb.Modules[0].Data, cmdline: mb.Modules[0].Cmdline}
	n.hypervisor = &kexec.Hypervisor{Version: mb.Version, Image: h.Kernel, Load: mb.Load, Entry: mb.Entry, Cmdline: h.Cmdline}
	for i, module := range mb.Modules[1:] {
		if i == 0 {
			n.initramfs = module.Data
			continue
		}
		n.hypervisor.Modules = append(n.hypervisor.Modules, module.Data)
	}
	return n, nil
}

// maxSignature is how much a kernel's file may have behind what a loader loads.
const maxSignature = 1 << 20

// original is the file on the LUN that the caught kernel was loaded from, which
// has the signature that no loader loads. GRUB and syslinux name it first on the
// command line. Volumes that this kernel would have to mount are passed over.
func (m *machine) original(h *int13h.Handoff) (name string, kernel []byte) {
	word, _, _ := strings.Cut(h.Cmdline, " ")
	path, ok := strings.CutPrefix(word, "BOOT_IMAGE=")
	if !ok {
		return "", nil
	}
	if strings.HasPrefix(path, "(") { // GRUB's device
		_, path, _ = strings.Cut(path, ")")
	}
	scanned, err := m.scanLUN(m.own.lun)
	if err != nil {
		return "", nil
	}
	for _, v := range scanned {
		open, err := files.Open(m.own.lun, v)
		if err != nil {
			continue
		}
		f := entries.File{Volume: &entries.Volume{Volume: v, Files: open}, Path: path}
		b, err := f.Read(int64(len(h.Kernel)) + maxSignature)
		if err == nil && h.LoadedFrom(b) {
			return f.String(), b
		}
		m.log.Debug("not the caught kernel", "file", f.String(), "error", err)
	}
	return "", nil
}

// runBootSector runs the boot sector with the machine's consoles as screen,
// keyboard and serial port, until it starts a kernel.
func (m *machine) runBootSector(ctx context.Context) (*int13h.Handoff, error) {
	table, err := m.table.Build(ibft.BuildOptions{})
	if err != nil {
		return nil, err
	}
	lun := m.own.device
	config := int13h.Config{
		Disk: lun, ReadOnly: m.cfg.ReadOnly || lun.WriteProtected(), Path: m.devicePath(),
		Memory: int(min(freeMemory()/2, 2<<30)), Map: firmwareMap(), Table: table,
		Interactive: true, Steps: 1 << 62, Log: m.log,
	}
	terminals, restore := openConsoles(m.log)
	defer restore()
	consoles := shareConsoles(terminals)
	defer consoles.close()
	config.Screen, config.Serial = consoles.screen(), consoles.line()
	config.Keys, config.SerialKeys = consoles.keys, consoles.received
	h, err := int13h.Boot(ctx, config)
	if !config.ReadOnly {
		err = errors.Join(err, lun.Flush(ctx))
	}
	debug.FreeOSMemory() // the machine's memory, which the next kernel needs
	return h, err
}

// devicePath is where int 13h says that the disk is.
func (m *machine) devicePath() int13h.DevicePath {
	var p int13h.DevicePath
	path := m.own.path
	if path.NIC != nil {
		pci := path.NIC.PCI
		p.Bus, p.Slot, p.Function = uint8(pci>>8), uint8(pci>>3&31), uint8(pci&7)
	}
	p.LUN = uint64(binary.BigEndian.Uint16(path.Target.LUN[:2]))
	return p
}

// firmwareMapDir is the memory map that the firmware gave the kernel.
const firmwareMapDir = "/sys/firmware/memmap"

// firmwareMap reads it, sorted; nil if this kernel does not tell.
func firmwareMap() []int13h.Range {
	types := map[string]uint32{"System RAM": 1, "ACPI Tables": 3, "ACPI Non-volatile Storage": 4}
	entries, err := filepath.Glob(firmwareMapDir + "/*/start")
	if err != nil {
		return nil
	}
	var ranges []int13h.Range
	for _, name := range entries {
		dir := filepath.Dir(name)
		start, startErr := readNumber(name)
		end, endErr := readNumber(filepath.Join(dir, "end"))
		kind, kindErr := os.ReadFile(filepath.Join(dir, "type"))
		if errors.Join(startErr, endErr, kindErr) != nil || end < start {
			continue
		}
		known, ok := types[strings.TrimSpace(string(kind))]
		if !ok {
			known = 2
		}
		ranges = append(ranges, int13h.Range{Start: start, Size: end - start + 1, Type: known})
	}
	slices.SortFunc(ranges, func(a, b int13h.Range) int { return int(min(max(int64(a.Start)-int64(b.Start), -1), 1)) })
	return ranges
}

func readNumber(file string) (uint64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
}
