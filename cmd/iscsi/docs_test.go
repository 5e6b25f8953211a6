package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/internal/cli/clitest"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

var update = flag.Bool("update", false, "write docs/iscsi.md anew, with what the commands in it print")

const (
	docsFile   = "../../docs/iscsi.md"
	docsPortal = "192.0.2.1" // an address for documentation, of as many characters as that of loopback in its place
)

// What differs from one time to the next: identifiers that are drawn, counted or the machine's, and what is measured.
var volatile = []struct{ what, as string }{
	{`ISID [0-9a-f]{12}`, "ISID 80aaaaaa0000"},
	{`i,0x[0-9a-f]{12}`, "i,0x80aaaaaa0000"},
	{`TSIH [1-9][0-9]*`, "TSIH 1"},
	{`iqn\.2026-01\.org\.bootlun:[a-z0-9.-]+`, "iqn.2026-01.org.bootlun:host"},
	{`(?m)^ *[0-9]+\.[0-9]{6} ([<>])`, " 0.000000 $1"},
	{`[0-9]+ a second, [0-9.]+ MiB/s`, "1000 a second, 3.9 MiB/s"},
	{`[0-9]+ µs`, "1 µs"},
	{`depth 32, [0-9.]+ s`, "depth 32, 3.0 s"},
}

// masked returns a text without what is volatile.
func masked(text string) string {
	for _, v := range volatile {
		text = regexp.MustCompile(v.what).ReplaceAllString(text, v.as)
	}
	return text
}

// The commands in docs/iscsi.md print what it says they do.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	address := serveDocs(t)
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "disk.img"), docsImage(), 0o600); err != nil {
		t.Fatal(err)
	}
	rerun := clitest.Rerun{Dir: home, Shown: "/home/me", Path: clitest.ProgramDir(t, "iscsi"), Replace: []string{docsPortal, address}}
	got := rerun.Text(t, want)
	if *update && masked(got) != masked(want) {
		if err := os.WriteFile(docsFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	clitest.SameText(t, docsFile, masked(got), masked(want))
}

// serveDocs serves the page's target, a disk of 64 MiB in memory, at the usual port of an address of loopback that nobody has.
func serveDocs(t *testing.T) (address string) {
	t.Helper()
	server, err := target.New(target.Config{
		Offer: iscsi.Offer{MaxConnections: 8, ErrorRecoveryLevel: 2},
		Targets: []*target.Target{{
			Name: "iqn.2026-01.com.example:disk", LUNs: []target.LUN{{Number: 1, Store: store.NewMemory(64 << 20)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var listener net.Listener
	for _, i := range rand.Perm(8) {
		address = fmt.Sprintf("127.0.%d.1", i+2)
		if listener, err = net.Listen("tcp", address+":3260"); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return address
}

// Sessions have as many connections, and the level, that the flags ask for.
func TestSessionFlags(t *testing.T) {
	url := " iscsi://" + serveDocs(t) + "/iqn.2026-01.com.example:disk/1"
	code, out, errout := runIn(t, "", "info --connections 3 --recovery-level 2"+url)
	if code != cli.ExitOK {
		t.Fatal(errout)
	}
	for _, want := range []string{`MaxConnections +3\n`, `ErrorRecoveryLevel +2\n`, `Connections +3\n`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// docsImage is 8 MiB that are the same each time, and 24 MiB of zeros.
func docsImage() []byte {
	random := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 32<<20)
	random.Read(b[:8<<20])
	copy(b, "What is at the beginning of the disk.\n")
	return b
}

// TestMain lets the test's own program stand in for iscsi where a shell or a process of its own is needed.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "iscsi" {
		main()
	}
	os.Exit(m.Run())
}

// Every command of the program is on the page.
func TestDocsAreComplete(t *testing.T) {
	b, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range program().Commands {
		if !strings.Contains(string(b), "iscsi "+c.Name()) {
			t.Errorf("no word about %q in %s", c.Name(), docsFile)
		}
	}
}
