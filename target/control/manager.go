package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
)

// Config is what a [Manager] serves.
type Config struct {
	// Targets and Disks are those of the operator's configuration file.
	Targets []Target
	Disks   map[string]Medium

	// StateFile is where the targets are kept that commands have added. It is
	// read now, if it exists, and replaced as a whole at each change. Without it,
	// such targets are gone when the server ends.
	StateFile string

	// Server is how they are served: all but the targets.
	Server target.Config
}

// Manager serves targets and changes them. Its methods may be called from several
// goroutines; changes happen one after the other.
type Manager struct {
	server *target.Server
	log    *slog.Logger
	state  string // StateFile

	mu    sync.Mutex
	disks disks
	all   []*entry
	stuck []*disk // that a command held on to when its LUN was removed
}

// entry is a target being served.
type entry struct {
	spec  Target
	fixed bool          // of the configuration file
	disks map[int]*disk // by LUN
}

// logoutTime is how long sessions get to log out, and commands to end, when a
// reload removes what they use.
const logoutTime = 10 * time.Second

// New opens the disks of a configuration. The caller serves [Manager.Server] and
// then closes the Manager.
func New(c Config) (*Manager, error) {
	c.Server.Targets = nil
	server, err := target.New(c.Server)
	if err != nil {
		return nil, err
	}
	m := &Manager{server: server, log: c.Server.Logger, state: c.StateFile}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.disks = disks{shared: make(map[string]*disk), log: m.log}
	if err := m.Reload(context.Background(), c.Targets, c.Disks); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Server is what the targets are served by. Its own methods that change targets
// are not to be used: the Manager would not know.
func (m *Manager) Server() *target.Server { return m.server }

// Close flushes and closes all disks. Server must have ended.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, e := range m.all {
		for _, d := range e.disks {
			errs = append(errs, m.disks.put(d))
		}
	}
	for _, d := range m.stuck {
		errs = append(errs, d.close())
	}
	m.all, m.stuck = nil, nil
	return errors.Join(errs...)
}

// find returns the entry of a target, nil if there is none.
func (m *Manager) find(name string) *entry {
	name = normal(name)
	for _, e := range m.all {
		if e.spec.Name == name {
			return e
		}
	}
	return nil
}

// normal is the form of a target's name that initiators see. One that is not valid
// stays as it is, for the server to refuse.
func normal(name string) string {
	if n, err := iscsi.ParseName(name); err == nil {
		return n
	}
	return name
}

// open begins to serve a target. The caller holds mu.
func (m *Manager) open(spec Target, fixed bool) (err error) {
	spec.Name = normal(spec.Name)
	cfg, err := spec.settings()
	if err != nil {
		return fmt.Errorf("target %s: %w", spec.Name, err)
	}
	e := &entry{spec: spec, fixed: fixed, disks: make(map[int]*disk)}
	defer func() {
		if err != nil {
			for _, d := range e.disks {
				err = errors.Join(err, m.disks.put(d))
			}
		}
	}()
	for i := range spec.LUNs {
		l := &spec.LUNs[i]
		if e.disks[l.Number] != nil {
			return fmt.Errorf("target %s: LUN %d: there are two of this number", spec.Name, l.Number)
		}
		d, err := m.disks.take(l)
		if err != nil {
			return fmt.Errorf("target %s: LUN %d: %w", spec.Name, l.Number, err)
		}
		e.disks[l.Number] = d
		lun, err := d.lun(l)
		if err != nil {
			return fmt.Errorf("target %s: LUN %d: %w", spec.Name, l.Number, err)
		}
		cfg.LUNs = append(cfg.LUNs, lun)
	}
	if err := m.server.AddTarget(cfg); err != nil {
		return err
	}
	m.all = append(m.all, e)
	return nil
}

// shut ends the service of a target. The caller holds mu.
func (m *Manager) shut(ctx context.Context, e *entry) error {
	err := m.server.RemoveTarget(ctx, e.spec.Name)
	if err != nil && !errors.Is(err, target.ErrStillInUse) {
		return err
	}
	m.all = slices.DeleteFunc(m.all, func(o *entry) bool { return o == e })
	for _, d := range e.disks {
		err = errors.Join(err, m.release(d, err))
	}
	return err
}

// release gives a disk back, unless a command still holds on to it.
func (m *Manager) release(d *disk, removed error) error {
	if errors.Is(removed, target.ErrStillInUse) {
		m.stuck = append(m.stuck, d)
		return nil
	}
	return m.disks.put(d)
}

// openLUN adds a LUN to a target. The caller holds mu and enters it in spec.
func (m *Manager) openLUN(e *entry, l *LUN) error {
	if e.disks[l.Number] != nil {
		return fmt.Errorf("%w: target %s, LUN %d", target.ErrExists, e.spec.Name, l.Number)
	}
	d, err := m.disks.take(l)
	if err != nil {
		return fmt.Errorf("target %s: LUN %d: %w", e.spec.Name, l.Number, err)
	}
	lun, err := d.lun(l)
	if err == nil {
		err = m.server.AddLUN(e.spec.Name, lun)
	}
	if err != nil {
		return errors.Join(err, m.disks.put(d))
	}
	e.disks[l.Number] = d
	return nil
}

// shutLUN is openLUN's opposite.
func (m *Manager) shutLUN(ctx context.Context, e *entry, number int) error {
	err := m.server.RemoveLUN(ctx, e.spec.Name, number)
	if err != nil && !errors.Is(err, target.ErrStillInUse) {
		return err
	}
	d := e.disks[number]
	delete(e.disks, number)
	return errors.Join(err, m.release(d, err))
}
