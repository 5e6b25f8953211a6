package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/bootloader/entries"
	"github.com/bootlun/bootlun/bootloader/kexec"
	"github.com/bootlun/bootlun/bootloader/menu"
	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/initiator"
	"golang.org/x/sys/unix"
)

// The handoff to the LUN's own kernel: the LUN is read through a session of
// ours, and the Linux kernel gets one only where it must mount.

// ownKernel is what these steps add to the machine.
type ownKernel struct {
	session *initiator.Session
	path    ibft.Path // by which it goes
	device  *initiator.LUN
	lun     bootloader.Disk // the same
	mounted []*bootloader.MountedFiles
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
		m.own.lun = bootloader.Disk{ReaderAt: lun, Size: lun.Size(), SectorSize: lun.BlockSize(), Name: "lun"}
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
	_, efi := os.Stat("/sys/firmware/efi")
	found, err := entries.Find(volumes, entries.FindOptions{EFI: efi == nil})
	if err != nil {
		return "", permanentError{fmt.Errorf("%w; the LUN has %s", err, describe(volumes))}
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

func describe(volumes []*entries.Volume) string {
	if len(volumes) == 0 {
		return "no volume that can be read"
	}
	var all []string
	for _, v := range volumes {
		all = append(all, v.String())
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

// startOwnKernel lets the user choose, loads what was chosen, or the next one
// that can be loaded, and jumps. It returns only if nothing could be started.
func (m *machine) startOwnKernel(ctx context.Context, c console) error {
	choice, err := m.choose(ctx)
	if err != nil {
		return err
	}
	errs := []error{}
	for i, at := range m.own.menu.Order(choice.Index) {
		e := m.own.menu.Entries[at]
		cmdline := e.Cmdline
		if i == 0 && at == choice.Index {
			cmdline = choice.Cmdline
		}
		loaded, err := m.load(c, e, cmdline)
		if err == nil {
			c.result(Result{Step: loaded.String(), Took: uptime(), Detail: fmt.Sprintf("after the kernel's start; %q takes over", e)})
			drainConsole()
			err = loaded.Start()
		}
		c.say("%v; trying the next entry", err)
		errs = append(errs, err)
	}
	return &StepError{
		Step: "kexec", Err: fmt.Errorf("none of %d entries could be started: %w", len(errs), errors.Join(errs...)),
		Remedy: "see why in the lines above; bootlun.handoff=switch_root starts the LUN's system with this kernel",
	}
}

// drainConsole waits until the console has sent what was written to it: the
// next kernel sets up the serial line anew, and the rest would be lost.
func drainConsole() {
	if tty, err := os.OpenFile("/dev/console", os.O_WRONLY, 0); err == nil {
		defer tty.Close()
		unix.IoctlSetInt(int(tty.Fd()), unix.TCSBRK, 1) // tcdrain(3)
	}
}

// load reads an entry's kernel and initramfs and has Linux take them.
func (m *machine) load(c console, e *entries.Entry, cmdline string) (*kexec.Loaded, error) {
	edited := *e
	edited.Cmdline = cmdline
	start := time.Now()
	img, err := edited.Load(entries.LoadOptions{Limit: freeMemory() / 3, Progress: c.progress()})
	if err != nil {
		return nil, err
	}
	read := Result{Step: "read", Took: time.Since(start)}
	size := len(img.Kernel) + len(img.Initramfs)
	read.Detail = fmt.Sprintf("%.1f MB, %.1f MB/s", float64(size)/1e6, float64(size)/1e6/read.Took.Seconds())
	c.result(read)
	return m.take(c, img.Kernel, img.Initramfs, img.Cmdline)
}

// take has Linux take a kernel, with the table, as the next one to run.
func (m *machine) take(c console, kernel, initramfs []byte, cmdline string) (*kexec.Loaded, error) {
	start := time.Now()
	contents, err := kexec.Inspect(initramfs)
	if err != nil || contents.Maker == kexec.Unknown || !contents.ISCSI {
		m.log.Warn("the initramfs may not find its root: it does not look like one that logs in to iSCSI by the table",
			"maker", string(contents.Maker), "iscsi", contents.ISCSI, "error", err)
	}
	raw, err := m.table.Build(ibft.BuildOptions{})
	if err != nil {
		return nil, err
	}
	line := kexec.Complete(cmdline, contents.Maker)
	loaded, err := kexec.Load(kexec.Config{
		Kernel: kernel, Initramfs: initramfs, Cmdline: line, Table: raw,
		Dir: "/run/bootlun", Leave: m.leave, Logger: m.log,
	})
	if err != nil {
		return nil, err
	}
	c.result(Result{Step: "load", Took: time.Since(start), Detail: line})
	return loaded, nil
}

// leave ends sessions and mounts before the jump.
func (m *machine) leave() error {
	var errs []error
	for _, mounted := range m.own.mounted {
		errs = append(errs, mounted.Close())
	}
	for _, p := range m.paths {
		ctx, cancel := context.WithTimeout(context.Background(), lastLogout)
		errs = append(errs, p.session.Logout(ctx))
		cancel()
	}
	return errors.Join(append(errs, m.own.session.Close())...)
}

// freeMemory is what Linux says it could give, in bytes.
func freeMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// forever is how long to wait for a person whom the configuration expects, on
// a machine that may have none.
const forever = 30 * time.Second

// choose shows the menu, unless nothing is to be waited for.
func (m *machine) choose(ctx context.Context) (menu.Choice, error) {
	found := m.own.menu
	wait := found.Timeout
	if wait < 0 {
		wait = forever
	}
	if m.cfg.Entry != "" {
		wait = 0
	}
	if m.cfg.Menu != nil {
		wait = *m.cfg.Menu
	}
	first := menu.Choice{Index: found.Default, Cmdline: found.Entries[found.Default].Cmdline}
	if wait == 0 {
		return first, nil
	}
	shown := menu.Menu{Title: "bootlun: what is on this machine's LUN", Default: found.Default, Timeout: wait}
	for _, e := range found.Entries {
		i := menu.Item{Title: e.String(), Cmdline: e.Cmdline}
		if e.Err != nil {
			i.Problem = e.Err.Error()
		}
		shown.Items = append(shown.Items, i)
	}
	terminals, restore := openConsoles(m.log)
	defer restore()
	var shownOn []menu.Terminal
	for _, t := range terminals {
		shownOn = append(shownOn, t)
	}
	return shown.Choose(ctx, shownOn...)
}
