package xen

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	g := Guest{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Config: "acpi_firmware=\"/t/ibft.bin\"\n", Files: []string{"/t/ibft.bin"}}
	config, err := g.config()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(config, "\n"+g.Config) {
		t.Errorf("the guest's own lines are not there as they are:\n%s", config)
	}
	for _, want := range []string{`type="hvm"`, "memory=512\n", "mac=02:00:00:00:00:01,"} {
		if !strings.Contains(config, want) {
			t.Errorf("%s is missing:\n%s", want, config)
		}
	}
	g.Files = []string{"ibft.bin"}
	if _, err := g.config(); err == nil {
		t.Error("a file that has no full path is taken")
	}
}

func TestSeed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ibft.bin")
	if err := os.WriteFile(file, []byte("table"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := writeSeed(&b, map[string]string{dom0Path: dom0}, []string{file}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got["/"+h.Name] = string(content)
	}
	if len(got) != 2 || got[dom0Path] != dom0 || got[file] != "table" {
		t.Errorf("the archive holds %q", got)
	}
	if err := writeSeed(io.Discard, nil, []string{"/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
