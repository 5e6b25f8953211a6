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
	// ISCSI are settings of the whole server.
	ISCSI Settings
	// PortGroups are the states of target port groups. Those that are not listed are
	// active/optimized, unless a command has set them.
	PortGroups []PortGroup
	// ISNS and SLP say who is told of the targets; nil: nobody. See
	// [Manager.Announce].
	ISNS *ISNS
	SLP  *SLP

	// Where tells the place of a field, such as targets[1].luns[0].path, in the
	// configuration file, as errors name it; nil, or an empty text: errors do not.
	Where func(path string) string

	// StateFile is where the targets are kept that commands have added. It is
	// read now, if it exists, and replaced as a whole at each change. Without it,
	// such targets are gone when the server ends.
	StateFile string

	// Server is what of the target server's configuration is not set by the fields
	// above, such as its Logger.
	Server target.Config
}

// Manager serves targets and changes them. Its methods may be called from several
// goroutines; changes happen one after the other.
type Manager struct {
	server    *target.Server
	log       *slog.Logger
	state     string        // StateFile
	base      target.Config // Config.Server
	announcer announcer

	mu      sync.Mutex
	cfg     Config               // as it was read last
	serving target.Config        // what that made of base
	alua    map[uint16]PortGroup // that commands have set
	disks   disks
	all     []*entry
	stuck   []*disk // that a command held on to when its LUN was removed
}

// entry is a target being served.
type entry struct {
	spec  Target
	fixed bool          // of the configuration file
	index int           // in that file, or the state file
	disks map[int]*disk // by LUN
}

// logoutTime is how long sessions get to log out, and commands to end, when a
// reload removes what they use.
const logoutTime = 10 * time.Second

// New opens the disks of a configuration. The caller serves [Manager.Server] and
// then closes the Manager.
func New(c Config) (*Manager, error) {
	kept, err := readState(c.StateFile)
	if err != nil {
		return nil, err
	}
	base := c.Server
	serving, err := c.serving(base)
	if err != nil {
		return nil, err
	}
	for _, g := range mergeGroups(c.PortGroups, kept.PortGroups) {
		serving.PortGroups = append(serving.PortGroups, target.PortGroup(g))
	}
	server, err := target.New(serving)
	if err != nil {
		return nil, err
	}
	m := &Manager{server: server, log: c.Server.Logger, state: c.StateFile, base: base, cfg: c, serving: serving, alua: groupsByID(kept.PortGroups)}
	m.announcer = announcer{m: m, changed: make(chan struct{})}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.disks = disks{shared: make(map[string]*disk), log: m.log}
	if err := m.Reload(context.Background(), c); err != nil {
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
func (m *Manager) open(e *entry) (err error) {
	e.spec.Name, e.disks = normal(e.spec.Name), make(map[int]*disk)
	spec := &e.spec
	cfg, err := m.settings(spec)
	if err != nil {
		return fmt.Errorf("target %s: %w", spec.Name, err)
	}
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
			return inField(lunField(i), fmt.Errorf("target %s: LUN %d: %w", spec.Name, l.Number, err))
		}
		e.disks[l.Number] = d
		lun, err := d.lun(l)
		if err != nil {
			return inField(lunField(i), fmt.Errorf("target %s: LUN %d: %w", spec.Name, l.Number, err))
		}
		cfg.LUNs = append(cfg.LUNs, lun)
	}
	if err := m.server.AddTarget(cfg); err != nil {
		return err
	}
	m.all = append(m.all, e)
	return nil
}

func lunField(i int) string { return fmt.Sprintf("luns[%d]", i) }

// serving makes the target server's configuration, but for the targets and the
// target port groups, from what is set there already.
func (c *Config) serving(base target.Config) (target.Config, error) {
	base.Targets, base.PortGroups = nil, nil
	err := c.ISCSI.apply(&base)
	if err != nil {
		err = inField("iscsi", fmt.Errorf("iscsi: %w", err))
	}
	for i, g := range c.PortGroups {
		if err == nil {
			err = inField(fmt.Sprintf("portGroups[%d]", i), g.check(c.PortGroups[:i]))
		}
	}
	return base, located(c.Where, err)
}

// settings makes the target server's form of a target, but for the LUNs.
func (m *Manager) settings(t *Target) (*target.Target, error) {
	groups := m.server.Config().PortalGroups
	for i, tag := range t.PortalGroups {
		if !slices.ContainsFunc(groups, func(g target.PortalGroup) bool { return g.Tag == tag }) {
			err := fmt.Errorf("there is no portal group %d: say in iscsi.portals where it listens, and restart the server", tag)
			return nil, inField(fmt.Sprintf("portalGroups[%d]", i), err)
		}
	}
	return t.settings()
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
