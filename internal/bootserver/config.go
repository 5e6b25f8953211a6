// Package bootserver is the boot server as one piece: DHCP, TFTP and HTTP from
// package netboot and the iSCSI target, from one configuration. "bootlun
// serve" runs it on the operating system's network, the virtual machines'
// harness on a LAN of its own; that is why it is a package and why nobody else
// should hold it: a program of its own composes netboot and target itself.
package bootserver

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
	"github.com/goccy/go-yaml"
)

// Config is the file that "bootlun serve" reads. docs/fleet.md shows one.
type Config struct {
	netboot.Config `yaml:",inline"`

	// ISCSIPort is the target's port at Addr; 0 means 3260.
	ISCSIPort uint16 `yaml:"iscsiPort"`
	// Targets are what the iSCSI target serves; none means that the LUNs are
	// served by something else.
	Targets []Target `yaml:"targets"`
	// Disks are disks, by names of the operator's, that several LUNs can be.
	Disks map[string]Medium `yaml:"disks"`
	// PortGroups are the states of target port groups. Those that are not listed
	// are active/optimized.
	PortGroups []PortGroup `yaml:"portGroups"`
}

// Target is one iSCSI target. CHAP without a secret is an error, a secret may
// be read from a file instead.
type Target struct {
	Name              string   `yaml:"name"`
	Alias             string   `yaml:"alias"`
	AllowedInitiators []string `yaml:"allowedInitiators"` // patterns such as iqn.2001-04.com.example:*
	LUNs              []LUN    `yaml:"luns"`
	PortGroup         uint16   `yaml:"portGroup"` // 0 is 1

	CHAPName              string       `yaml:"chapName"`
	CHAPSecret            iscsi.Secret `yaml:"chapSecret"`
	CHAPSecretFile        string       `yaml:"chapSecretFile"`
	ReverseCHAPName       string       `yaml:"reverseChapName"`
	ReverseCHAPSecret     iscsi.Secret `yaml:"reverseChapSecret"`
	ReverseCHAPSecretFile string       `yaml:"reverseChapSecretFile"`
}

// PortGroup is a target port group: how good a path to disks its targets are.
type PortGroup struct {
	ID        uint16           `yaml:"id"`
	State     scsi.AccessState `yaml:"state"` // active/optimized, active/non-optimized, standby or unavailable
	Preferred bool             `yaml:"preferred"`
}

// LUN is one disk of a target.
type LUN struct {
	Number int `yaml:"number"`
	// Shared names the one of Disks that the LUN is; without it the LUN has a
	// disk of its own.
	Shared string `yaml:"disk"`
	Medium `yaml:",inline"`
}

// Medium is what a LUN serves.
type Medium struct {
	// Path is a disk image or a block device.
	Path string `yaml:"path"`
	// NBD is, instead of Path, what an NBD server serves:
	// nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH.
	NBD string `yaml:"nbd"`
	// Direct goes past the page cache (O_DIRECT).
	Direct bool `yaml:"direct"`
	// Preallocate reserves all of a file's space.
	Preallocate bool `yaml:"preallocate"`
	// Timeout, such as 30s, is how long a command waits for the disk before it
	// fails; without it, as long as it takes, for NBD 30s.
	Timeout string `yaml:"timeout"`

	ReadOnly bool `yaml:"readOnly"`
	// Overlay keeps what machines write in memory, so that Path stays as it is;
	// the writes are lost when the server ends.
	Overlay bool `yaml:"overlay"`
	// BlockSize is 512 (also the default) or 4096.
	BlockSize int `yaml:"blockSize"`
	// Identity is what the disk's NAA identifier is derived from: a text that no
	// other disk in the world has. Without it, the name of the target and the
	// number of the LUN are, of a disk with several LUNs those of the first.
	Identity string `yaml:"identity"`
	// ReservationFile is where persistent reservations outlive the server. The
	// default for an image file that can be written is its path with .reservations
	// behind it; for other disks, to keep none.
	ReservationFile string `yaml:"reservationFile"`
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
	return c, nil
}

// disks are the disks of a configuration that have been opened.
type disks struct {
	cfg    map[string]Medium
	shared map[string]store.Store // those of cfg that are in use
	opened []store.Store          // all, for the caller to close
	log    *slog.Logger           // of the stores; may be nil
}

// target makes the target's form of t.
func (d *disks) target(t Target) (*target.Target, error) {
	chap, err := t.chap()
	if err != nil {
		return nil, err
	}
	out := &target.Target{Name: t.Name, Alias: t.Alias, AllowedInitiators: t.AllowedInitiators, CHAP: chap, PortGroup: t.PortGroup}
	for _, l := range t.LUNs {
		lun, err := d.lun(l)
		if err != nil {
			return nil, fmt.Errorf("target %s, LUN %d: %w", t.Name, l.Number, err)
		}
		out.LUNs = append(out.LUNs, lun)
	}
	return out, nil
}

func (d *disks) lun(l LUN) (target.LUN, error) {
	disk, s := l.Medium, d.shared[l.Shared]
	if l.Shared != "" {
		var ok bool
		if disk, ok = d.cfg[l.Shared]; !ok {
			return target.LUN{}, fmt.Errorf("disk %q is not in disks", l.Shared)
		}
		if l.Medium != (Medium{}) {
			return target.LUN{}, fmt.Errorf("it is disk %q: say there, and not here, what that is", l.Shared)
		}
	}
	if s == nil {
		var err error
		if s, err = d.open(disk); err != nil {
			return target.LUN{}, err
		}
	}
	if l.Shared != "" {
		d.shared[l.Shared] = s
	}
	return target.LUN{
		Number: l.Number, Store: s, ReadOnly: disk.ReadOnly, BlockSize: disk.BlockSize, Identity: disk.Identity,
		ReservationFile: disk.reservationFile(),
	}, nil
}

// reservationFile returns the file of reservations or its default. What may be
// served twice at a time, read-only or below an overlay, has none: it would not be
// one disk's.
func (m Medium) reservationFile() string {
	if m.ReservationFile != "" || m.ReadOnly || m.Overlay {
		return m.ReservationFile
	}
	if info, err := os.Stat(m.Path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return m.Path + ".reservations"
}

func (d *disks) open(disk Medium) (store.Store, error) {
	base, err := disk.open(disk.ReadOnly || disk.Overlay, d.log)
	if err != nil {
		return nil, err
	}
	d.opened = append(d.opened, base)
	if !disk.Overlay {
		return base, nil
	}
	overlay := store.NewOverlay(base)
	d.opened = append(d.opened, overlay)
	return overlay, nil
}

func (t Target) chap() (*iscsi.CHAPServer, error) {
	secret, err := secretOf("chapSecret", t.CHAPSecret, t.CHAPSecretFile)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	reverse, err := secretOf("reverseChapSecret", t.ReverseCHAPSecret, t.ReverseCHAPSecretFile)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	switch {
	case (t.CHAPName == "") != (secret == ""), (t.ReverseCHAPName == "") != (reverse == ""):
		return nil, fmt.Errorf("target %s: a CHAP name needs a secret, and a secret a name", t.Name)
	case t.CHAPName == "" && t.ReverseCHAPName != "":
		return nil, fmt.Errorf("target %s: reverse CHAP needs CHAP: set chapName and its secret", t.Name)
	case t.CHAPName == "":
		return nil, nil
	}
	return &iscsi.CHAPServer{
		Users:  []iscsi.CHAPUser{{Name: t.CHAPName, Secret: secret}},
		Target: iscsi.CHAPUser{Name: t.ReverseCHAPName, Secret: reverse},
	}, nil
}

// secretOf takes a secret from the configuration or from a file, at whose end
// white space does not count.
func secretOf(field string, inline iscsi.Secret, file string) (iscsi.Secret, error) {
	switch {
	case file == "":
		return inline, nil
	case inline != "":
		return "", errors.New("give " + field + " or " + field + "File, not both")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return iscsi.Secret(strings.TrimRight(string(text), " \t\r\n")), nil
}
