package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/bootloader/entries"
	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/initiator"
)

// The handoff to the LUN's own kernel: the LUN is read through a session of
// ours, and the Linux kernel gets one only where it must mount.

// ownKernel is what these steps add to the machine.
type ownKernel struct {
	session *initiator.Session
	path    ibft.Path // by which it goes
	device  *initiator.LUN
	disk    *lunDisk        // the same
	lun     bootloader.Disk // the same
	mounted []*bootloader.MountedFiles
	vars    variables
	menu    entries.Menu
}

// openLUN logs in by the first path that works and opens its LUN.
func openLUN(ctx context.Context, m *machine) (string, error) {
	var errs []error
	for _, p := range m.table.Paths() {
		c := m.sessionConfig(p)
		session, err := initiator.Dial(ctx, initiator.Config{
			Initiator: c.Initiator, Target: c.Target, Portal: c.Portal, CHAP: c.CHAP, Logger: m.log,
			Recovery: initiator.Recovery{Limit: m.cfg.Timeout}, // a person may take hours at a menu
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		lun, err := session.OpenLUN(ctx, c.LUN)
		if err != nil {
			errs = append(errs, err, session.Close())
			continue
		}
		m.own.session, m.own.path, m.own.device = session, p, lun
		m.own.disk = &lunDisk{lun: lun, limit: m.cfg.Timeout}
		m.own.lun = bootloader.Disk{ReaderAt: m.own.disk, Size: lun.Size(), SectorSize: lun.BlockSize(), Name: "lun"}
		return fmt.Sprintf("%s at %s, %d MiB", p.Target.Name, p.Target.Portal(), lun.Size()>>20), nil
	}
	err := errors.Join(errs...)
	if refused(err) {
		err = permanentError{err}
	}
	return "", err
}

// findEntries reads what the LUN's boot loaders are configured to start.
func findEntries(ctx context.Context, m *machine) (string, error) {
	volumes, err := m.openVolumes(ctx)
	if err != nil {
		return "", permanentError{err}
	}
	m.own.vars = variables{m.efiVars(ctx)}
	found, err := entries.Find(volumes, entries.FindOptions{EFI: hasEFI(), Variables: m.own.vars.read()})
	if err != nil {
		return "", permanentError{fmt.Errorf("%w; the LUN has %s", err, m.describeLUN())}
	}
	for _, p := range found.Problems {
		m.log.Warn("boot configuration", "error", p)
	}
	if m.cfg.Entry != "" {
		at := found.Lookup(m.cfg.Entry)
		if at < 0 {
			return "", permanentError{fmt.Errorf("bootlun.entry=%s: there is none of that name or number: %s", m.cfg.Entry, titles(found))}
		}
		found.Default = at
	}
	m.own.menu = found
	chosen := found.Entries[found.Default]
	return fmt.Sprintf("%d from %s, first %q", len(found.Entries), chosen.Source, chosen), nil
}

func hasEFI() bool {
	_, err := os.Stat("/sys/firmware/efi")
	return err == nil
}

// describeLUN says what there is, for somebody who wonders why it does not boot.
func (m *machine) describeLUN() string {
	scanned, err := m.scanLUN(m.own.lun)
	switch {
	case err != nil:
		return err.Error()
	case len(scanned) == 1 && scanned[0].Number == 0 && scanned[0].FS.Type == "" && bootloader.Overhang(m.own.lun) == 0:
		return "no partition table and no file system"
	}
	var all []string
	for _, v := range scanned {
		all = append(all, v.String())
	}
	if n := bootloader.Overhang(m.own.lun); n > 0 {
		all = append(all, fmt.Sprintf("and is cut short: its partitions go on for %d MiB beyond its end", (n+1<<20-1)>>20))
	}
	return strings.Join(all, "; ")
}

func titles(found entries.Menu) string {
	var all []string
	for i, e := range found.Entries {
		all = append(all, fmt.Sprintf("%d %q", i, e))
	}
	return strings.Join(all, ", ")
}
