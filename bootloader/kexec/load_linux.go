package kexec

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/ibft"
)

// Config is what to start.
type Config struct {
	// Kernel is a bzImage. Initramfs may be empty. Load reads both and keeps neither.
	Kernel, Initramfs []byte
	Cmdline           string
	// Table is an iBFT that the next kernel gets; nil is none.
	Table []byte
	// LowMemory says that the table goes where a BIOS leaves it and not before the initramfs, for kernels without
	// CONFIG_ACPI_TABLE_UPGRADE on machines without EFI.
	LowMemory bool
	// Hypervisor, if not nil, is what is started, and gets kernel and initramfs as its first modules. Then the table is in low memory.
	Hypervisor *Hypervisor
	// Dir is a folder in memory (tmpfs) for as long as Load takes; "" is the folder for temporary files.
	Dir string
	// Logger hears of what went another way than first tried; nil discards.
	Logger *slog.Logger
}

// Loaded is a kernel that waits to be started.
type Loaded struct {
	// How says by which call it was loaded and where its table is.
	How string
}

var _ bootloader.Handoff = (*Loaded)(nil)

// Load has the running kernel take the next one: by kexec_file_load, else by kexec_load, which is the only one that can put a table
// into low memory.
func Load(cfg Config) (*Loaded, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Hypervisor != nil {
		p, err := loadMultiboot(cfg)
		if err != nil {
			return nil, fmt.Errorf("kexec: kexec_load: %w", err)
		}
		return &Loaded{How: fmt.Sprintf("kexec_load by multiboot %d, the table at %#x", cfg.Hypervisor.Version, p.tableAt)}, nil
	}
	if cfg.LowMemory && cfg.Table != nil {
		at, err := loadClassic(cfg, cfg.Initramfs, cfg.Table)
		if err != nil {
			return nil, fmt.Errorf("kexec: %w", err)
		}
		return &Loaded{How: fmt.Sprintf("kexec_load, the table at %#x", at)}, nil
	}
	var early []byte
	how := "no table"
	if cfg.Table != nil {
		var err error
		if early, err = ibft.EarlyCPIO(cfg.Table); err != nil {
			return nil, fmt.Errorf("kexec: hand the table on: %w", err)
		}
		how = "the table before the initramfs"
	}
	fileErr := loadFiles(cfg, early)
	if fileErr == nil {
		return &Loaded{How: "kexec_file_load, " + how}, nil
	}
	if errors.Is(fileErr, unix.EPERM) {
		return nil, fmt.Errorf("kexec: %w", fileErr) // what forbids this call forbids the other one, whatever the kernel
	}
	cfg.Logger.Warn("trying kexec_load", "error", fileErr)
	if _, err := loadClassic(cfg, append(early, cfg.Initramfs...), nil); err != nil {
		return nil, fmt.Errorf("kexec: %w", errors.Join(fileErr, err))
	}
	return &Loaded{How: "kexec_load, " + how}, nil
}

// loadFiles is kexec_file_load(2), with what goes before the initramfs.
func loadFiles(cfg Config, early []byte) error {
	kernel, err := temporary(cfg.Dir, "kernel", cfg.Kernel)
	if err != nil {
		return err
	}
	defer kernel.Close()
	ramfs, err := temporary(cfg.Dir, "initramfs", early, cfg.Initramfs)
	if err != nil {
		return err
	}
	defer ramfs.Close()
	flags := 0
	if len(early)+len(cfg.Initramfs) == 0 {
		flags = unix.KEXEC_FILE_NO_INITRAMFS
	}
	if err := unix.KexecFileLoad(int(kernel.Fd()), int(ramfs.Fd()), cfg.Cmdline, flags); err != nil {
		return fmt.Errorf("kexec_file_load: %w", explain(err))
	}
	return nil
}

// loadClassic is kexec_load(2), with a table in low memory unless it is nil.
func loadClassic(cfg Config, initramfs, table []byte) (tableAt uint64, err error) {
	m, err := thisMachine()
	if err != nil {
		return 0, fmt.Errorf("kexec_load: %w", err)
	}
	p, err := layOut(m, cfg.Kernel, initramfs, cfg.Cmdline, table)
	if err != nil {
		return 0, fmt.Errorf("kexec_load: %w", err)
	}
	if err := classicLoad(p); err != nil {
		return 0, fmt.Errorf("kexec_load: %w", explain(err))
	}
	return p.tableAt, nil
}

// temporary makes a file of parts that no program has open for writing, as kexec_file_load demands. Its name is gone at once.
func temporary(dir, name string, parts ...[]byte) (*os.File, error) {
	fail := func(err error) (*os.File, error) {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM) {
			err = fmt.Errorf("%w: this machine has not the memory for it", err)
		}
		return nil, fmt.Errorf("kexec: copy the %s: %w", name, err)
	}
	w, err := os.CreateTemp(dir, name+"-")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(w.Name())
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			w.Close()
			return fail(err)
		}
	}
	if err := w.Close(); err != nil {
		return fail(err)
	}
	f, err := os.Open(filepath.Clean(w.Name()))
	if err != nil {
		return fail(err)
	}
	return f, nil
}

// explain says what the kernel's errors mean here (kexec_load(2); for signatures Linux's kernel/kexec_file.c), and what to do.
func explain(err error) error {
	reason := ""
	switch {
	case errors.Is(err, unix.ENOKEY), errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.EBADMSG), errors.Is(err, unix.ENODATA):
		reason = "the running kernel wants a signature by a key that it knows, and this kernel has none: netboot the distribution's own kernel (kernel: in the server's configuration), or one without CONFIG_KEXEC_SIG_FORCE"
	case errors.Is(err, unix.EPERM):
		reason = "the running kernel is locked down (Secure Boot, lockdown=) and takes only what is signed by a key that it knows, or kexec is switched off (kernel.kexec_load_disabled): " +
			"netboot a kernel that knows the key of this one, switch Secure Boot off, or start the LUN's system with the netbooted kernel (bootlun.handoff=switch_root)"
	case errors.Is(err, unix.ENOEXEC):
		reason = "the running kernel does not take this file for a kernel"
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EADDRNOTAVAIL):
		reason = "there is not the memory for kernel and initramfs"
	case errors.Is(err, unix.ENOSYS):
		reason = "the running kernel is built without it (CONFIG_KEXEC, CONFIG_KEXEC_FILE)"
	case errors.Is(err, unix.EBUSY):
		reason = "another kexec is under way"
	case errors.Is(err, unix.EINVAL):
		reason = "the command line may be too long for this kernel"
	}
	if reason == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, reason)
}

// String is "kexec".
func (*Loaded) String() string { return "kexec" }

// Check makes sure that the kernel still has what Load gave it.
func (*Loaded) Check() error {
	state, err := os.ReadFile("/sys/kernel/kexec_loaded")
	if err == nil && !bytes.HasPrefix(state, []byte("1")) {
		err = fmt.Errorf("no kernel is loaded (%s)", strings.TrimSpace(string(state)))
	}
	if err != nil {
		return fmt.Errorf("kexec: %w", err)
	}
	return nil
}

// Start jumps. It does not return if it succeeds. What the running kernel has open, such as sessions and mounts, ends with it: the
// caller closes that before.
func (l *Loaded) Start() error {
	if err := l.Check(); err != nil {
		return err
	}
	return fmt.Errorf("kexec: reboot(2): %w", unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC))
}
