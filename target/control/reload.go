package control

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/bootlun/bootlun/target"
)

// Reload makes what is served that which the configuration file says now, and the
// state file, but for portals, which are those of the start. Targets and LUNs that stay as they are, and their sessions, are left
// alone, but for sizes that have changed; CHAP settings and allowed initiators hold
// for later logins. What cannot be done does not keep the rest from it: the error
// joins all that went wrong.
func (m *Manager) Reload(ctx context.Context, c Config) error {
	kept, err := readState(m.state)
	if err != nil {
		return err
	}
	want, err := merge(c.Targets, kept.Targets)
	if err != nil {
		return located(c.Where, err)
	}
	serving, err := c.serving(m.base)
	if err != nil {
		return err
	}
	told, err := c.names()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, logoutTime)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	if !sameSettings(serving, m.serving) {
		errs = append(errs, m.server.Configure(serving))
		m.serving = serving
	}
	errs = append(errs, m.setGroups(c.PortGroups, kept.PortGroups))
	m.cfg, m.disks.cfg = c, c.Disks
	for _, e := range slices.Clone(m.all) {
		stays := func(w *entry) bool { return w.spec.Name == e.spec.Name && w.spec.PortGroup == e.spec.PortGroup }
		if !slices.ContainsFunc(want, stays) {
			errs = append(errs, m.shut(ctx, e))
		}
	}
	for _, w := range want { // give back before anything is taken: a disk may move from one LUN to another
		if e := m.find(w.spec.Name); e != nil {
			errs = append(errs, m.shutChanged(ctx, e, &w.spec))
		}
	}
	for _, w := range want {
		if e := m.find(w.spec.Name); e != nil {
			errs = append(errs, m.place(w, m.change(e, w)))
		} else {
			errs = append(errs, m.place(w, m.open(w)))
		}
	}
	m.announcer.set(told)
	return errors.Join(errs...)
}

// sameSettings compares what can be changed. Secret files may say another secret.
func sameSettings(a, b target.Config) bool {
	for _, c := range []*target.Config{&a, &b} {
		c.Events, c.Logger, c.PortalGroups, c.PortGroups = nil, nil, nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// place says of an error of a target where in which file that is.
func (m *Manager) place(e *entry, err error) error {
	if err == nil {
		return nil
	}
	where := m.cfg.Where
	if !e.fixed {
		where = func(string) string { return m.state }
	}
	return located(where, inField(fmt.Sprintf("targets[%d]", e.index), err))
}

// names is who is to be told of the targets.
func (c *Config) names() (n names, err error) {
	if n.isns, err = c.ISNS.withDefaults(); err != nil {
		return n, located(c.Where, inField("isns", fmt.Errorf("isns: %w", err)))
	}
	if err = c.SLP.check(); err != nil {
		return n, located(c.Where, inField("slp", fmt.Errorf("slp: %w", err)))
	}
	n.slp = c.SLP
	return n, nil
}

// merge joins the targets of the configuration file and those of the state file.
func merge(fixed, kept []Target) ([]*entry, error) {
	var all []*entry
	seen := make(map[string]bool)
	for i, t := range append(slices.Clone(fixed), kept...) {
		t.Name = normal(t.Name)
		index, isFixed := i, i < len(fixed)
		if !isFixed {
			index -= len(fixed)
		}
		if seen[t.Name] {
			err := fmt.Errorf("target %s: there are two of this name", t.Name)
			if isFixed { // which cannot be said of a line of the state file
				err = inField(fmt.Sprintf("targets[%d].name", index), err)
			}
			return nil, err
		}
		seen[t.Name] = true
		numbers := make(map[int]bool)
		for j, l := range t.LUNs {
			if numbers[l.Number] {
				err := fmt.Errorf("target %s: LUN %d: there are two of this number", t.Name, l.Number)
				if isFixed {
					err = inField(fmt.Sprintf("targets[%d].luns[%d].number", index, j), err)
				}
				return nil, err
			}
			numbers[l.Number] = true
		}
		all = append(all, &entry{spec: t, fixed: isFixed, index: index})
	}
	return all, nil
}

// shutChanged removes the LUNs of a target that are not as wanted any more.
func (m *Manager) shutChanged(ctx context.Context, e *entry, want *Target) error {
	var errs []error
	for number, d := range e.disks {
		stays := slices.ContainsFunc(want.LUNs, func(l LUN) bool {
			medium, err := m.disks.medium(&l)
			return l.Number == number && err == nil && medium == d.medium && l.Shared == d.name && slices.Equal(l.Access, e.accessOf(number))
		})
		if !stays {
			errs = append(errs, m.shutLUN(ctx, e, number))
		}
	}
	return errors.Join(errs...)
}

// accessOf returns the rules of a LUN.
func (e *entry) accessOf(number int) []Rule {
	for i := range e.spec.LUNs {
		if e.spec.LUNs[i].Number == number {
			return e.spec.LUNs[i].Access
		}
	}
	return nil
}

// change makes a target what is wanted, after shutChanged.
func (m *Manager) change(e, want *entry) error {
	settings, err := m.settings(&want.spec)
	if err == nil {
		err = m.server.SetTarget(settings)
	}
	if err != nil {
		return fmt.Errorf("target %s: %w", e.spec.Name, err)
	}
	var errs []error
	for i := range want.spec.LUNs {
		l := &want.spec.LUNs[i]
		if e.disks[l.Number] == nil {
			errs = append(errs, inField(lunField(i), m.openLUN(e, l)))
			continue
		}
		if _, err := m.server.ResizeLUN(e.spec.Name, l.Number, 0); !errors.Is(err, errors.ErrUnsupported) {
			errs = append(errs, err)
		}
	}
	e.spec, e.fixed, e.index = want.spec, want.fixed, want.index
	return errors.Join(errs...)
}

// errFixed refuses to change by command what the configuration file says.
var errFixed = errors.New("it is in the configuration file: change it there, then run \"bootlun reload\"")

// changeable returns a target that may be changed by command. The caller holds mu.
func (m *Manager) changeable(name string) (*entry, error) {
	e := m.find(name)
	switch {
	case e == nil:
		return nil, fmt.Errorf("%w: %s", target.ErrNoTarget, name)
	case e.fixed:
		return nil, fmt.Errorf("target %s: %w", e.spec.Name, errFixed)
	}
	return e, nil
}
