package netboot

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/ibft"
)

const (
	kernelText    = "this is the kernel\n"
	initramfsText = "this is the initramfs\n"
	testInitiator = "iqn.2026-01.com.example:{name}"
	testRoot      = "iscsi:10.0.0.1::::iqn.2026-01.com.example:disk.{mac}"
)

var (
	testMAC  = ibft.MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	otherMAC = ibft.MAC{0x52, 0x54, 0, 0x99, 0x99, 0x99}
)

// testConfig has a kernel, loaders, and nothing else that is not needed.
func testConfig(t testing.TB) Config {
	dir := t.TempDir()
	loaders := filepath.Join(dir, "loaders")
	if err := os.Mkdir(loaders, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"kernel": kernelText, "initramfs": initramfsText,
		"loaders/undionly.kpxe": "for BIOS\n", "loaders/ipxe.efi": "for UEFI\n",
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	return Config{
		Addr:      netip.MustParsePrefix("10.0.0.1/24"),
		Boot:      Boot{Kernel: filepath.Join(dir, "kernel"), Initramfs: filepath.Join(dir, "initramfs"), Cmdline: "console=ttyS0"},
		LoaderDir: loaders,
	}
}

// withMachine adds a machine at testMAC.
func withMachine(c Config, change func(*Machine)) Config {
	m := Machine{Name: "web1", MAC: testMAC, InitiatorName: testInitiator, RootPaths: []string{testRoot}}
	if change != nil {
		change(&m)
	}
	c.Machines = append(slices.Clone(c.Machines), m)
	return c
}

func chap(m *Machine) {
	m.CHAPName, m.CHAPSecret = "web1", "secret-of-web1"
}

func newServer(t testing.TB, c Config) *Server {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// golden compares got to a file in testdata, or writes it there with UPDATE_GOLDEN=1.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		writeFile(t, path, string(got))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (UPDATE_GOLDEN=1 takes the new one):\n%s", path, got)
	}
}

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) record(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// kinds are the kinds of the events so far.
func (r *recorder) kinds() (kinds []Kind) {
	for _, e := range r.all() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
}
