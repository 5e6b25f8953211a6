package initiator

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/iscsi/slp"
)

// Source is a way to find targets: a portal that is asked, a list, a name server,
// the network, a firmware's table.
type Source interface {
	// Targets returns what targets there are and where they are reached, best
	// first. There being none is no error.
	Targets(ctx context.Context) ([]iscsi.TargetRecord, error)
}

// Find asks several sources, one after the other, and joins what they say: the
// addresses of a target in the order in which they are found. With an error there may
// be targets, of the sources that have answered.
func Find(ctx context.Context, sources ...Source) ([]iscsi.TargetRecord, error) {
	var all []iscsi.TargetRecord
	var errs []error
	for _, s := range sources {
		found, err := s.Targets(ctx)
		errs = append(errs, err)
		for _, r := range found {
			all = join(all, r)
		}
	}
	return all, errors.Join(errs...)
}

// join adds a target to others, or its addresses to what is known of it.
func join(all []iscsi.TargetRecord, r iscsi.TargetRecord) []iscsi.TargetRecord {
	i := slices.IndexFunc(all, func(have iscsi.TargetRecord) bool { return have.Name == r.Name })
	if i < 0 {
		i, all = len(all), append(all, iscsi.TargetRecord{Name: r.Name})
	}
	for _, a := range r.Addresses {
		if !slices.Contains(all[i].Addresses, a) {
			all[i].Addresses = append(all[i].Addresses, a)
		}
	}
	return all
}

// At returns the configuration for a target that was found: with its name and all its
// addresses as portals.
func (c Config) At(r iscsi.TargetRecord) Config {
	c.Target, c.Portals = r.Name, nil
	for i, a := range r.Addresses {
		if i == 0 {
			c.Portal = a.HostPort()
		} else {
			c.Portals = append(c.Portals, a.HostPort())
		}
	}
	return c
}

// SendTargets is the source that Discover asks.
type SendTargets Config

// Targets logs in for discovery.
func (s SendTargets) Targets(ctx context.Context) ([]iscsi.TargetRecord, error) {
	return Discover(ctx, Config(s))
}

// Static is a list of targets that are known.
type Static []iscsi.TargetRecord

// Targets returns the list.
func (s Static) Targets(context.Context) ([]iscsi.TargetRecord, error) { return s, nil }

// SLP finds targets by the Service Location Protocol (RFC 4018).
type SLP slp.Query

// Targets asks the agents that the query names.
func (s SLP) Targets(ctx context.Context) ([]iscsi.TargetRecord, error) {
	return slp.FindTargets(ctx, slp.Query(s))
}

// Firmware is the source that a firmware's table is: what the machine boots from.
// FirmwarePaths says more of it.
type Firmware struct{ Table *ibft.Table }

// Targets returns the table's targets, those to boot from first.
func (f Firmware) Targets(context.Context) ([]iscsi.TargetRecord, error) {
	var all []iscsi.TargetRecord
	for _, p := range f.Table.Paths() {
		at := p.Target.Portal()
		address := iscsi.TargetAddress{Host: at.Addr().String(), Port: int(at.Port()), Tag: iscsi.NoTag}
		all = join(all, iscsi.TargetRecord{Name: p.Target.Name, Addresses: []iscsi.TargetAddress{address}})
	}
	return all, nil
}

// FirmwarePath is one of the ways to the disk that a firmware's table names.
type FirmwarePath struct {
	// Config has the names, the portal and the secrets.
	Config Config
	LUN    iscsi.LUN
}

// FirmwarePaths returns the ways to the disk that a table names, in the order in which
// they are to be tried. Out of which NIC they go is for Config.Dialer to say.
func FirmwarePaths(t *ibft.Table) []FirmwarePath {
	var list []FirmwarePath
	for _, p := range t.Paths() {
		to := p.Target
		c := Config{Initiator: p.Initiator, Target: to.Name, Portal: to.Portal().String()}
		if to.CHAP != ibft.CHAPNone {
			c.CHAP = &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: to.CHAPName, Secret: iscsi.Secret(to.CHAPSecret)}}
		}
		if to.CHAP == ibft.CHAPMutual {
			c.CHAP.Target = iscsi.CHAPUser{Name: to.ReverseCHAPName, Secret: iscsi.Secret(to.ReverseCHAPSecret)}
		}
		list = append(list, FirmwarePath{c, iscsi.LUN(binary.BigEndian.Uint64(to.LUN[:]))})
	}
	return list
}
