package control

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
)

// PortGroup is a target port group: how good a path to disks its targets are.
type PortGroup struct {
	ID        uint16           `yaml:"id" json:"id"`
	State     scsi.AccessState `yaml:"state" json:"state"` // active/optimized, active/non-optimized, standby or unavailable
	Preferred bool             `yaml:"preferred,omitempty" json:"preferred,omitempty"`
}

// check finds what cannot be, after the groups before.
func (g PortGroup) check(before []PortGroup) error {
	switch {
	case g.ID == 0:
		return inField("id", errors.New("a port group needs a number, 1 to 65535"))
	case hasGroup(before, g.ID):
		return inField("id", fmt.Errorf("port group %d: there are two of this number: join them", g.ID))
	case g.State > scsi.Unavailable:
		return inField("state", fmt.Errorf("port group %d: its state cannot be set to %v: set it to active/optimized, active/non-optimized, standby or unavailable", g.ID, g.State))
	}
	return nil
}

// mergeGroups joins the groups of the configuration file and, of those that are not
// in it, of the state file.
func mergeGroups(fixed, kept []PortGroup) []PortGroup {
	all := slices.Clone(fixed)
	for _, g := range kept {
		if !hasGroup(fixed, g.ID) {
			all = append(all, g)
		}
	}
	return all
}

func hasGroup(all []PortGroup, id uint16) bool {
	return slices.ContainsFunc(all, func(g PortGroup) bool { return g.ID == id })
}

// SetPortGroup puts a target port group into a state, tells the initiators, and keeps
// it.
func (m *Manager) SetPortGroup(g PortGroup) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if hasGroup(m.cfg.PortGroups, g.ID) {
		return fmt.Errorf("port group %d: %w", g.ID, errFixed)
	}
	if err := m.server.SetPortGroup(target.PortGroup(g)); err != nil {
		return err
	}
	m.alua[g.ID] = g
	return m.save()
}

// setGroups puts groups into the states that the files say, if they say others than
// before: what initiators have set meanwhile stays. The caller holds mu.
func (m *Manager) setGroups(fixed, kept []PortGroup) error {
	was := mergeGroups(m.cfg.PortGroups, m.keptGroups())
	want := mergeGroups(fixed, kept)
	var errs []error
	for _, g := range want {
		if !slices.Contains(was, g) {
			errs = append(errs, m.server.SetPortGroup(target.PortGroup(g)))
		}
	}
	for _, g := range was {
		if !hasGroup(want, g.ID) {
			errs = append(errs, m.server.SetPortGroup(target.PortGroup{ID: g.ID}))
		}
	}
	m.alua = groupsByID(kept)
	return errors.Join(errs...)
}

func groupsByID(all []PortGroup) map[uint16]PortGroup {
	byID := make(map[uint16]PortGroup)
	for _, g := range all {
		byID[g.ID] = g
	}
	return byID
}

// keptGroups are those that commands have set. The caller holds mu.
func (m *Manager) keptGroups() (all []PortGroup) {
	for _, g := range m.alua {
		all = append(all, g)
	}
	return all
}
