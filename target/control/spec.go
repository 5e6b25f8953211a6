package control

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/iscsi"
)

// Target is one iSCSI target, as configuration files, the state file and the API
// write it. CHAP without a secret is an error; a secret may be read from a file
// instead.
type Target struct {
	Name              string   `yaml:"name" json:"name"`
	Alias             string   `yaml:"alias,omitempty" json:"alias,omitempty"`
	AllowedInitiators []string `yaml:"allowedInitiators,omitempty" json:"allowedInitiators,omitempty"` // patterns such as iqn.2001-04.com.example:*

	// Access says who may log in, beside AllowedInitiators: an initiator that one of
	// the rules admits. Without either, everybody may.
	Access []Rule `yaml:"access,omitempty" json:"access,omitempty"`

	PortGroup uint16 `yaml:"portGroup,omitempty" json:"portGroup,omitempty"` // 0 is 1

	// PortalGroups are the tags of the server's portal groups by which the target is
	// reached; none means all.
	PortalGroups []uint16 `yaml:"portalGroups,omitempty" json:"portalGroups,omitempty"`

	CHAP `yaml:",inline"`
	// InitiatorCHAP are exceptions: the first that an initiator matches counts.
	InitiatorCHAP []InitiatorCHAP `yaml:"initiatorChap,omitempty" json:"initiatorChap,omitempty"`

	// Hidden keeps the target from being told to iSNS servers and by SLP.
	Hidden bool `yaml:"hidden,omitempty" json:"hidden,omitempty"`

	// Redirect sends initiators elsewhere in place of letting them in.
	Redirect *Redirect `yaml:"redirect,omitempty" json:"redirect,omitempty"`

	LUNs []LUN `yaml:"luns,omitempty" json:"luns,omitempty"`
}

// CHAP is what a target's initiators must prove, and what it proves to them. The
// zero value lets initiators in unproven.
type CHAP struct {
	CHAPName              string       `yaml:"chapName,omitempty" json:"chapName,omitempty"`
	CHAPSecret            iscsi.Secret `yaml:"chapSecret,omitempty" json:"-"`
	CHAPSecretFile        string       `yaml:"chapSecretFile,omitempty" json:"chapSecretFile,omitempty"`
	CHAPUsers             []User       `yaml:"chapUsers,omitempty" json:"chapUsers,omitempty"` // further users
	ReverseCHAPName       string       `yaml:"reverseChapName,omitempty" json:"reverseChapName,omitempty"`
	ReverseCHAPSecret     iscsi.Secret `yaml:"reverseChapSecret,omitempty" json:"-"`
	ReverseCHAPSecretFile string       `yaml:"reverseChapSecretFile,omitempty" json:"reverseChapSecretFile,omitempty"`
}

// LUN is one disk of a target.
type LUN struct {
	Number int `yaml:"number" json:"number"`
	// Shared names the one of the configuration's disks that the LUN is; without
	// it the LUN has a disk of its own.
	Shared string `yaml:"disk,omitempty" json:"disk,omitempty"`
	// Access says which of the target's initiators may use the LUN; without rules
	// all may. For the others it does not exist.
	Access []Rule `yaml:"access,omitempty" json:"access,omitempty"`
	Medium `yaml:",inline"`
}

// Medium is what a LUN serves.
type Medium struct {
	// Path is a disk image or a block device.
	Path string `yaml:"path,omitempty" json:"path,omitempty"`
	// NBD is, instead of Path, what an NBD server serves:
	// nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH.
	NBD string `yaml:"nbd,omitempty" json:"nbd,omitempty"`
	// Direct goes past the page cache (O_DIRECT).
	Direct bool `yaml:"direct,omitempty" json:"direct,omitempty"`
	// Preallocate reserves all of a file's space.
	Preallocate bool `yaml:"preallocate,omitempty" json:"preallocate,omitempty"`
	// Timeout, such as 30s, is how long a command waits for the disk before it
	// fails; without it, as long as it takes, for NBD 30s.
	Timeout string `yaml:"timeout,omitempty" json:"timeout,omitempty"`

	ReadOnly bool `yaml:"readOnly,omitempty" json:"readOnly,omitempty"`
	// WriteThrough answers a write only when it is on the medium.
	WriteThrough bool `yaml:"writeThrough,omitempty" json:"writeThrough,omitempty"`
	// Removable lets initiators eject the disk and load it again.
	Removable bool `yaml:"removable,omitempty" json:"removable,omitempty"`
	// CDROM serves an ISO image as a disc in a CD-ROM drive.
	CDROM bool `yaml:"cdrom,omitempty" json:"cdrom,omitempty"`
	// Overlay keeps what machines write in memory, so that Path stays as it is;
	// the writes are lost when the server ends.
	Overlay bool `yaml:"overlay,omitempty" json:"overlay,omitempty"`
	// BlockSize is 512 (also the default) or 4096.
	BlockSize int `yaml:"blockSize,omitempty" json:"blockSize,omitempty"`
	// PhysicalBlockSize is what initiators align to: 4096 unless said.
	PhysicalBlockSize int `yaml:"physicalBlockSize,omitempty" json:"physicalBlockSize,omitempty"`
	// Vendor, Product, Revision and Serial say in INQUIRY data what the disk is.
	Vendor   string `yaml:"vendor,omitempty" json:"vendor,omitempty"`
	Product  string `yaml:"product,omitempty" json:"product,omitempty"`
	Revision string `yaml:"revision,omitempty" json:"revision,omitempty"`
	Serial   string `yaml:"serial,omitempty" json:"serial,omitempty"`
	// Identity is what the disk's NAA identifier is derived from: a text that no
	// other disk in the world has. Without it, the name of the target and the
	// number of the LUN are, of a disk with several LUNs those of the first.
	Identity string `yaml:"identity,omitempty" json:"identity,omitempty"`
	// ReservationFile is where persistent reservations outlive the server. The
	// default for an image file that can be written is its path with .reservations
	// behind it; for other disks, to keep none.
	ReservationFile string `yaml:"reservationFile,omitempty" json:"reservationFile,omitempty"`
}

// server makes the target server's form of the settings, nil if they are zero.
func (c *CHAP) server() (*iscsi.CHAPServer, error) {
	users, err := c.users()
	if err != nil {
		return nil, err
	}
	reverse, err := secretOf("reverseChapSecret", c.ReverseCHAPSecret, c.ReverseCHAPSecretFile)
	switch {
	case err != nil:
		return nil, inField("reverseChapSecretFile", err)
	case (c.ReverseCHAPName == "") != (reverse == ""):
		return nil, inField("reverseChapName", errNameSecret)
	case len(users) == 0 && c.ReverseCHAPName != "":
		return nil, inField("reverseChapName", errors.New("reverse CHAP needs CHAP: set chapName and its secret"))
	case len(users) == 0:
		return nil, nil
	case slices.ContainsFunc(users, func(u iscsi.CHAPUser) bool { return u.Secret == reverse }):
		return nil, inField("reverseChapName", errors.New("the target's CHAP secret is an initiator's too, which lets that one answer for the target: give the target another"))
	}
	return &iscsi.CHAPServer{Users: users, Target: iscsi.CHAPUser{Name: c.ReverseCHAPName, Secret: reverse}}, nil
}

// secretOf takes a secret from the configuration or from a file, at whose end
// white space does not count and which not everybody may be able to read.
func secretOf(field string, inline iscsi.Secret, file string) (iscsi.Secret, error) {
	switch {
	case file == "":
		return inline, nil
	case inline != "":
		return "", errors.New("give " + field + " or " + field + "File, not both")
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%sFile: everybody on this machine can read the secret in %s: chmod 600 it", field, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return iscsi.Secret(strings.TrimRight(string(text), " \t\r\n")), nil
}
