package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ISNS is a running isnsd, the server of Open-iSNS.
type ISNS struct {
	// Server is its address and port.
	Server string

	t   testing.TB
	dir string
	d   *daemon
}

// ISNSFor starts an isnsd with an empty database for the length of a test, or
// skips the test. All nodes are in its default discovery domain. Settings are
// further lines of isnsd.conf, which replace the usual ones.
func ISNSFor(t testing.TB, settings ...string) *ISNS {
	t.Helper()
	Program(t, "isnsd", "open-isns-server")
	s := &ISNS{t: t, Server: "127.0.0.1:" + FreePort(t), dir: t.TempDir()}
	lines := append([]string{
		"Database = " + s.path("db"), "PIDFile = " + s.path("pid"), "ControlSocket = " + s.path("control"),
		"BindAddress = " + s.Server, "SourceName = iqn.2026-01.org.bootlun:isnsd", "Security = 0",
		"DefaultDiscoveryDomain = 1", "ESIMinInterval = 1s", "RegistrationPeriod = 10m", "SCNTimeout = 2",
	}, settings...)
	s.write("isnsd.conf", lines...)
	s.write("isnsadm.conf", "ServerAddress = "+s.Server, "SourceName = iqn.2026-01.org.bootlun:isnsadm", "Security = 0")
	s.Start()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("isnsd said:\n%s", &s.d.said)
		}
	})
	return s
}

func (s *ISNS) path(name string) string { return filepath.Join(s.dir, name) }

func (s *ISNS) write(name string, lines ...string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts the server again after Stop, with the database that it has.
func (s *ISNS) Start() {
	s.t.Helper()
	var err error
	if s.d, err = run("isnsd", "-f", "-c", s.path("isnsd.conf"), "-d", "scn", "-d", "esi"); err != nil {
		s.t.Fatal(err)
	}
	err = s.d.await(context.WithoutCancel(s.t.Context()), func() error {
		c, err := net.Dial("tcp", s.Server)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// Stop ends the server.
func (s *ISNS) Stop() { s.d.stop() }

// Forget empties the database of a server that is stopped.
func (s *ISNS) Forget() {
	s.t.Helper()
	if err := os.RemoveAll(s.path("db")); err != nil {
		s.t.Fatal(err)
	}
}

// Admin runs isnsadm, another client, and returns what it prints.
func (s *ISNS) Admin(args ...string) (string, error) {
	s.t.Helper()
	program := Program(s.t, "isnsadm", "open-isns-utils")
	out, err := exec.CommandContext(s.t.Context(), program, append([]string{"-c", s.path("isnsadm.conf")}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("isnsadm %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
