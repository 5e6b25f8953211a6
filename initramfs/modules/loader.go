package modules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Config says where a [Loader] finds things. The zero value is right on the
// machine itself.
type Config struct {
	// Root is the folder that holds lib/modules; default "/".
	Root string
	// Release is the running kernel's; default what uname says.
	Release string
	// Sys is where sysfs is mounted; default "/sys".
	Sys string
	// CommandLine is the file with the kernel's command line, whose words
	// "module.parameter=value" become parameters; default "/proc/cmdline". It
	// may be missing.
	CommandLine string
	// Insert puts a module file into the kernel, with its parameters. It must
	// treat a module that is there already as success. Default: the system
	// calls for that; a file that ends in .zst is decompressed first.
	Insert func(file, parameters string) error
	// Logger hears of each module loaded, at level Debug; nil discards.
	Logger *slog.Logger
}

// LoadError is a module that could not be loaded.
type LoadError struct {
	Module string // its name
	File   string // the file that was tried; empty when it did not come to that
	Err    error  // often a unix.Errno
}

// Error names the module, its file and the cause.
func (e *LoadError) Error() string {
	s := "loading kernel module " + e.Module
	if e.File != "" {
		s += " from " + e.File
	}
	return s + ": " + e.Err.Error() + hint(e.Err)
}

// Unwrap returns the cause.
func (e *LoadError) Unwrap() error { return e.Err }

// Loader loads modules into the running kernel. It may be used by several
// goroutines; they take turns.
type Loader struct {
	index      *Index
	dir        string // where the index and the modules are
	sys        string
	parameters map[string]string // by module
	insert     func(file, parameters string) error
	log        *slog.Logger

	mu    sync.Mutex
	tried map[*Module]error // nil: loaded
}

// Open returns a loader for the running kernel with the modules below
// root/lib/modules. It is [New] with nothing else set.
func Open(root string) (*Loader, error) {
	return New(Config{Root: root})
}

// New returns a loader. The error is fs.ErrNotExist if there is no index for
// the running kernel, which can still work when all it needs is built in.
func New(cfg Config) (*Loader, error) {
	release := cfg.Release
	if release == "" {
		var err error
		if release, err = kernelRelease(); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(cmp.Or(cfg.Root, "/"), "lib/modules", release)
	data, err := os.ReadFile(filepath.Join(dir, IndexFile))
	if err != nil {
		return nil, fmt.Errorf("no modules for the running kernel %s; build the image with the modules of the kernel it is booted with: %w", release, err)
	}
	index, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, IndexFile), err)
	}
	words, err := os.ReadFile(cmp.Or(cfg.CommandLine, "/proc/cmdline"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading module parameters: %w", err)
	}
	l := &Loader{
		index:      index,
		dir:        dir,
		sys:        cmp.Or(cfg.Sys, "/sys"),
		parameters: parametersOf(string(words)),
		insert:     cfg.Insert,
		log:        cfg.Logger,
		tried:      make(map[*Module]error),
	}
	if l.insert == nil {
		l.insert = insertFile
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l, nil
}

// Index returns what the loader knows of. It must not be changed.
func (l *Loader) Index() *Index { return l.index }

// Load loads a module by name, or all modules that answer to an alias, after
// what they depend on. It is no error if that is loaded or built in already.
// Of several modules that answer to an alias one must work. The error is
// [ErrNotFound] or holds a [LoadError] for each module that failed.
func (l *Loader) Load(ctx context.Context, name string) error {
	roots, err := l.index.Resolve(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.order(roots) {
		if l.tried[m] != nil {
			delete(l.tried, m) // asked for again: try again
		}
	}
	if _, err = l.load(ctx, roots); err != nil && ctx.Err() != nil {
		return err
	}
	for _, m := range roots {
		if failed, tried := l.tried[m]; m.Builtin() || tried && failed == nil {
			return nil
		}
	}
	return err
}

// LoadForDevices loads what the machine's devices ask for, until loading
// brings no new devices to light, and returns the modules loaded by this call.
// A module that fails does not keep the others from being loaded; it is
// reported once, as a [LoadError] joined to the others, and not tried again by
// later calls. Call it again when devices may have been added.
func (l *Loader) LoadForDevices(ctx context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	var errs []error
	for {
		aliases, err := readModaliases(l.sys)
		if err != nil {
			return names, errors.Join(append(errs, err)...)
		}
		var roots []*Module
		for _, alias := range aliases {
			roots = append(roots, l.index.Match(alias)...)
		}
		loaded, err := l.load(ctx, roots)
		names = append(names, loaded...)
		errs = append(errs, err)
		if len(loaded) == 0 || ctx.Err() != nil {
			return names, errors.Join(errs...)
		}
	}
}

// order returns the modules and all they need, dependencies first. Those that
// need what does not exist are among them: loadOne says so.
func (l *Loader) order(roots []*Module) []*Module {
	w := walk{index: l.index, seen: make(map[*Module]bool)}
	w.visit(roots)
	return w.order
}

// load loads the modules in order, leaving out those tried before. The error
// joins the failures of those that were to be loaded.
func (l *Loader) load(ctx context.Context, roots []*Module) (loaded []string, err error) {
	var errs []error
	for _, m := range l.order(roots) {
		if _, tried := l.tried[m]; tried {
			continue
		}
		if err := ctx.Err(); err != nil {
			return loaded, errors.Join(append(errs, &LoadError{Module: m.Name, Err: context.Cause(ctx)})...)
		}
		err := l.loadOne(m)
		l.tried[m] = err
		if err != nil {
			errs = append(errs, err)
			continue
		}
		loaded = append(loaded, m.Name)
	}
	return loaded, errors.Join(errs...)
}

// loadOne loads a module whose dependencies have been tried.
func (l *Loader) loadOne(m *Module) error {
	for _, name := range m.Depends {
		dep, ok := l.index.Lookup(name)
		if !ok {
			return &LoadError{Module: m.Name, Err: fmt.Errorf("%w: %q, which it needs", ErrNotFound, name)}
		}
		if err := l.tried[dep]; err != nil {
			return &LoadError{Module: m.Name, Err: err}
		}
	}
	file := filepath.Join(l.dir, filepath.FromSlash(m.Path))
	if err := l.insert(file, l.parameters[m.Name]); err != nil {
		return &LoadError{Module: m.Name, File: file, Err: err}
	}
	l.log.Debug("kernel module loaded", "module", m.Name)
	return nil
}

// parametersOf finds the words "module.parameter=value" of a kernel command
// line, up to "--". The kernel itself does this only for what is built in.
func parametersOf(commandLine string) map[string]string {
	parameters := make(map[string]string)
	for word := range strings.FieldsSeq(commandLine) {
		if word == "--" {
			break
		}
		left, _, _ := strings.Cut(word, "=")
		if name, _, dotted := strings.Cut(left, "."); dotted && name != "" {
			name = canonical(name)
			parameters[name] = strings.TrimSpace(parameters[name] + " " + word[len(name)+1:])
		}
	}
	return parameters
}
