package main

import (
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/bootserver"
	"github.com/bootlun/bootlun/target/control"
)

// serveTargets serves the API of a server with no targets at a socket, until the
// test ends.
func serveTargets(t *testing.T, state string) (socket string) {
	t.Helper()
	m, err := control.New(control.Config{StateFile: state})
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(m.Handler(nil))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return socket
}

func TestTargetCommands(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state.yaml")
	t.Setenv("BOOTLUN_SOCKET", serveTargets(t, state))
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a secret of sixteen\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const name = "iqn.2026-11.com.example:disk"
	image, second := filepath.Join(dir, "disk.img"), filepath.Join(dir, "second.img")
	for _, tt := range []struct {
		args string
		want string // in the output, or with a ! in the error
	}{
		{"target", "no targets"},
		{"target add qin." + name, "!qin."},
		{"target add " + name + " " + image, "!truncate -s"}, // says how to make it, and leaves nothing
		{"target add " + name + " " + image + " --create 8M --alias disk --user node --secret-file " + secret, ""},
		{"target add " + name, "!already"},
		{"target add-lun " + name + " " + second + " --create 1MiB", "LUN 1"},
		{"target add-lun " + name + " " + second, "!in use"},
		{"target resize " + name + " 1 2M", "2 MiB"},
		{"target resize " + name + " 1 1M", "!--shrink"},
		{"target resize " + name + " 1 1M --shrink", "1 MiB"},
		{"target allow " + name, "!--everybody"},
		{"target allow " + name + " iqn.2026-11.com.example:*", ""},
		{"target list", name + `  "disk"  CHAP node  allows iqn.2026-11.com.example:*` + "\n  LUN 0  8 MiB  " + image},
		{"target list --json", `"chapUsers": [`},
		{"target list --format iet-volume", "tid:1 name:" + name + "\n\tlun:0 state:0 iotype:fileio iomode:wb path:" + image + "\n"},
		{"target drain " + name, ""},
		{"target list", "DRAINING"},
		{"target resume " + name, ""},
		{"target port-group 2 asleep", "!must be one of"},
		{"target port-group 2 standby --preferred", ""},
		{"target list", "server\n  does not listen"},
		{"target list", "  port group 2  standby  preferred\n"},
		{"target list --json", `"memoryLimit": 1073741824`},
		{"target disconnect 7", "!no such session"},
		{"target trace 7 -o " + filepath.Join(dir, "trace.pcap"), "!no such session"},
		{"target remove-lun " + name + " 1", ""},
		{"target remove-lun " + name + " 1", "!no such LUN"},
		{"target chap " + name + " --off", ""},
	} {
		output, err := run(t.Context(), t, strings.Fields(tt.args)...)
		want, fails := strings.CutPrefix(tt.want, "!")
		switch {
		case fails && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("bootlun %s: error %v, want %q in it", tt.args, err, want)
		case !fails && err != nil:
			t.Errorf("bootlun %s: %v", tt.args, err)
		case !fails && !strings.Contains(output, want):
			t.Errorf("bootlun %s:\n%s\nwant %q in it", tt.args, output, want)
		}
		if strings.Contains(output, "a secret") {
			t.Errorf("bootlun %s tells the secret", tt.args)
		}
	}
	secrets := filepath.Join(dir, "secrets")
	output, err := run(t.Context(), t, "target", "import", "../../target/foreign/testdata/iet/ietd.conf", "--secrets", secrets)
	if err != nil || !strings.Contains(output, "path: /srv/boot.img") || !strings.Contains(output, "ietd.conf:12: ") || strings.Contains(output, "secret-of-node1") {
		t.Errorf("import (error %v):\n%s", err, output)
	}
	for _, file := range []string{"iet/ietd.conf", "tgt/targets.conf", "lio/saveconfig.json", "ctl/ctl.conf"} {
		output, err := run(t.Context(), t, "target", "import", "../../target/foreign/testdata/"+file, "--secrets", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		imported := filepath.Join(dir, "imported.yaml")
		yaml := "addr: 10.0.0.1/24\n" + output[strings.Index(output, "iscsi:\n"):]
		if err := os.WriteFile(imported, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := bootserver.Load(imported)
		if err != nil || len(cfg.Targets) == 0 || cfg.ISCSI.DiscoveryCHAP == nil {
			t.Errorf("%s: the server reads what it becomes as %d targets, %v:\n%s", file, len(cfg.Targets), err, yaml)
		}
	}
	written, err := os.ReadFile(filepath.Join(secrets, "iqn.2026-11.com.example_boot.secret"))
	if err != nil || string(written) != "secret-of-node1\n" {
		t.Errorf("the secret's file has %q (error %v)", written, err)
	}
	kept, err := os.ReadFile(state)
	if err != nil || !strings.Contains(string(kept), image) || strings.Contains(string(kept), second) || strings.Contains(string(kept), "a secret") {
		t.Errorf("state file (error %v):\n%s", err, kept)
	}
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v, want mode 0600", info.Mode(), err)
	}
}
