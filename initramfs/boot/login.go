package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
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

// otherPaths is how long the boot waits for the other paths when one is there.
const otherPaths = 3 * time.Second

// logIn gives the kernel a session by each path of the table. One is enough; those that are not there in a moment after it are
// left to the keeper.
func logIn(ctx context.Context, m *machine) (string, error) {
	type result struct {
		at   int
		path sessionPath
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	table := distinct(m.table.Paths())
	results := make(chan result)
	for i, p := range table {
		go func() {
			config := m.sessionConfig(p)
			session, err := kernel.Login(ctx, config)
			results <- result{i, sessionPath{config, session}, err}
		}()
	}
	all := make([]result, len(table))
	var errs []error
	for range table {
		r := <-results
		if all[r.at] = r; r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		stop := time.AfterFunc(otherPaths, cancel)
		defer stop.Stop()
	}
	m.paths, m.missing = nil, nil
	for _, r := range all {
		if r.err == nil {
			m.paths = append(m.paths, r.path)
		} else {
			m.missing = append(m.missing, r.path.config)
		}
	}
	if len(m.paths) == 0 {
		return "", loginFailure(errs)
	}
	for _, err := range errs {
		m.log.Warn("a path to the disk is missing", "error", err)
	}
	first := m.paths[0].session
	detail := fmt.Sprintf("%s at %s", first.Target, first.Portal)
	if n := len(m.paths); n > 1 {
		detail += fmt.Sprintf(" and by %d other paths", n-1)
	}
	return detail, nil
}

// distinct leaves out paths to a target and portal that an earlier one leads to: of two LUNs of one target the first is the disk.
func distinct(paths []ibft.Path) []ibft.Path {
	var kept []ibft.Path
	for _, p := range paths {
		if !slices.ContainsFunc(kept, func(k ibft.Path) bool {
			return k.Target.Name == p.Target.Name && k.Target.Portal() == p.Target.Portal() && k.NIC.Index == p.NIC.Index
		}) {
			kept = append(kept, p)
		}
	}
	return kept
}

// loginFailure is why no path works; for good if targets have refused us.
func loginFailure(errs []error) error {
	err := errors.Join(errs...)
	if errors.Is(err, iscsi.ErrPeerNotAuthenticated) || refused(err) {
		return permanentError{err}
	}
	return err
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
	if m.cfg.Handoff == HandoffKexec {
		c.Timeouts.Replacement = m.cfg.Timeout // it has no root: entries are read by it, and an error leads to the next one
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
