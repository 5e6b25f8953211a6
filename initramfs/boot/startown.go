package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/bootlun/bootlun/bootloader/entries"
	"github.com/bootlun/bootlun/bootloader/kexec"
	"github.com/bootlun/bootlun/bootloader/menu"
	"github.com/bootlun/bootlun/ibft"
	"golang.org/x/sys/unix"
)

// startOwnKernel lets the user choose, loads what was chosen, or the next one
// that can be loaded, and jumps. It returns only if nothing could be started.
func (m *machine) startOwnKernel(ctx context.Context, c console) error {
	if m.cfg.Bench != "" {
		if err := m.bench(ctx, c); err != nil {
			m.log.Warn("nothing is measured", "error", err)
		}
	}
	choice, err := m.choose(ctx)
	if err != nil {
		return err
	}
	if m.cfg.Entry == "" {
		m.saveEnv(c, m.own.menu.Env)
	}
	var errs []error
	order := m.own.menu.Order(choice.Index)
	for i, at := range order {
		e := m.own.menu.Entries[at]
		cmdline := e.Cmdline
		if i == 0 && at == choice.Index {
			cmdline = choice.Cmdline
		}
		loaded, err := m.load(c, e, cmdline)
		if err == nil {
			m.noteStart(ctx, c, e)
			return m.jump(c, loaded, strconv.Quote(e.String()))
		}
		errs = append(errs, err)
		if m.own.disk.lost() != nil {
			break
		}
		if c.say("%s", strings.ReplaceAll(err.Error(), "\n", "; ")); i+1 < len(order) {
			c.say("trying the next entry, %q", m.own.menu.Entries[order[i+1]])
		}
	}
	return &StepError{
		Step: "kexec", Err: fmt.Errorf("none of %d entries could be started: %w", len(errs), errors.Join(errs...)),
		Remedy: "see why in the lines above; bootlun.handoff=switch_root starts the LUN's system with this kernel",
	}
}

// jump closes what is open and starts what is loaded. From here on there is
// nothing to go back to.
func (m *machine) jump(c console, loaded *kexec.Loaded, what string) error {
	err := loaded.Check()
	if err == nil {
		start := time.Now()
		detail := "all sessions"
		if err := m.leave(); err != nil {
			detail = "not confirmed: " + strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		c.result(Result{Step: "logout", Took: time.Since(start), Detail: detail})
		c.result(Result{Step: loaded.String(), Took: uptime(), Detail: fmt.Sprintf(
			"after the kernel's start, %d ms after our init's; %s takes over", time.Since(m.began).Milliseconds(), what)})
		drainConsole()
		err = loaded.Start()
	}
	return &StepError{Step: loaded.String(), Err: err, Remedy: "bootlun.handoff=switch_root starts the LUN's system with this kernel"}
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
	bar := c.bar("read")
	img, err := edited.Load(entries.LoadOptions{Limit: m.freeMemory() / copies, Progress: bar.show})
	bar.clear()
	if err != nil {
		return nil, err
	}
	read := Result{Step: "read", Took: time.Since(start)}
	read.Detail = rate(img.Size(), read.Took)
	c.result(read)
	n := next{kernel: img.Kernel, initramfs: img.Initramfs, cmdline: img.Cmdline}
	if h := e.Hypervisor; h != nil {
		n.hypervisor = &kexec.Hypervisor{Version: h.Multiboot, Image: img.Hypervisor, Cmdline: h.Cmdline, Modules: img.Modules}
	} else {
		n.lowMemory = m.wantsLowMemory(e, img.Kernel)
	}
	loaded, err := m.take(c, n)
	if err != nil {
		return nil, fmt.Errorf("load %q, %s and %v: %w", e, e.Kernel, e.Initramfs, err)
	}
	return loaded, nil
}

// copies is how often kernel and initramfs are in memory at most: as read, as
// the files that kexec takes, and as what it made of them.
const copies = 3

// next is what is to run next.
type next struct {
	kernel, initramfs []byte
	cmdline           string
	lowMemory         bool              // takes its table from there
	rebuilt           bool              // the kernel is from memory, so that its file's digest and checksum say nothing
	hypervisor        *kexec.Hypervisor // that starts the kernel, if not nil
}

// take has Linux take a kernel, with the table, as the next one to run. What
// is damaged would stop the machine after the jump, so it is found before.
func (m *machine) take(c console, n next) (*kexec.Loaded, error) {
	start := time.Now()
	if err := kexec.CheckKernel(n.kernel); err != nil && !n.rebuilt {
		return nil, err
	}
	contents, err := kexec.Inspect(n.initramfs)
	switch {
	case errors.Is(err, kexec.ErrDamaged):
		return nil, err
	case err != nil || contents.Maker == kexec.Unknown || !contents.ISCSI:
		m.log.Warn("the initramfs may not find its root: it does not look like one that logs in to iSCSI by the table",
			"maker", string(contents.Maker), "iscsi", contents.ISCSI, "error", err)
	case contents.Maker == kexec.Dracut && !contents.Network:
		m.log.Warn(`the initramfs may not find its root: its dracut sets up no network by the table; add_dracutmodules+=" network-legacy " does`)
	}
	c.result(Result{Step: "check", Took: time.Since(start), Detail: "no damage seen in kernel and initramfs"})

	start = time.Now()
	raw, err := m.table.Build(ibft.BuildOptions{})
	if err != nil {
		return nil, err
	}
	line := kexec.Complete(n.cmdline, contents)
	if n.hypervisor != nil {
		n.hypervisor.Cmdline = kexec.CompleteXen(n.hypervisor.Cmdline)
	}
	loaded, err := m.kexec(kexec.Config{
		Kernel: n.kernel, Initramfs: n.initramfs, Cmdline: line, Table: raw, LowMemory: n.lowMemory, Hypervisor: n.hypervisor,
		Dir: "/run/bootlun", Logger: m.log,
	})
	if err != nil {
		return nil, err
	}
	c.result(Result{Step: "load", Took: time.Since(start), Detail: fmt.Sprintf("%s: %s", loaded.How, line)})
	return loaded, nil
}

// wantsLowMemory reports whether a kernel takes a table only from where a BIOS
// leaves it, by the configuration that distributions put beside it.
func (m *machine) wantsLowMemory(e *entries.Entry, kernel []byte) bool {
	f := entries.File{Volume: e.Kernel.Volume, Path: path.Join(path.Dir(e.Kernel.Path), "config-"+kexec.Version(kernel))}
	config, err := f.Read(1 << 20)
	switch {
	case err != nil || kexec.TakesTables(config):
		return false
	case hasEFI():
		m.log.Warn("the kernel is built without CONFIG_ACPI_TABLE_UPGRADE and takes no table on a machine with EFI", "kernel", e.Kernel.String())
		return false
	}
	return true
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
