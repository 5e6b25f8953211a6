package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tool is a program that this package starts, and the Debian package that has it.
type tool struct{ name, pkg string }

var (
	mmdebstrap = tool{"mmdebstrap", "mmdebstrap"}
	mke2fs     = tool{"mke2fs", "e2fsprogs"}
	grubImage  = tool{"grub-mkimage", "grub-common"}
	uidmap     = tool{"newuidmap", "uidmap"}
)

// path finds the tool. The error wraps exec.ErrNotFound and says what to
// install.
func (t tool) path() (string, error) {
	found, err := exec.LookPath(t.name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} { // not in everybody's PATH
		if err != nil {
			found, err = exec.LookPath(dir + t.name)
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s is missing: %w; install it: apt install %s", t.name, exec.ErrNotFound, t.pkg)
	}
	return found, nil
}

// run runs the tool to its end. What it says is passed on to log, and the last
// lines of it are part of the error. When ctx ends it is asked to end, and
// given time to clean up behind itself.
func (t tool) run(ctx context.Context, log *slog.Logger, env []string, args ...string) error {
	path, err := t.path()
	if err != nil {
		return err
	}
	said := &transcript{log: log.With("program", t.name)}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = said
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", t.name, ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("%s: %w; its last words:\n%s", t.name, err, said.tail())
	}
	return nil
}

// transcript is a writer that logs what a program says line by line and
// remembers the last lines.
type transcript struct {
	log  *slog.Logger
	part []byte // of a line
	last []string
}

const remembered = 15 // lines

func (t *transcript) Write(b []byte) (int, error) {
	t.part = append(t.part, b...)
	for {
		line, rest, found := bytes.Cut(t.part, []byte("\n"))
		if !found {
			return len(b), nil
		}
		t.part = rest
		t.line(strings.TrimRight(string(line), "\r "))
	}
}

func (t *transcript) line(s string) {
	if s == "" {
		return
	}
	// mmdebstrap and our scripts end a line that starts a step with dots.
	level := slog.LevelDebug
	if strings.HasSuffix(s, "...") {
		level = slog.LevelInfo
	}
	t.log.Log(context.Background(), level, strings.TrimPrefix(s, "I: "))
	t.last = append(t.last, s)
	if len(t.last) > remembered {
		t.last = t.last[1:]
	}
}

func (t *transcript) tail() string {
	t.line(string(t.part))
	if len(t.last) == 0 {
		return "    (none)"
	}
	return "    " + strings.Join(t.last, "\n    ")
}

// missing returns an error that names every one of the tools that is not there.
func missing(tools ...tool) error {
	var errs []error
	for _, t := range tools {
		if _, err := t.path(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
