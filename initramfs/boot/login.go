package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/initiator/kernel"
	"github.com/bootlun/bootlun/iscsi"
)

// configureNetwork brings up the NIC of every path. One that fails is no harm
// while another works.
func configureNetwork(ctx context.Context, m *machine) (string, error) {
	var errs []error
	detail := ""
	for _, nic := range pathNICs(m.table.Paths()) {
		name, err := m.configureNIC(ctx, nic)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m.netDevs[nic.Index] = name
		if detail != "" {
			detail += ", "
		}
		detail += fmt.Sprintf("%s %s", name, nic.Prefix())
	}
	if detail == "" {
		return "", errors.Join(errs...)
	}
	for _, err := range errs {
		m.log.Warn("network", "error", err)
	}
	return detail, nil
}

// pathNICs are the NICs that paths use, each once.
func pathNICs(paths []ibft.Path) []*ibft.NIC {
	var nics []*ibft.NIC
	seen := make(map[uint8]bool)
	for _, p := range paths {
		if p.NIC != nil && !seen[p.NIC.Index] {
			seen[p.NIC.Index] = true
			nics = append(nics, p.NIC)
		}
	}
	return nics
}

// logIn gives the kernel a session by the first path that works.
func logIn(ctx context.Context, m *machine) (string, error) {
	var errs []error
	for _, p := range m.table.Paths() {
		config := m.sessionConfig(p)
		session, err := kernel.Login(ctx, config)
		if err == nil {
			m.paths = []sessionPath{{config, session}}
			return fmt.Sprintf("%s at %s", p.Target.Name, p.Target.Portal()), nil
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if errors.Is(err, iscsi.ErrPeerNotAuthenticated) || refused(err) {
		err = permanentError{err}
	}
	return "", err
}

// refused reports whether a target has refused us by a status that trying
// again does not change (RFC 7143, 11.13.5).
func refused(err error) bool {
	var login *iscsi.LoginError
	return errors.As(err, &login) && !login.Status.Retry()
}

// rootTimeouts are those of a session under a root: a dead connection is found by the kernel's NOPs, and while there is none I/O
// waits, however long that takes. What would end the wait is an error that makes the root read-only.
var rootTimeouts = kernel.Timeouts{Replacement: -1, NOPInterval: nopInterval, NOPTimeout: nopTimeout}

// An idle connection is probed after nopInterval and given up nopTimeout later.
const (
	nopInterval = 5 * time.Second
	nopTimeout  = 10 * time.Second
)

// sessionConfig is what the table says of one path, as a kernel session.
func (m *machine) sessionConfig(p ibft.Path) kernel.Config {
	t := p.Target
	c := kernel.Config{
		Initiator: p.Initiator,
		Target:    t.Name,
		Portal:    t.Portal().String(),
		LUN:       iscsi.LUN(binary.BigEndian.Uint64(t.LUN[:])),
		Boot:      kernel.Boot{Root: "ibft", Target: "target" + strconv.Itoa(int(t.Index))},
		Timeouts:  rootTimeouts,
		// The target may insist on digests.
		Offer:  iscsi.Offer{HeaderDigest: iscsi.DigestAllow, DataDigest: iscsi.DigestAllow},
		Logger: m.log,
	}
	if p.NIC != nil {
		c.Boot.NIC = "ethernet" + strconv.Itoa(int(p.NIC.Index))
		c.Interface = kernel.Interface{NetDev: m.netDevs[p.NIC.Index], HWAddress: p.NIC.MAC.HardwareAddr()}
	}
	if t.CHAP != ibft.CHAPNone {
		c.CHAP = &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: t.CHAPName, Secret: iscsi.Secret(t.CHAPSecret)}}
	}
	if t.CHAP == ibft.CHAPMutual {
		c.CHAP.Target = iscsi.CHAPUser{Name: t.ReverseCHAPName, Secret: iscsi.Secret(t.ReverseCHAPSecret)}
	}
	return c
}

// waitDisk waits for the disk of the table's LUN.
func waitDisk(ctx context.Context, m *machine) (string, error) {
	disk, err := m.paths[0].session.Disk(ctx)
	if err != nil {
		return "", err
	}
	m.disk = disk
	return fmt.Sprintf("%s, %d MiB", disk.Device, disk.Size>>20), nil
}
