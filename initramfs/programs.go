package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/gobusybox/src/pkg/golang"
	"github.com/u-root/mkuimage/uimage"
	"github.com/u-root/mkuimage/uimage/builder"
	"github.com/u-root/uio/llog"
)

// recipe is part of every cache key. It goes up when what is built changes
// while its sources do not.
const recipe = "2"

// buildTag chooses u-root's shell without a line editor: an editor wants a
// terminal that answers, and a serial console may have none at its other end.
// And an ibft without YAML, whose reader is nearly a megabyte.
const buildTag = "goshsmall,bootlun_small"

// bootSectorTag adds to that what runs a LUN's boot sector, to init alone.
const bootSectorTag = ",bootlun_int13h"

// programs are Go commands that are compiled into one part of the image.
type programs struct {
	what     string          // for messages
	packages []string        // import paths
	builder  builder.Builder // all in one busybox, or each by itself
	tags     string          // added to buildTag
	source   string          // folder in which the packages are resolved
	cache    string
	log      *slog.Logger
}

// files returns the compiled programs and the links by which they are called,
// from the cache if their sources are what they were.
func (p programs) files(ctx context.Context) ([]File, error) {
	if len(p.packages) == 0 {
		return nil, nil
	}
	env, err := goEnv(ctx, p.source)
	if err != nil {
		return nil, err
	}
	key, err := p.key(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("finding the sources of the %s: %w", p.what, err)
	}
	archive, err := cached(ctx, p.cache, key+".cpio", func(file string) error {
		defer progress(ctx, p.log, "compiling the "+p.what, "commands", len(p.packages))()
		return p.compile(ctx, env, file)
	})
	if err != nil {
		return nil, fmt.Errorf("compiling the %s: %w", p.what, err)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		return nil, err
	}
	return readArchive(bytes.NewReader(data))
}

// compile writes an archive with the programs. It cannot be interrupted.
func (p programs) compile(ctx context.Context, env goSettings, file string) error {
	tmp, err := os.MkdirTemp("", "bootlun-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	sink := llog.Sink(func(_ slog.Level, format string, v ...any) {
		p.log.DebugContext(ctx, strings.TrimSpace(fmt.Sprintf(format, v...)))
	})
	return uimage.Create(&llog.Logger{Sink: sink},
		uimage.WithEnv(golang.DisableCGO(), golang.WithGOOS("linux"), golang.WithGOROOT(env.GOROOT),
			golang.WithBuildTag(buildTag+p.tags), golang.WithWorkingDir(p.source)),
		uimage.WithCommands(buildOptions(), p.builder, p.packages...),
		uimage.WithTempDir(tmp),
		uimage.WithSkipLDD(),
		uimage.WithCPIOOutput(file))
}

// buildOptions are for a program that is small and the same wherever it is built.
func buildOptions() *golang.BuildOpts {
	return &golang.BuildOpts{EnableInlining: true, ExtraArgs: []string{
		// mkuimage would build everything anew, the standard library included.
		// The go command knows better what is up to date.
		"-a=false",
		// A commit that changes nothing in a program does not change its bytes.
		"-buildvcs=false",
	}}
}

// goSettings are what of "go env" matters here.
type goSettings struct{ GOROOT, GOVERSION, GOARCH, GOAMD64, GOFLAGS, GOEXPERIMENT string }

func goEnv(ctx context.Context, source string) (goSettings, error) {
	var env goSettings
	out, err := goCommand(ctx, source, "env", "-json")
	if err == nil {
		err = json.Unmarshal(out, &env)
	}
	return env, err
}

// goPackage is what "go list" says of a package.
type goPackage struct {
	ImportPath, Dir                     string
	Standard                            bool
	Module                              *goModule
	GoFiles, SFiles, HFiles, EmbedFiles []string
}

type goModule struct {
	Version   string
	GoVersion string
	Main      bool
	Replace   *goModule
}

// key tells two builds apart whose results may differ: by the compiler, the
// commands, the versions of the modules and the contents of the files that
// belong to no version.
func (p programs) key(ctx context.Context, env goSettings) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %T %s %+v %+v %q\n", recipe, p.builder, buildTag+p.tags, *buildOptions(), env, p.packages)
	out, err := goCommand(ctx, p.source, "list", "-m", "github.com/u-root/mkuimage", "github.com/u-root/gobusybox/src")
	if err != nil {
		return "", err
	}
	h.Write(out)
	if err := p.hashSources(ctx, h); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:16]), nil
}

// hashSources adds what the programs are compiled from.
func (p programs) hashSources(ctx context.Context, h hash.Hash) error {
	out, err := goCommand(ctx, p.source, slices.Concat([]string{
		"list", "-deps", "-tags=" + buildTag + p.tags,
		"-json=ImportPath,Dir,Standard,Module,GoFiles,SFiles,HFiles,EmbedFiles", "--",
	}, p.packages)...)
	if err != nil {
		return err
	}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg goPackage
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := pkg.hash(h); err != nil {
			return err
		}
	}
}

// hash adds what the package's contents depend on.
func (p goPackage) hash(h hash.Hash) error {
	if p.Standard {
		return nil // of the compiler's version
	}
	fmt.Fprint(h, p.ImportPath)
	if m := p.Module; m != nil {
		fmt.Fprintf(h, "@%s go%s", m.Version, m.GoVersion)
		if !m.Main && m.Replace == nil {
			fmt.Fprintln(h)
			return nil
		}
	}
	for _, name := range slices.Concat(p.GoFiles, p.SFiles, p.HFiles, p.EmbedFiles) {
		data, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(h, " %s %x", name, sha256.Sum256(data))
	}
	fmt.Fprintln(h)
	return nil
}

// goCommand runs the go command as the programs will be compiled.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w: building an image needs the Go toolchain (https://go.dev/dl)", err)
	case err != nil:
		return nil, fmt.Errorf("go %s: %w: %s (is %q inside the source tree of bootlun?)", args[0], err, lastLines(complaints.String(), 6), dir)
	}
	return out, nil
}
