package xen

import (
	"archive/tar"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/bootlun/bootlun/qemu"
)

// Host is a PC that runs Xen.
type Host struct {
	// Image is a disk with a Debian that starts Xen and then a shell: rootfs.DebianConfig with XenHost makes one. It
	// stays as it is.
	Image string
	// LAN is the Unix socket of the LAN that its guest's network card is plugged into (lan.LAN.Socket), by a bridge.
	LAN string
	// Console sees the host's console, which becomes the guest's, as it comes; nil means nobody.
	Console io.Writer
}

//go:embed dom0.sh
var dom0 string

//go:embed vif.sh
var vif string

// What the host's second disk has besides the guest's files. Its third is the guest's.
// Nothing in /run could be executed: Debian's initramfs mounts it so.
const (
	dom0Path  = "/bootlun/dom0.sh"
	vifPath   = "/bootlun/vif.sh" // xlConfig names it
	guestPath = "/bootlun/guest.cfg"
)

var shellPrompt = regexp.MustCompile(`^# $`)

// Start switches the host on and has it create its guest, which it is about to do when Start returns. The context ends
// Start and the host.
func (h Host) Start(ctx context.Context, g Guest) (*qemu.VM, error) {
	config, err := g.config()
	if err != nil {
		return nil, fmt.Errorf("xen: %w", err)
	}
	seed, err := os.CreateTemp("", "bootlun-xen-*.tar")
	if err != nil {
		return nil, err
	}
	defer os.Remove(seed.Name()) // QEMU has it open by then.
	defer seed.Close()
	if err := writeSeed(seed, map[string]string{dom0Path: dom0, vifPath: vif, guestPath: config}, g.Files); err != nil {
		return nil, fmt.Errorf("xen: pack the guest's files: %w", err)
	}
	vm, err := h.machine(g, seed.Name()).Start(ctx)
	if err != nil {
		return nil, err
	}
	if h.Console != nil {
		vm.Console.Tee(h.Console)
	}
	if err := begin(ctx, vm); err != nil {
		vm.Stop()
		return nil, fmt.Errorf("xen: the host does not come up: %w", err)
	}
	return vm, nil
}

// begin has the shell in dom0 do what the second disk says.
func begin(ctx context.Context, vm *qemu.VM) error {
	if _, err := vm.Console.Expect(ctx, shellPrompt); err != nil {
		return err
	}
	return vm.Console.Send("tar -C / -xf /dev/vdb && exec sh " + dom0Path + "\r")
}

// CPU is QEMU's name of an emulated processor that Xen and its guests run on: dom0 takes a page fault where there is SMAP, and Xen
// kills an HVM guest at its first RDTSCP.
const CPU = "max,-smap,-rdtscp"

// machine is the PC. It has one processor: of two, each would wait for the other wherever this
// machine has something else to do.
func (h Host) machine(g Guest, seed string) qemu.Machine {
	const xenAndDom0 = 1536 // MiB
	return qemu.Machine{
		Name:     "xen",
		Accel:    qemu.TCG,
		CPU:      CPU,
		Memory:   xenAndDom0 + g.memory(),
		NoReboot: true,
		NICs:     []qemu.NIC{{LAN: h.LAN, ROM: qemu.RomNone, BootIndex: -1}},
		Disks:    []qemu.Disk{{Path: h.Image, Snapshot: true}, {Path: seed, ReadOnly: true, BootIndex: -1}, {Path: g.Disk, Snapshot: true, BootIndex: -1}},
	}
}

// writeSeed writes a tar archive of texts and of files of this machine, each by its full path.
func writeSeed(w io.Writer, texts map[string]string, files []string) error {
	archive := tar.NewWriter(w)
	for path, text := range texts {
		if err := archive.WriteHeader(entry(path, int64(len(text)))); err != nil {
			return err
		}
		if _, err := io.WriteString(archive, text); err != nil {
			return err
		}
	}
	for _, path := range files {
		if err := addFile(archive, path); err != nil {
			return err
		}
	}
	return archive.Close()
}

func addFile(archive *tar.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(entry(path, info.Size())); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

func entry(path string, size int64) *tar.Header {
	return &tar.Header{Name: strings.TrimPrefix(filepath.ToSlash(path), "/"), Mode: 0o700, Size: size}
}
