package modules

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// machine is a pretended one: a root with an index, a sysfs, and a kernel that
// notes what it is given.
type machine struct {
	t      *testing.T
	root   string
	calls  []string
	fail   map[string]error
	appear map[string][]string // by module: device ids that it brings to light
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, root: t.TempDir(), fail: make(map[string]error), appear: make(map[string][]string)}
	m.write("lib/modules/6.1.0-test/"+IndexFile, string(testIndex(t).Encode()))
	m.write("cmdline", "root=/dev/sda1 virtio-net.napi_tx=0 xfs.a=1 xfs.b=2 quiet -- xfs.c=3")
	m.write("sys/bus/pci/drivers_probe", "")
	if err := os.MkdirAll(filepath.Join(m.root, "sys/bus/empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	name = filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// plug adds a device to the machine.
func (m *machine) plug(modalias string) {
	bus, id, _ := strings.Cut(modalias, ":")
	m.write("sys/bus/"+bus+"/devices/"+id+"/modalias", modalias+"\n")
}

func (m *machine) insert(file, parameters string) error {
	rel, err := filepath.Rel(filepath.Join(m.root, "lib/modules/6.1.0-test"), file)
	if err != nil {
		return err
	}
	name := nameOfPath(rel)
	if err := m.fail[name]; err != nil {
		return err
	}
	m.calls = append(m.calls, strings.TrimSpace(name+" "+parameters))
	for _, id := range m.appear[name] {
		m.plug(id)
	}
	return nil
}

func nameOfPath(p string) string {
	return canonical(strings.TrimSuffix(filepath.Base(p), ".ko"))
}

func (m *machine) loader() *Loader {
	m.t.Helper()
	l, err := New(Config{
		Root: m.root, Release: "6.1.0-test", Sys: filepath.Join(m.root, "sys"),
		CommandLine: filepath.Join(m.root, "cmdline"), Insert: m.insert,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return l
}

func (m *machine) want(calls ...string) {
	m.t.Helper()
	if !slices.Equal(m.calls, calls) {
		m.t.Errorf("the kernel was given %q, want %q", m.calls, calls)
	}
	m.calls = nil
}

func TestLoad(t *testing.T) {
	m := newMachine(t)
	l := m.loader()
	for _, name := range []string{"virtio-net", "virtio_net", "virtio:d00000001v00001AF4", "ext4", "fs-ext4"} {
		if err := l.Load(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.want("virtio", "virtio_ring", "net_failover", "virtio_net napi_tx=0")
	if err := l.Load(t.Context(), "fs-xfs"); err != nil {
		t.Error(err)
	}
	m.want("crc32c_intel", "libcrc32c", "xfs a=1 b=2")
}

func TestLoadErrors(t *testing.T) {
	m := newMachine(t)
	m.fail["libcrc32c"] = syscall.ENOEXEC
	l := m.loader()
	var failed *LoadError
	err := l.Load(t.Context(), "xfs")
	if !errors.As(err, &failed) || !errors.Is(err, syscall.ENOEXEC) || failed.Module != "libcrc32c" {
		t.Errorf("a dependency that fails: %v", err)
	}
	for _, want := range []string{"xfs", "libcrc32c.ko", "of another kernel"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	m.want("crc32c_intel")

	delete(m.fail, "libcrc32c") // asked for again, it is tried again
	if err := l.Load(t.Context(), "xfs"); err != nil {
		t.Error(err)
	}
	m.want("libcrc32c", "xfs a=1 b=2")

	if err := l.Load(t.Context(), "zfs"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown module: %v", err)
	}
	if err := l.Load(t.Context(), "broken"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a dependency that is missing: %v", err)
	}
	m.want()
}

// A soft dependency may fail, and so may one of several answers to an alias.
func TestLoadGoesOn(t *testing.T) {
	m := newMachine(t)
	m.fail["crc32c_intel"] = syscall.ENODEV
	l := m.loader()
	if err := l.Load(t.Context(), "xfs"); err != nil {
		t.Error(err)
	}
	m.want("libcrc32c", "xfs a=1 b=2")
	if err := l.Load(t.Context(), "crc32c"); err != nil {
		t.Errorf("the other crc32c is built in: %v", err)
	}
}

func TestLoadForDevices(t *testing.T) {
	m := newMachine(t)
	m.plug("pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00")
	m.plug("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00")
	m.plug("pci:v00001234d00001111sv00001AF4sd00001100bc03sc00i00")
	m.appear["virtio_pci"] = []string{"virtio:d00000001v00001AF4"}
	m.fail["e1000"] = syscall.EIO
	l := m.loader()

	loaded, err := l.LoadForDevices(t.Context())
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "e1000") {
		t.Errorf("error %v, want that of e1000", err)
	}
	if got, want := strings.Join(loaded, " "), "virtio virtio_ring virtio_pci net_failover virtio_net"; got != want {
		t.Errorf("loaded %q, want %q", got, want)
	}
	m.want("virtio", "virtio_ring", "virtio_pci", "net_failover", "virtio_net napi_tx=0")

	if loaded, err := l.LoadForDevices(t.Context()); err != nil || len(loaded) > 0 {
		t.Errorf("again: %q, %v", loaded, err)
	}
	m.plug("cpu:type:x86,ven0000fam0006mod0003:feature:,0094,")
	if loaded, err := l.LoadForDevices(t.Context()); err != nil || strings.Join(loaded, " ") != "crc32c_intel" {
		t.Errorf("a new device: %q, %v", loaded, err)
	}
}

func TestContext(t *testing.T) {
	m := newMachine(t)
	m.plug("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := m.loader()
	if err := l.Load(ctx, "xfs"); !errors.Is(err, context.Canceled) {
		t.Errorf("Load: %v", err)
	}
	if _, err := l.LoadForDevices(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("LoadForDevices: %v", err)
	}
	m.want()
	if err := l.Load(t.Context(), "xfs"); err != nil {
		t.Errorf("what was not tried has not failed: %v", err)
	}
}

func TestNewErrors(t *testing.T) {
	m := newMachine(t)
	_, err := New(Config{Root: m.root, Release: "6.2.0"})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "6.2.0") {
		t.Errorf("another kernel: %v", err)
	}
	m.write("lib/modules/6.2.0/"+IndexFile, "rubbish")
	if _, err := New(Config{Root: m.root, Release: "6.2.0"}); err == nil || !strings.Contains(err.Error(), IndexFile) {
		t.Errorf("a broken index: %v", err)
	}
	if _, err := Open(m.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	l := m.loader()
	if err := os.RemoveAll(filepath.Join(m.root, "sys")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.LoadForDevices(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no sysfs: %v", err)
	}
}

func BenchmarkMatch(b *testing.B) {
	x := testIndex(b)
	for b.Loop() {
		x.Match("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00")
	}
}
