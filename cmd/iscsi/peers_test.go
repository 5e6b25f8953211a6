package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/iscsi/isns"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/targettest"
)

// succeed runs a command that must work, and returns what it prints.
func succeed(t *testing.T, stdin, line string) string {
	t.Helper()
	code, out, errout := runIn(t, stdin, line)
	if code != cli.ExitOK {
		t.Fatalf("iscsi %s: exit %d: %s", line, code, errout)
	}
	return out
}

// diskImage writes a file of random data with holes and zeros in it.
func diskImage(t *testing.T, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	for _, off := range []int64{0, 5<<20 + 512, size - 1<<20} {
		if _, err := f.WriteAt(data, off); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

func equalFiles(t *testing.T, a, b string) {
	t.Helper()
	x, err1 := os.ReadFile(a)
	y, err2 := os.ReadFile(b)
	if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
		t.Errorf("%s (%d bytes) and %s (%d bytes) differ; %v, %v", a, len(x), b, len(y), err1, err2)
	}
}

// onDisk returns how many bytes a file takes.
func onDisk(t *testing.T, name string) int64 {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(name, &s); err != nil {
		t.Fatal(err)
	}
	return s.Blocks * 512
}

// A disk's way to a target, back, and compared, with our target, tgt and istgt.
func TestCopyAndVerify(t *testing.T) {
	const size = 24 << 20
	for name, start := range map[string]func(t *testing.T) string{
		"ours": func(t *testing.T) string {
			return targettest.NewServer(t, targettest.Options{Store: store.NewMemory(size)}).URL
		},
		"tgt": func(t *testing.T) string {
			disk := filepath.Join(peersDir(t), "disk")
			if err := os.WriteFile(disk, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			g := peers.TGTFor(t, "127.0.0.1")
			if _, err := g.Target(testTarget, []string{disk}); err != nil {
				t.Fatal(err)
			}
			return "iscsi://" + g.Portal + "/" + testTarget + "/1"
		},
		"istgt": func(t *testing.T) string {
			dir := peersDir(t)
			disk := filepath.Join(dir, "disk")
			if err := os.WriteFile(disk, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			g := peers.ISTGTFor(t, dir, peers.ISTGTUser{Name: "a", Secret: testSecret, TargetName: "b", TargetSecret: "another secret 12"},
				peers.ISTGTDisk{Path: disk, Size: size, Auth: "None"})
			return "iscsi://" + g.Portal + "/" + peers.ISTGTName + "0/0"
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := start(t)
			image, back := diskImage(t, size), filepath.Join(t.TempDir(), "back")
			succeed(t, "", "copy "+image+" "+url)
			succeed(t, "", "verify "+url+" "+image)
			succeed(t, "", "copy "+url+" "+back)
			equalFiles(t, image, back)
			if n := onDisk(t, back); n > 8<<20 {
				t.Errorf("the copy takes %d bytes on disk, though most of it is zeros", n)
			}
			if _, err := os.Stat(back + ".progress"); err == nil {
				t.Error("the note of the copy's progress is left behind")
			}
			succeed(t, "x", "write --offset 700 "+url)
			code, out, errout := runIn(t, "", "verify "+url+" "+image)
			if code != cli.ExitFailed || !strings.Contains(out, "block 1 differs, at 512\n") || !strings.Contains(errout, "1 blocks of 512 bytes differ") {
				t.Errorf("verify after a change: exit %d, %s%s", code, out, errout)
			}
		})
	}
}

// peersDir is a folder with a name that tgtadm and istgt take.
func peersDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bootlun-iscsi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A copy that was interrupted begins again only when told so, and goes on where its note says.
func TestResume(t *testing.T) {
	const size = 24 << 20
	disk := store.NewMemory(size)
	srv := targettest.NewServer(t, targettest.Options{Store: disk})
	image := diskImage(t, size)
	succeed(t, "", "copy "+image+" "+srv.URL)
	back := filepath.Join(t.TempDir(), "back")
	part, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	part = append(part[:9<<20:9<<20], bytes.Repeat([]byte("not yet"), 1<<20)...) // what was written and not noted
	part[7] ^= 1                                                                 // what is noted is not read again
	if err := os.WriteFile(back, part, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (journal{path: back + ".progress", url: srv.URL}).write(9<<20, size); err != nil {
		t.Fatal(err)
	}
	if code, _, errout := runIn(t, "", "copy "+srv.URL+" "+back); code != cli.ExitFailed || !strings.Contains(errout, "--resume") {
		t.Errorf("a copy over an interrupted one: exit %d, %s", code, errout)
	}
	succeed(t, "", "copy --resume "+srv.URL+" "+back)
	got, err := os.ReadFile(back)
	if err != nil {
		t.Fatal(err)
	}
	got[7] ^= 1
	if want, _ := os.ReadFile(image); !bytes.Equal(got, want) {
		t.Error("the copy is not what the disk has")
	}
	for note, want := range map[string]string{
		"":   "nothing to go on with",
		"{}": "of another copy",
		"x":  "invalid character",
		fmt.Sprintf(`{"url":%q,"size":%d,"done":%d}`, srv.URL, size, size+1): "of another copy",
	} {
		os.Remove(back + ".progress")
		if note != "" {
			if err := os.WriteFile(back+".progress", []byte(note), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if code, _, errout := runIn(t, "", "copy --resume "+srv.URL+" "+back); code != cli.ExitFailed || !strings.Contains(errout, want) {
			t.Errorf("resume with the note %q: exit %d, %s", note, code, errout)
		}
	}
}

func TestBenchCommand(t *testing.T) {
	srv := targettest.NewServer(t)
	for _, kind := range []string{"randread", "read", "write", "randwrite"} {
		var r benchResult
		out := succeed(t, "", "bench --json --overwrite --time 50ms --depth 4 --kind "+kind+" "+srv.URL)
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Ops == 0 || r.P50 > r.P99 || r.P99 > r.Max || r.Kind != kind {
			t.Errorf("bench --json: %+v, %v", r, err)
		}
	}
	if out := succeed(t, "", "bench --time 20ms --depth 1 "+srv.URL); !strings.Contains(out, "depth 1") || !strings.Contains(out, "99 % within") {
		t.Errorf("bench: %s", out)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range time.Duration(1000) {
		h.add((i + 1) * time.Microsecond)
	}
	for share, want := range map[float64]time.Duration{0: time.Microsecond, 0.5: 501 * time.Microsecond, 0.99: 991 * time.Microsecond, 1: time.Millisecond} {
		if q := h.quantile(share); q < want || q > want+want/16 {
			t.Errorf("%v of all is within %v, want %v", share, q, want)
		}
	}
}

func TestCDBCommand(t *testing.T) {
	srv := targettest.NewServer(t)
	if out := succeed(t, "", "cdb "+srv.URL+" 12 00 00 00 60 00 --in 96"); !strings.Contains(out, "INQUIRY: GOOD, 96 bytes\n") || !strings.Contains(out, "00000000  00 ") {
		t.Errorf("INQUIRY: %s", out)
	}
	succeed(t, "", "cdb "+srv.URL+" 2a000000000500000100 --out "+strings.Repeat("5a", 512))
	file := filepath.Join(t.TempDir(), "block")
	if out := succeed(t, "", "cdb "+srv.URL+" 28000000000500000100 --in 512 -o "+file); !strings.Contains(out, "READ(10): GOOD, 512 bytes") {
		t.Errorf("READ: %s", out)
	}
	if got := succeed(t, "", "cdb "+srv.URL+" 28000000000500000100 --in 512 -o -"); got != strings.Repeat("Z", 512) {
		t.Errorf("READ to standard output: %q", got)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != strings.Repeat("Z", 512) {
		t.Errorf("what was written is not what is read: %q, %v", b, err)
	}
	code, out, errout := runIn(t, "", "cdb "+srv.URL+" ff0000000000")
	if code != cli.ExitFailed || !strings.Contains(out, "CHECK CONDITION") || !strings.Contains(errout, "Invalid command operation code") {
		t.Errorf("a command that nobody knows: exit %d, %s%s", code, out, errout)
	}
}

// Two initiators contend for a disk.
func TestReserve(t *testing.T) {
	srv := targettest.NewServer(t)
	a, b := srv.URL+" --initiator iqn.2026-11.com.example:a ", srv.URL+" --initiator iqn.2026-11.com.example:b "
	expect := func(line string, want ...string) {
		t.Helper()
		out := succeed(t, "", "reserve "+line)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("reserve %s: no %q in\n%s", line, w, out)
			}
		}
	}
	expect(a + "register --key 0xa")
	expect(a + "reserve --key 0xa --type we")
	expect(a, "Write Exclusive, key 0xa", "registered: key 0xa, iqn.2026-11.com.example:a,i,0x80", "holds the reservation")
	expect(b + "register --key 11")
	if code, _, errout := runIn(t, "", "reserve "+b+"release --key 12"); code != cli.ExitFailed || !strings.Contains(errout, "eserv") {
		t.Errorf("release with a wrong key: exit %d, %s", code, errout)
	}
	if code, _, errout := runIn(t, "x", "write "+b); code != cli.ExitFailed || !strings.Contains(errout, "RESERVATION CONFLICT") && !strings.Contains(errout, "reserved") {
		t.Errorf("a write of who may not: exit %d, %s", code, errout)
	}
	expect(b + "preempt --key 11 --victim 0xa --abort --type ea")
	expect(b, "Exclusive Access, key 0xb")
	expect(b + "release --key 11")
	expect(b+"unregister --key 11", "")
	expect(a + "register --key 1")
	expect(a + "clear --key 1")
	var s reservationState
	if err := json.Unmarshal([]byte(succeed(t, "", "reserve --json "+a)), &s); err != nil || s.Type != "none" || len(s.Registrations) != 0 {
		t.Errorf("after clear: %+v, %v", s, err)
	}
}

// What -v and --pcap show of a login with CHAP is all but the secrets.
func TestTrace(t *testing.T) {
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("SKIP: needs tshark (apt install tshark)")
	}
	srv := targettest.NewServer(t, targettest.Options{CHAP: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{{Name: "alice", Secret: testSecret}}}})
	file := filepath.Join(t.TempDir(), "pcap")
	code, _, errout := runIn(t, "", "read --length 512 -v --pcap "+file+" --chap-user alice --chap-secret-env SECRET -o /dev/null "+srv.URL)
	if code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, errout)
	}
	for _, want := range []string{"> Login Request", "CHAP_R=***", "TargetName=" + srv.Target, "READ(10) lba=0 blocks=1, reads 512 bytes", "< Data-In", "GOOD", "> Logout Request"} {
		if !strings.Contains(errout, want) {
			t.Errorf("-v: no %q in\n%s", want, errout)
		}
	}
	port := srv.Portal[strings.LastIndexByte(srv.Portal, ':')+1:]
	out, err := exec.CommandContext(t.Context(), path, "-r", file, "-d", "tcp.port=="+port+",iscsi", "-V").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Login Command (0x03)", "CHAP_R=****", "CHAP_N=alice", "Opcode: Read(10) (0x28)", "Logout Command (0x06)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("tshark: no %q", want)
		}
	}
	if strings.Contains(string(out), "Malformed") {
		t.Error("tshark finds something malformed")
	}
	secret := regexp.MustCompile(`CHAP_R=0x[0-9a-f]`)
	if raw, err := os.ReadFile(file); err != nil || secret.Match(raw) || secret.MatchString(errout) || t.Failed() {
		t.Errorf("the response shows (%v), or above is why; tshark says\n%s", err, out)
	}
}

// Discovery by several portals at once, and by a server of names.
func TestDiscovery(t *testing.T) {
	srv := targettest.NewServer(t)
	other := targettest.NewServer(t, targettest.Options{Config: target.Config{Targets: []*target.Target{{
		Name: "iqn.2026-11.com.example:other", LUNs: []target.LUN{{Store: store.NewMemory(1 << 20)}},
	}}}})
	out := succeed(t, "", "discover "+srv.Portal+" "+other.Portal)
	if !strings.Contains(out, srv.Portal+",1 "+srv.Target) || !strings.Contains(out, other.Portal+",1 "+other.Target) {
		t.Errorf("discover of two: %s", out)
	}
	code, out, errout := runIn(t, "", "discover "+srv.Portal+" 127.0.0.1:1")
	if code != exitNoConnection || !strings.Contains(out, srv.Target) || !strings.Contains(errout, "127.0.0.1:1") {
		t.Errorf("discover of one that is there and one that is not: exit %d, %s%s", code, out, errout)
	}
	names := peers.ISNSFor(t)
	if code, _, errout := runIn(t, "", "discover --isns "+names.Server); code != exitNothingFound {
		t.Errorf("discover of an iSNS server without targets: exit %d, %s", code, errout)
	}
	client, err := isns.Dial(t.Context(), names.Server, srv.Target)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	at := netip.MustParseAddrPort(srv.Portal)
	if _, err := client.Register(t.Context(), &isns.Entity{
		ID: "here", Portals: []isns.Portal{{Addr: at}}, Nodes: []isns.Node{{Name: srv.Target, Type: isns.TargetNode}},
	}, true); err != nil {
		t.Fatal(err)
	}
	if out := succeed(t, "", "discover --isns "+names.Server); out != srv.Portal+",1 "+srv.Target+"\n" {
		t.Errorf("discover by iSNS: %s", out)
	}
}

// What a table of firmware's boots from.
func TestFirmware(t *testing.T) {
	table := succeed(t, "", "discover --firmware ../../ibft/testdata/ipxe-chap.bin")
	for _, want := range []string{"PORTAL", "10.0.2.2:13260", "iqn.2026-01.com.example:secret-disk", "chap"} {
		if !strings.Contains(strings.ToLower(table), strings.ToLower(want)) {
			t.Errorf("discover --firmware: no %q in\n%s", want, table)
		}
	}
	var paths []firmwarePath
	if err := json.Unmarshal([]byte(succeed(t, "", "discover --json --firmware ../../ibft/testdata/ipxe-chap.bin")), &paths); err != nil || len(paths) != 1 || paths[0].CHAPName == "" {
		t.Errorf("discover --firmware --json: %+v, %v", paths, err)
	}
}
