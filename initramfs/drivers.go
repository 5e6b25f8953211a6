package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bootlun/bootlun/initramfs/modules"
	"github.com/bootlun/bootlun/initramfs/modules/ko"
)

// driverFiles are the kernel modules of an image.
type driverFiles struct {
	modules []File   // the module files
	index   []File   // what package modules needs to know of them
	names   []string // of the modules, in loading order
}

// drivers chooses the modules and packs them.
func (cfg Config) drivers(ctx context.Context) (driverFiles, error) {
	if cfg.Kernel.Modules == "" {
		return driverFiles{}, nil
	}
	defer progress(ctx, cfg.Logger, "choosing and packing kernel modules", "kernel", cfg.Kernel.Version)()
	all, err := ko.Scan(ctx, cfg.Kernel.Modules)
	if err != nil {
		return driverFiles{}, err
	}
	chosen, err := all.Select(*cfg.Modules)
	if err != nil {
		return driverFiles{}, err
	}
	folder := path.Join("lib/modules", all.Version)
	files, err := cfg.packed(ctx, folder, chosen)
	if err != nil {
		return driverFiles{}, err
	}
	index := &modules.Index{Version: all.Version}
	d := driverFiles{modules: files}
	for _, m := range all.Subset(chosen).All() {
		if !m.Builtin() {
			packed := *m
			packed.Path = cfg.packedName(m.Path)
			m = &packed
		}
		if err := index.Add(m); err != nil {
			return driverFiles{}, err
		}
	}
	for _, m := range chosen {
		d.names = append(d.names, m.Name)
	}
	d.index = []File{{Name: path.Join(folder, modules.IndexFile), Mode: 0o644, Data: index.Encode()}}
	return d, nil
}

// packedName is what a module's file is called in the image. An image that is
// not compressed has no compressed modules either.
func (cfg Config) packedName(name string) string {
	plain, _, _ := strings.Cut(name, ".ko")
	if cfg.Compression == None {
		return plain + ".ko"
	}
	return plain + ".ko.zst"
}

// packed returns the modules as files of the image, compressed one by one, from
// the cache if they were packed before.
func (cfg Config) packed(ctx context.Context, folder string, chosen []*modules.Module) ([]File, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s modules %s %v\n", recipe, folder, cfg.Compression == None)
	for _, m := range chosen {
		data, err := os.ReadFile(cfg.moduleFile(m))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(h, "%s %x\n", m.Path, sha256.Sum256(data))
	}
	archive, err := cached(ctx, cfg.Cache, fmt.Sprintf("%x.cpio", h.Sum(nil)[:16]), func(file string) error {
		files, err := cfg.pack(ctx, folder, chosen)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := WriteArchive(&b, files); err != nil {
			return err
		}
		return os.WriteFile(file, b.Bytes(), 0o644)
	})
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		return nil, err
	}
	return readArchive(bytes.NewReader(data))
}

func (cfg Config) moduleFile(m *modules.Module) string {
	return filepath.Join(cfg.Kernel.Modules, filepath.FromSlash(m.Path))
}

// pack reads the modules and compresses each, in parallel. The kernel does not
// see how they are compressed, so it is always zstd.
func (cfg Config) pack(ctx context.Context, folder string, chosen []*modules.Module) ([]File, error) {
	compression := Zstd
	if cfg.Compression == None {
		compression = None
	}
	files := make([]File, len(chosen))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, m := range chosen {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			data, err := ko.ReadFile(cfg.moduleFile(m))
			if err != nil {
				return err
			}
			if data, err = compression.compress(data); err != nil {
				return fmt.Errorf("module %s: %w", m.Name, err)
			}
			files[i] = File{Name: path.Join(folder, cfg.packedName(m.Path)), Mode: 0o644, Data: data}
			return nil
		})
	}
	return files, group.Wait()
}
