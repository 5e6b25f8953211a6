package rootfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/u-root/gobusybox/src/pkg/bb"
	"github.com/u-root/gobusybox/src/pkg/golang"
)

// initPackage is PID 1 of the tiny root.
const initPackage = "github.com/bootlun/bootlun/initramfs/rootfs/tinyinit"

// buildInit builds PID 1 on its own: it is what the machine reads first from
// its new disk, and it answers to more names than a busybox command can.
func buildInit(ctx context.Context, source string) ([]byte, error) {
	return built(func(output string) error {
		_, err := goCommand(ctx, source, "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", output, initPackage)
		return err
	})
}

// buildBusybox builds one program that is all the commands. Once begun it does
// not heed ctx.
func buildBusybox(ctx context.Context, source string, commands []string, log *slog.Logger) ([]byte, error) {
	// A program that was built with -trimpath, as ours is, does not know where
	// Go is.
	goroot, err := goCommand(ctx, source, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	env := golang.Default(golang.DisableCGO(), golang.WithGOOS("linux"), golang.WithGOARCH("amd64"),
		golang.WithGOROOT(goroot), golang.WithWorkingDir(source),
		// The line editor of u-root's shell wants a terminal that answers; a
		// serial console may have none at its other end.
		golang.WithBuildTag("goshsmall"))
	return built(func(output string) error {
		err := bb.BuildBusybox(slog.NewLogLogger(log.Handler(), slog.LevelDebug), &bb.Opts{
			Env:          env,
			CommandPaths: commands,
			BinaryPath:   output,
			// The library forces a build of everything, standard library
			// included; Go's build cache knows better.
			GoBuildOpts: &golang.BuildOpts{ExtraArgs: []string{"-a=false"}},
		})
		if err != nil {
			return fmt.Errorf("build the busybox: %w", err)
		}
		return nil
	})
}

// built returns what build leaves in the file that it is given.
func built(build func(output string) error) ([]byte, error) {
	dir, err := os.MkdirTemp("", "bootlun-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	output := filepath.Join(dir, "out")
	if err := build(output); err != nil {
		return nil, err
	}
	return os.ReadFile(output)
}

// goCommand runs the go command for the machine that boots and returns what it
// prints, without the line's end.
func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%w: the tiny root is built from source; install Go (https://go.dev/dl)", err)
	case err != nil:
		return "", fmt.Errorf("go %s: %w: %s (is this inside the source tree of bootlun?)", args[0], err, strings.TrimSpace(complaints.String()))
	}
	return strings.TrimSpace(string(output)), nil
}
