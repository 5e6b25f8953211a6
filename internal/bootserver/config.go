// Package bootserver is the boot server as one piece: DHCP, TFTP and HTTP from
// package netboot and the iSCSI target, from one configuration. "bootlun
// serve" runs it on the operating system's network, the virtual machines'
// harness on a LAN of its own; that is why it is a package and why nobody else
// should hold it: a program of its own composes netboot and target itself.
package bootserver

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/target/control"
)

// Config is the file that "bootlun serve" reads. docs/fleet.md shows one.
type Config struct {
	netboot.Config `yaml:",inline"`

	// ISCSIPort is the target's port at Addr; 0 means 3260 if there are targets at
	// the start, and otherwise none: LUNs are then served by something else.
	ISCSIPort uint16 `yaml:"iscsiPort"`
	// ISCSI are settings of the iSCSI target as a whole, among them its portals, which
	// ISCSIPort is short for.
	ISCSI control.Settings `yaml:"iscsi"`
	// Targets are what the iSCSI target serves, beside those of TargetState.
	Targets []Target `yaml:"targets"`
	// Disks are disks, by names of the operator's, that several LUNs can be.
	Disks map[string]Medium `yaml:"disks"`

	// PortGroups are the states of target port groups. Those that are not listed
	// are active/optimized.
	PortGroups []PortGroup `yaml:"portGroups"`

	// ISNS and SLP say who is told of the targets; without them, nobody is.
	ISNS *control.ISNS `yaml:"isns"`
	SLP  *control.SLP  `yaml:"slp"`

	// TargetState is the file in which the targets are kept that "bootlun target"
	// adds. Load makes it DIR/NAME.targets.yaml for a file DIR/NAME.yaml that does
	// not say; "none" keeps them in memory alone.
	TargetState string `yaml:"targetState"`
	// Control is the Unix socket at which the server takes commands. Load makes it
	// control.DefaultSocket if the file does not say; "none" is no socket.
	Control string `yaml:"control"`
	// Metrics is an address and port, such as 127.0.0.1:9260, at which the
	// server's metrics are served by HTTP (GET /metrics); empty means none.
	Metrics string `yaml:"metrics"`

	path  string                    // of the file it comes from
	where func(field string) string // in that file
}

// These are package control's.
type (
	Target    = control.Target
	CHAP      = control.CHAP
	LUN       = control.LUN
	Medium    = control.Medium
	PortGroup = control.PortGroup
)

// Load reads a configuration file. A key that does not exist is an error.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := decode(path, text, &c); err != nil {
		return Config{}, err
	}
	c.path, c.where = path, where(path, text)
	if c.ISCSIPort != 0 && len(c.ISCSI.Portals) > 0 {
		return Config{}, fmt.Errorf("%s: iscsiPort: the port is in iscsi.portals: leave iscsiPort away", c.where("iscsiPort"))
	}
	c.Control = cmp.Or(c.Control, control.DefaultSocket)
	if c.TargetState == "" {
		c.TargetState = strings.TrimSuffix(path, filepath.Ext(path)) + ".targets.yaml"
	}
	return c, nil
}
