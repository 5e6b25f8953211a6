package boot

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/bootloader/entries"
	"github.com/bootlun/bootlun/bootloader/files"
)

// What boot loaders write when they start an entry is written here: GRUB's environment, systemd-boot's variables and boot counters.

// noteStart writes what the entry's boot loader would write when it starts it. What cannot be written is said and no more.
func (m *machine) noteStart(ctx context.Context, c console, e *entries.Entry) {
	if e.CountAs == "" {
		m.saveEnv(c, e.Env)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	if err := m.countTry(ctx, e); err != nil {
		m.log.Warn("the entry's boot counter is not counted down", "file", e.Counted.String(), "error", err)
		return
	}
	c.say("%s is now %s; %s", e.Counted, e.CountAs, describeChanges(e.Env))
}

// countTry counts a boot counter down, and tells the system where it is; one that cannot learn that could not end it either, and
// would be taken for one that does not come up.
func (m *machine) countTry(ctx context.Context, e *entries.Entry) error {
	switch err := m.writable(); {
	case err != nil:
		return err
	case m.own.vars.efi == nil:
		return errors.New("this machine has no EFI variables, by which the system would learn of it and end it")
	}
	v := e.Counted.Volume
	mounted, ok := v.Files.(*bootloader.MountedFiles)
	if !ok {
		var err error
		if mounted, err = m.mountVolume(ctx, v.Volume); err != nil {
			return err
		}
	}
	dir, name := path.Split(strings.TrimPrefix(e.Counted.Path, "/"))
	if err := mounted.Rename(dir+name, e.CountAs); err != nil {
		return err
	}
	if err := m.own.vars.change(e.Env); err != nil {
		return errors.Join(err, mounted.Rename(dir+e.CountAs, name))
	}
	return nil
}

// writable is nil if the LUN may be written to.
func (m *machine) writable() error {
	if m.cfg.ReadOnly || m.own.device.WriteProtected() {
		return errors.New("the LUN is not to be written to (bootlun.readonly), or write-protected")
	}
	return nil
}

// saveEnv writes what a boot loader would write when it shows its menu or starts an entry: a next_entry or LoaderEntryOneShot counts
// once.
func (m *machine) saveEnv(c console, changes []entries.EnvChange) {
	for len(changes) > 0 {
		f := changes[0].File
		here := slices.DeleteFunc(slices.Clone(changes), func(o entries.EnvChange) bool { return o.File != f })
		changes = slices.DeleteFunc(slices.Clone(changes), func(o entries.EnvChange) bool { return o.File == f })
		switch err := m.saveEnvFile(f, here); {
		case err != nil:
			m.log.Warn("what the boot loader keeps for the next boot is not written", "in", f.String(), "error", err)
		default:
			c.say("%s: %s", f, describeChanges(here))
		}
	}
}

func (m *machine) saveEnvFile(f entries.File, changes []entries.EnvChange) error {
	if f.Volume == nil {
		return m.own.vars.change(changes)
	}
	if err := m.writable(); err != nil {
		return err
	}
	block, err := f.Read(files.MaxOverwrite)
	if err != nil {
		return err
	}
	if block, err = entries.UpdateEnvBlock(block, changes); err != nil {
		return err
	}
	v, name := f.Volume.Volume, strings.TrimPrefix(f.Path, "/")
	if at, _, ok := f.Blocks(); ok {
		return files.OverwriteReserved(m.own.lun, m.own.disk, v, at, block)
	}
	if mounted, ok := f.Volume.Files.(files.Mounted); ok {
		return files.OverwriteMounted(m.own.lun, m.own.disk, v, mounted, name, block)
	}
	return files.Overwrite(m.own.lun, m.own.disk, v, name, block)
}

func describeChanges(changes []entries.EnvChange) string {
	var all []string
	for _, c := range changes {
		if c.Unset {
			all = append(all, c.Name+" is unset")
			continue
		}
		all = append(all, fmt.Sprintf("%s=%q", c.Name, c.Value))
	}
	return strings.Join(all, ", ")
}
