package kexec

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/boot/kexec"
	"github.com/u-root/u-root/pkg/boot/linux"
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
	// Dir is a folder in memory (tmpfs) for as long as Load takes; "" is the folder for temporary files.
	Dir string
	// Leave is called before the jump, to end what the running kernel has open: sessions, mounts. nil is nothing.
	Leave func() error
	// Logger hears of what went another way than first tried; nil discards.
	Logger *slog.Logger
}

// Loaded is a kernel that waits to be started.
type Loaded struct {
	leave func() error
	log   *slog.Logger
}

var _ bootloader.Handoff = (*Loaded)(nil)

// Load has the running kernel take the next one: by kexec_file_load, else by kexec_load.
func Load(cfg Config) (*Loaded, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	initramfs := [][]byte{cfg.Initramfs}
	if cfg.Table != nil {
		early, err := ibft.EarlyCPIO(cfg.Table)
		if err != nil {
			return nil, fmt.Errorf("kexec: hand the table on: %w", err)
		}
		initramfs = [][]byte{early, cfg.Initramfs}
	}
	kernel, err := temporary(cfg.Dir, "kernel", cfg.Kernel)
	if err != nil {
		return nil, err
	}
	defer kernel.Close()
	ramfs, err := temporary(cfg.Dir, "initramfs", initramfs...)
	if err != nil {
		return nil, err
	}
	defer ramfs.Close()
	if err := load(kernel, ramfs, cfg); err != nil {
		return nil, fmt.Errorf("kexec: %w", err)
	}
	return &Loaded{leave: cfg.Leave, log: cfg.Logger}, nil
}

func load(kernel, ramfs *os.File, cfg Config) error {
	if info, err := ramfs.Stat(); err != nil {
		return err
	} else if info.Size() == 0 {
		ramfs = nil
	}
	fileErr := kexec.FileLoad(kernel, ramfs, cfg.Cmdline)
	if fileErr == nil {
		return nil
	}
	fileErr = fmt.Errorf("kexec_file_load: %w", explain(fileErr))
	cfg.Logger.Warn("trying kexec_load", "error", fileErr)
	if err := linux.KexecLoad(kernel, ramfs, cfg.Cmdline, nil, nil); err != nil {
		return errors.Join(fileErr, fmt.Errorf("kexec_load: %w", explain(err)))
	}
	return nil
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

// explain says what the kernel's errors mean here (kexec_load(2); for signatures Linux's kernel/kexec_file.c).
func explain(err error) error {
	reason := ""
	switch {
	case errors.Is(err, unix.ENOKEY), errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.EBADMSG):
		reason = "the running kernel does not know the key by which this one is signed, or it is not signed: netboot the distribution's own kernel, or one without CONFIG_KEXEC_SIG_FORCE"
	case errors.Is(err, unix.EPERM):
		reason = "the running kernel is locked down (Secure Boot) or kexec is switched off (kernel.kexec_load_disabled)"
	case errors.Is(err, unix.ENOEXEC):
		reason = "the running kernel does not take this file for a kernel"
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EADDRNOTAVAIL):
		reason = "there is not the memory for kernel and initramfs"
	case errors.Is(err, unix.ENOSYS):
		reason = "the running kernel is built without it"
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

// Start ends what is open and jumps. It does not return if it succeeds.
func (l *Loaded) Start() error {
	if err := l.Check(); err != nil {
		return err
	}
	if l.leave != nil {
		if err := l.leave(); err != nil {
			l.log.Warn("leaving things open", "error", err)
		}
	}
	return fmt.Errorf("kexec: reboot(2): %w", unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC))
}
