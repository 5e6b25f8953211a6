package initramfs

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testCache is a folder that tests share and that outlives them, so that a
// second run is quick.
func testCache(t *testing.T) string {
	t.Helper()
	dir, err := cacheDir("")
	if err != nil {
		t.Skip("SKIP: ", err)
	}
	return filepath.Join(dir, "test")
}

// testKernel obtains Debian's kernel, once.
func testKernel(t *testing.T) Kernel {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	k, err := DebianKernel(t.Context(), KernelConfig{Dir: filepath.Join(testCache(t), "kernels"), Logger: log})
	if err != nil {
		t.Skipf("SKIP: needs Debian's kernel: %v", err)
	}
	return k
}

// lines joins its arguments as lines.
func lines(s ...string) string { return strings.Join(s, "\n") + "\n" }

func writeTestFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
