package bootserver_test

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/bootserver"
	"github.com/bootlun/bootlun/target/control"
)

// running is a server that runs on loopback from a file, for others' initiators.
type running struct {
	t      *testing.T
	dir    string
	port   string // of the first portal, 127.0.0.1
	api    *control.Client
	stop   func() // ends it, and waits
	server *bootserver.Server
}

// loopback runs a server from a file that is made of text after the settings that
// all have. In it DIR is a folder with disks a, b and c of 1, 2 and 3 MiB and the
// files NAME.secret, PORT the port of the first portal, and PORT2 a free one.
func loopback(t *testing.T, text string) *running {
	t.Helper()
	if strings.Contains(text, "[::1]") {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Skipf("SKIP: needs IPv6 on loopback: %v", err)
		}
		l.Close()
	}
	r := &running{t: t, dir: t.TempDir(), port: freePort(t)}
	for i, name := range []string{"a", "b", "c"} {
		r.write(name, string(make([]byte, (i+1)<<20)))
	}
	for _, name := range []string{"node", "backup", "target", "discovery"} {
		r.write(name+".secret", "secret-of-"+name+"\n")
	}
	text = "addr: 127.0.0.1/8\ndhcp: {disabled: true}\nhttpPort: " + freePort(t) + "\ntftpPort: " + freePort(t) +
		"\ncontrol: DIR/control.sock\n" + text
	r.configure(strings.ReplaceAll(text, "PORT2", freePort(t)))
	cfg, err := bootserver.Load(r.path())
	if err != nil {
		t.Fatal(err)
	}
	if r.server, err = bootserver.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.server.Run(ctx, new(net.ListenConfig)) }()
	stopped := false
	r.stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(r.stop)
	select {
	case <-r.server.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	r.api = control.NewClient(cfg.Control)
	t.Cleanup(r.api.Close)
	return r
}

// freePort returns a port of loopback that nobody has, nor gets as a connection's own:
// it is below those.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		l.Close()
		pc, err := net.ListenPacket("udp", "127.0.0.1:"+port)
		if err == nil {
			pc.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

func (r *running) path() string { return filepath.Join(r.dir, "serve.yaml") }

func (r *running) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// configure writes the server's file.
func (r *running) configure(text string) {
	r.t.Helper()
	r.write("serve.yaml", strings.NewReplacer("DIR", r.dir, "PORT", r.port).Replace(text))
}

// edit replaces a text in the server's file, and has it read again.
func (r *running) edit(old, next string) control.Reloaded {
	r.t.Helper()
	text, err := os.ReadFile(r.path())
	if err != nil {
		r.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		r.t.Fatalf("%q is not in the file:\n%s", old, text)
	}
	r.configure(strings.ReplaceAll(string(text), old, next))
	done, err := r.api.Reload(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

// await calls f until it reports that what is awaited is there.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !f() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s does not come to pass", what)
		}
	}
}
