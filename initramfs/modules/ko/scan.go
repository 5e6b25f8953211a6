package ko

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bootlun/bootlun/initramfs/modules"
)

// Scan makes an index of a modules folder, such as
// /lib/modules/6.1.0-56-cloud-amd64: of every module file below it and of what
// modules.builtin and modules.builtin.modinfo say is part of the kernel. The
// folder's name is the kernel's version. It reads every file, in parallel:
// well under a second for plain files, some tens of seconds for the 4,000
// modules of a kernel whose modules are .ko.xz.
func Scan(ctx context.Context, dir string) (*modules.Index, error) {
	x, err := scan(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("indexing the kernel modules in %s: %w", dir, err)
	}
	return x, nil
}

func scan(ctx context.Context, dir string) (*modules.Index, error) {
	builtins, err := readBuiltins(dir)
	if err != nil {
		return nil, err
	}
	files, err := findFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(files)+len(builtins) == 0 {
		return nil, errors.New("no modules there: the folder should be /lib/modules/VERSION of a kernel")
	}
	loadable, err := readAll(ctx, dir, files)
	if err != nil {
		return nil, err
	}
	x := &modules.Index{Version: filepath.Base(dir)}
	for _, m := range slices.Concat(builtins, loadable) {
		if err := x.Add(m); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// readAll reads the modules in parallel and returns them in the files' order.
func readAll(ctx context.Context, dir string, files []string) ([]*modules.Module, error) {
	found := make([]*modules.Module, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range files {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			info, err := modinfoOf(filepath.Join(dir, file))
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			found[i] = parseModinfo(info, file)
			return nil
		})
	}
	return found, group.Wait()
}

// findFiles lists the module files below dir, relative to it, in the order of
// modules.order, which says which of two drivers for one device comes first.
func findFiles(dir string) ([]string, error) {
	rank, err := readOrder(filepath.Join(dir, "modules.order"))
	if err != nil {
		return nil, err
	}
	var files []string
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && isModule(name) {
			files = append(files, name)
		}
		return err
	})
	rankOf := func(file string) int {
		if r, ok := rank[nameOf(file)]; ok {
			return r
		}
		return math.MaxInt
	}
	slices.SortFunc(files, func(a, b string) int {
		return cmp.Or(cmp.Compare(rankOf(a), rankOf(b)), cmp.Compare(a, b))
	})
	return files, err
}

func isModule(name string) bool {
	return slices.ContainsFunc(suffixes[:], func(s string) bool { return strings.HasSuffix(name, s) })
}

// readOrder reads modules.order: one file a line. It may be missing.
func readOrder(name string) (map[string]int, error) {
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	rank := make(map[string]int)
	for line := range strings.Lines(string(data)) {
		rank[nameOf(strings.TrimSpace(line))] = len(rank)
	}
	return rank, nil
}

// readBuiltins reads modules.builtin (one file name a line) and
// modules.builtin.modinfo ("module.key=value", each ended by a zero byte).
// Either may be missing: then nothing is known to be built in.
func readBuiltins(dir string) ([]*modules.Module, error) {
	var all []*modules.Module
	byName := make(map[string]*modules.Module)
	get := func(name string) *modules.Module {
		name = strings.ReplaceAll(name, "-", "_")
		m, ok := byName[name]
		if !ok {
			m = &modules.Module{Name: name}
			byName[name] = m
			all = append(all, m)
		}
		return m
	}
	names, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(names))
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), ".ko") {
			get(nameOf(lines.Text()))
		}
	}
	info, err := os.ReadFile(filepath.Join(dir, "modules.builtin.modinfo"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for entry := range strings.SplitSeq(string(info), "\x00") {
		key, value, ok := strings.Cut(entry, "=")
		name, key, dotted := strings.Cut(key, ".")
		// Dependencies inside the kernel are of no interest.
		if ok && dotted && key == "alias" {
			setField(get(name), key, value)
		}
	}
	return all, lines.Err()
}
