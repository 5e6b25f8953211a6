// Package bootserver is the boot server as one piece: DHCP, TFTP and HTTP from
// package netboot and the iSCSI target, from one configuration. "bootlun
// serve" runs it on the operating system's network, the virtual machines'
// harness on a LAN of its own; that is why it is a package and why nobody else
// should hold it: a program of its own composes netboot and target itself.
package bootserver

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/control"
	"github.com/goccy/go-yaml"
)

// Config is the file that "bootlun serve" reads. docs/fleet.md shows one.
type Config struct {
	netboot.Config `yaml:",inline"`

	// ISCSIPort is the target's port at Addr; 0 means 3260 if there are targets at
	// the start, and otherwise none: LUNs are then served by something else.
	ISCSIPort uint16 `yaml:"iscsiPort"`
	// Targets are what the iSCSI target serves, beside those of TargetState.
	Targets []Target `yaml:"targets"`
	// Disks are disks, by names of the operator's, that several LUNs can be.
	Disks map[string]Medium `yaml:"disks"`

	// PortGroups are the states of target port groups. Those that are not listed
	// are active/optimized.
	PortGroups []PortGroup `yaml:"portGroups"`

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

	path string // of the file it comes from
}

// Target, CHAP, LUN and Medium are package control's.
type (
	Target = control.Target
	CHAP   = control.CHAP
	LUN    = control.LUN
	Medium = control.Medium
)

// PortGroup is a target port group: how good a path to disks its targets are.
type PortGroup struct {
	ID        uint16           `yaml:"id"`
	State     scsi.AccessState `yaml:"state"` // active/optimized, active/non-optimized, standby or unavailable
	Preferred bool             `yaml:"preferred"`
}

// Load reads a configuration file. A key that does not exist is an error.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&c); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c.path = path
	c.Control = cmp.Or(c.Control, control.DefaultSocket)
	if c.TargetState == "" {
		c.TargetState = strings.TrimSuffix(path, filepath.Ext(path)) + ".targets.yaml"
	}
	return c, nil
}
