package xen

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
)

// Guest is an HVM guest that boots from its disk.
type Guest struct {
	Disk   string           // A disk image with a boot loader. It stays as it is.
	Memory int              // In MiB; 0 means 512.
	MAC    net.HardwareAddr // Of its virtio network card.

	// Config are more lines of its xl.cfg, as they are.
	Config string
	// Files are what Config names, by full paths. A file lies on the host where it lies on this machine, so that a line
	// that names it is true of both.
	Files []string
}

func (g Guest) memory() int { return cmp.Or(g.Memory, 512) }

// xlConfig is what every guest has. It is told the processor's own time stamps, as it would be killed for reading Xen's.
// It has no serial line: that would be hundreds of times slower than Xen's console, which it has anyway.
const xlConfig = `name="guest"
type="hvm"
device_model_version="qemu-xen"
memory=%d
vcpus=1
tsc_mode="native"
disk=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/dev/vdc"]
hdtype="ahci"
vif=["mac=%s,bridge=xenbr0,model=virtio-net-pci,script=%s"]
vga="none"
vnc=0
on_poweroff="destroy"
on_reboot="destroy"
on_crash="destroy"
`

// config is the guest's xl.cfg.
func (g Guest) config() (string, error) {
	for _, path := range g.Files {
		if !filepath.IsAbs(path) {
			return "", fmt.Errorf("the guest's file %q: want its full path", path)
		}
	}
	return fmt.Sprintf(xlConfig, g.memory(), g.MAC, vifPath) + g.Config, nil
}
