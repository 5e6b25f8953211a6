package scenario

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/bootserver"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/qemu"
)

// machine is the lab's machine, plugged into r's LAN.
func (l Lab) machine(ctx context.Context, r *Running) (qemu.Machine, error) {
	m := qemu.Machine{
		Name:       "machine",
		CPU:        l.CPU,
		Memory:     cmp.Or(l.Memory, 1024),
		NoReboot:   true,
		NICs:       []qemu.NIC{{MAC: machineMAC.HardwareAddr(), LAN: r.lan.Socket()}},
		ACPITables: slices.Clone(l.ACPITables),
	}
	if l.Screen {
		m.ExtraArgs = []string{"-device", "VGA"}
	}
	if m.Firmware, m.FirmwareVars = l.Firmware, l.FirmwareVars; m.Firmware != "" {
		m.NICs[0].ROM = qemu.RomNone // the firmware has a driver of its own
	}
	if l.FirmwareVars != "" {
		m.NICs[0].BootIndex = -1
	}
	if l.Table != FromFirmware {
		return m, nil
	}
	path := filepath.Join(r.dir, "ibft.bin")
	if err := l.writeTable(ctx, path); err != nil {
		return m, fmt.Errorf("make the machine's table: %w", err)
	}
	m.ACPITables = append(m.ACPITables, path)
	return m, nil
}

// writeTable writes the table of the machine's firmware.
func (l Lab) writeTable(ctx context.Context, path string) error {
	nic := ibft.NIC{Origin: ibft.OriginDHCP, MAC: machineMAC}
	if !l.NoAddress {
		nic.Origin, nic.IP, nic.PrefixLen = ibft.OriginManual, machineAddr, uint8(serverAddr.Bits())
		nic.Gateway = serverAddr.Addr()
	}
	table, err := ibft.Settings{
		RootPaths: []string{l.rootPath()}, InitiatorName: InitiatorName, NIC: nic,
		CHAPName: l.CHAPName, CHAPSecret: ibft.Secret(l.CHAPSecret),
		ReverseCHAPName: l.ReverseCHAPName, ReverseCHAPSecret: ibft.Secret(l.ReverseCHAPSecret),
	}.Table(ctx, nil)
	if err != nil {
		return err
	}
	raw, err := table.Build(ibft.BuildOptions{})
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

func (l Lab) rootPath() string {
	return fmt.Sprintf("iscsi:%s::%d:%d:%s", serverAddr.Addr(), iscsi.DefaultPort, lunNumber, TargetName)
}

func (l Lab) target() bootserver.Target {
	return bootserver.Target{
		Name: TargetName,
		CHAP: bootserver.CHAP{
			CHAPName: l.CHAPName, CHAPSecret: iscsi.Secret(l.CHAPSecret),
			ReverseCHAPName: l.ReverseCHAPName, ReverseCHAPSecret: iscsi.Secret(l.ReverseCHAPSecret),
		},
		LUNs: []bootserver.LUN{{Number: lunNumber, Medium: bootserver.Medium{
			Path: l.Root.Path, NBD: l.Root.NBD, CDROM: l.Root.Disc, Overlay: !l.KeepWrites && !l.Root.Disc,
		}}},
	}
}
