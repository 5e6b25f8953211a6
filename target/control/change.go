package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bootlun/bootlun/target"
)

// errSecret refuses a secret where none may be.
var errSecret = errors.New("give CHAP secrets by the file that holds them (chapSecretFile), not themselves")

// AddTarget begins to serve a target, and keeps it.
func (m *Manager) AddTarget(t Target) error {
	if err := t.checkCommand(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.find(t.Name) != nil {
		return fmt.Errorf("%w: target %s", target.ErrExists, t.Name)
	}
	if err := m.open(&entry{spec: t}); err != nil {
		return err
	}
	return m.save()
}

// checkCommand refuses what a command may not say.
func (t *Target) checkCommand() error {
	if err := t.CHAP.checkCommand(); err != nil {
		return err
	}
	for _, i := range t.InitiatorCHAP {
		if err := i.checkCommand(); err != nil {
			return fmt.Errorf("CHAP of initiators %s: %w", i.Initiator, err)
		}
	}
	for _, l := range t.LUNs {
		if err := l.checkCommand(); err != nil {
			return fmt.Errorf("LUN %d: %w", l.Number, err)
		}
	}
	return nil
}

func (l *LUN) checkCommand() error {
	if l.Shared == "" && l.NBD == "" && !filepath.IsAbs(l.Path) {
		return fmt.Errorf("path %q: give the whole path of the disk image or device", l.Path)
	}
	return nil
}

// RemoveTarget ends the service of a target: its initiators are asked to log out
// and are disconnected when ctx ends.
func (m *Manager) RemoveTarget(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.changeable(name)
	if err != nil {
		return err
	}
	return errors.Join(m.shut(ctx, e), m.save())
}

// AddLUN adds a LUN to a target. With a size above 0 its file is made, and must
// not exist.
func (m *Manager) AddLUN(name string, l LUN, size int64) error {
	if err := l.checkCommand(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.changeable(name)
	if err != nil {
		return err
	}
	if e.disks[l.Number] != nil {
		return fmt.Errorf("%w: target %s, LUN %d", target.ErrExists, e.spec.Name, l.Number)
	}
	if size > 0 {
		if err := makeFile(l.Path, size); err != nil {
			return err
		}
	}
	if err := m.openLUN(e, &l); err != nil {
		if size > 0 {
			err = errors.Join(err, os.Remove(l.Path))
		}
		return err
	}
	e.spec.LUNs = append(slices.Clone(e.spec.LUNs), l)
	return m.save()
}

// makeFile makes a sparse file that must not exist.
func makeFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// RemoveLUN takes a LUN away from a target. Its file stays. Commands under way may
// end until ctx does.
func (m *Manager) RemoveLUN(ctx context.Context, name string, number int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.changeable(name)
	if err != nil {
		return err
	}
	if err = m.shutLUN(ctx, e, number); err != nil && !errors.Is(err, target.ErrStillInUse) {
		return err
	}
	e.spec.LUNs = slices.DeleteFunc(slices.Clone(e.spec.LUNs), func(l LUN) bool { return l.Number == number })
	return errors.Join(err, m.save())
}

// ResizeLUN makes a LUN's file size bytes long; with size 0, the LUN takes on the
// size that its file or device has by now. What a file loses is lost, so that it
// shrinks only if shrink says so. It returns the size that initiators now see.
func (m *Manager) ResizeLUN(name string, number int, size int64, shrink bool) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(name)
	switch {
	case e == nil:
		return 0, fmt.Errorf("%w: %s", target.ErrNoTarget, name)
	case e.disks[number] == nil:
		return 0, fmt.Errorf("%w: target %s, LUN %d", target.ErrNoLUN, e.spec.Name, number)
	case size < 0:
		return 0, fmt.Errorf("target %s: LUN %d: %d bytes are no size", e.spec.Name, number, size)
	}
	if has := e.disks[number].top().Size(); size > 0 && size < has && !shrink {
		return 0, fmt.Errorf("target %s: LUN %d has %d bytes: to cut it to %d loses data, and must be asked for (--shrink)", e.spec.Name, number, has, size)
	}
	return m.server.ResizeLUN(e.spec.Name, number, size)
}

// SetCHAP changes what a target's initiators must prove from now on.
func (m *Manager) SetCHAP(name string, c CHAP) error {
	if err := c.checkCommand(); err != nil {
		return err
	}
	return m.set(name, func(t *Target) { t.CHAP = c })
}

// SetAllowed changes who may use a target from now on.
func (m *Manager) SetAllowed(name string, a Allowed) error {
	return m.set(name, func(t *Target) { t.AllowedInitiators, t.Access = a.Initiators, a.Rules })
}

func (m *Manager) set(name string, change func(*Target)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.changeable(name)
	if err != nil {
		return err
	}
	next := e.spec
	change(&next)
	settings, err := m.settings(&next)
	if err != nil {
		return fmt.Errorf("target %s: %w", next.Name, err)
	}
	if err := m.server.SetTarget(settings); err != nil {
		return err
	}
	e.spec = next
	return m.save()
}
