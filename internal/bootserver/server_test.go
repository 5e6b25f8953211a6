package bootserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/bootserver"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/qemu/lan"
	"github.com/bootlun/bootlun/target/control"
)

// configured writes testdata/serve.yaml with disks of a temporary folder, and
// loads it.
func configured(t *testing.T) (cfg bootserver.Config, dir string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("testdata/serve.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write("serve.yaml", bytes.ReplaceAll(text, []byte("DIR"), []byte(dir)))
	write("secret", []byte("secret-of-node1\n"))
	write("disk.img", bytes.Repeat([]byte("disk"), 1<<18))
	write("shared.img", bytes.Repeat([]byte("both"), 1<<18))
	write("golden.img", bytes.Repeat([]byte("gold"), 1<<18))
	if cfg, err = bootserver.Load(filepath.Join(dir, "serve.yaml")); err != nil {
		t.Fatal(err)
	}
	return cfg, dir
}

// serve runs a server on a LAN until the test ends and returns another host
// of that LAN.
func serve(t *testing.T, cfg bootserver.Config) *lan.Host {
	t.Helper()
	segment, err := lan.New(lan.Config{})
	if err != nil {
		t.Fatal(err)
	}
	host := func(name, addr string) *lan.Host {
		h, err := segment.Host(lan.HostConfig{Name: name, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	server, err := bootserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, host("server", "10.73.0.1/24")) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, segment.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-server.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return host("client", "10.73.0.2/24")
}

func session(ctx context.Context, t *testing.T, client *lan.Host, name string, secret iscsi.Secret) (*initiator.Session, error) {
	t.Helper()
	return initiator.Dial(ctx, initiator.Config{
		Initiator: name, Target: "iqn.2026-11.com.example:disks", Portal: "10.73.0.1:3261", Dialer: client,
		CHAP: &iscsi.CHAPClient{
			User:   iscsi.CHAPUser{Name: "node1", Secret: secret},
			Target: iscsi.CHAPUser{Name: "disks", Secret: "secret-of-target"},
		},
		Offer: iscsi.Offer{HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire},
	})
}

// Our target and our initiator, over the file that an operator writes.
func TestInitiatorReadsAndWritesWhatTheFileServes(t *testing.T) {
	cfg, dir := configured(t)
	client := serve(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := session(ctx, t, client, "iqn.2026-11.com.example:node1", "secret-of-node1")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a file keeps what is written", func(t *testing.T) {
		lun := openLUN(ctx, t, s, 0)
		writeAndRead(ctx, t, lun, 4093) // not aligned to blocks
	})
	t.Run("an overlay keeps it in memory", func(t *testing.T) {
		lun := openLUN(ctx, t, s, 1)
		if lun.BlockSize() != 4096 {
			t.Errorf("block size %d, want 4096", lun.BlockSize())
		}
		writeAndRead(ctx, t, lun, 8192)
	})
	t.Run("a read-only LUN refuses it", func(t *testing.T) {
		_, err := openLUN(ctx, t, s, 2).WriteAt([]byte("x"), 0)
		if !errors.Is(err, initiator.ErrWriteProtected) {
			t.Errorf("error = %v, want ErrWriteProtected", err)
		}
	})
	t.Run("a disk of two LUNs is one", func(t *testing.T) {
		writeAndRead(ctx, t, openLUN(ctx, t, s, 3), 512)
		got := make([]byte, len(pattern()))
		if _, err := openLUN(ctx, t, s, 4).ReadAt(got, 512); err != nil || !bytes.Equal(got, pattern()) {
			t.Errorf("the other LUN has something else (error %v)", err)
		}
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	onDisk, _ := os.ReadFile(filepath.Join(dir, "disk.img"))
	golden, _ := os.ReadFile(filepath.Join(dir, "golden.img"))
	if !bytes.Contains(onDisk, pattern()) || bytes.Contains(golden, pattern()) {
		t.Error("the file has not what was written, or the overlay's base has")
	}
}

// The API of the running server: what was added lives through a reload, and the
// session that is not concerned through all of it.
func TestControlChangesWhatIsServed(t *testing.T) {
	cfg, dir := configured(t)
	client := serve(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bystander, err := session(ctx, t, client, "iqn.2026-11.com.example:node1", "secret-of-node1")
	if err != nil {
		t.Fatal(err)
	}
	c := control.NewClient(cfg.Control)
	defer c.Close()
	const added = "iqn.2026-11.com.example:added"
	if err := c.AddTarget(ctx, control.Target{Name: added}); err != nil {
		t.Fatal(err)
	}
	lun := control.LUN{Medium: control.Medium{Path: filepath.Join(dir, "new.img")}}
	if err := c.AddLUN(ctx, added, control.AddLUN{LUN: lun, Create: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := c.AddLUN(ctx, "iqn.2026-11.com.example:disks", control.AddLUN{LUN: lun}); err == nil || !strings.Contains(err.Error(), "configuration file") {
		t.Errorf("change of the file's target: %v, want an error that names the configuration file", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "serve.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("      - {number: 2,"), []byte("      - {number: 7,"), 1)
	if err := os.WriteFile(filepath.Join(dir, "serve.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Reload(ctx); err != nil || len(r.Restart) > 0 {
		t.Fatalf("reload: %v, %v", r, err)
	}
	status, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, target := range status.Targets {
		for _, l := range target.LUNs {
			got = append(got, fmt.Sprint(target.Name, " ", l.Number, " ", len(target.Sessions)))
		}
	}
	want := []string{"iqn.2026-11.com.example:disks 0 1", "iqn.2026-11.com.example:disks 1 1", "iqn.2026-11.com.example:disks 3 1", "iqn.2026-11.com.example:disks 4 1", "iqn.2026-11.com.example:disks 7 1", added + " 0 0"}
	if !slices.Equal(got, want) {
		t.Errorf("LUNs %q, want %q", got, want)
	}
	writeAndRead(ctx, t, openLUN(ctx, t, bystander, 0), 4096)
	var metrics strings.Builder
	if err := c.Metrics(ctx, &metrics); err != nil || !strings.Contains(metrics.String(), `bootlun_lun_size_bytes{target="`+added+`",lun="0"} 1.048576e+06`) {
		t.Errorf("metrics (error %v):\n%s", err, metrics.String())
	}
	again, err := bootserver.Load(filepath.Join(dir, "serve.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(again.TargetState); err != nil || !bytes.Contains(kept, []byte(added)) || !bytes.Contains(kept, []byte("new.img")) {
		t.Errorf("state file (error %v):\n%s", err, kept)
	}
	if err := bystander.Close(); err != nil {
		t.Error(err)
	}
}

func TestTargetRefuses(t *testing.T) {
	cfg, _ := configured(t)
	client := serve(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, tt := range []struct {
		name, initiator string
		secret          iscsi.Secret
		want            iscsi.LoginStatus
	}{
		{"a wrong secret", "iqn.2026-11.com.example:node1", "secret-of-others", iscsi.StatusAuthenticationFailed},
		{"a stranger", "iqn.2026-11.com.stranger:node1", "secret-of-node1", iscsi.StatusTargetNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := session(ctx, t, client, tt.initiator, tt.secret)
			var refused *iscsi.LoginError
			if !errors.As(err, &refused) || refused.Status != tt.want {
				t.Errorf("error = %v, want status %v", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), tt.secret.Reveal()) {
				t.Error("the error tells the secret")
			}
		})
	}
}

func openLUN(ctx context.Context, t *testing.T, s *initiator.Session, n int) *initiator.LUN {
	t.Helper()
	number, err := iscsi.MakeLUN(n)
	if err != nil {
		t.Fatal(err)
	}
	lun, err := s.OpenLUN(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	return lun
}

func pattern() []byte { return bytes.Repeat([]byte("what our initiator wrote; "), 20000) }

func writeAndRead(ctx context.Context, t *testing.T, lun *initiator.LUN, off int64) {
	t.Helper()
	if _, err := lun.WriteAt(pattern(), off); err != nil {
		t.Fatal(err)
	}
	if err := lun.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(pattern()))
	if _, err := lun.ReadAt(got, off); err != nil || !bytes.Equal(got, pattern()) {
		t.Errorf("read back something else (error %v)", err)
	}
}

func TestLoadAndNewSayWhatIsWrong(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "addr: 10.73.0.1/24\n"
	target := head + "targets:\n  - name: iqn.2026-11.com.example:disks\n    luns: [{number: 0, path: " + disk + "}]\n"
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", "addr: 10.73.0.1/24\nadress: 1\n", "adress"},
		{"no address", "targets: []\n", "addr"},
		{"no disk", "addr: 10.73.0.1/24\ntargets:\n  - name: iqn.2026-11.com.example:disks\n    luns: [{number: 0, path: /nonexistent}]\n", "LUN 0: "},
		{"no such state", target + "portGroups: [{id: 1, state: slow}]\n", "active/non-optimized"},
		{"offline", target + "portGroups: [{id: 1, state: offline}]\n", "cannot be set to offline"},
		{"no shared disk", "addr: 10.73.0.1/24\ntargets:\n  - name: iqn.2026-11.com.example:disks\n    luns: [{number: 0, disk: d}]\n", "not in disks"},
		{"a disk said twice", "addr: 10.73.0.1/24\ndisks: {d: {path: a}}\ntargets:\n  - name: iqn.2026-11.com.example:disks\n    luns: [{number: 0, disk: d, path: b}]\n", "say there"},
		{"no NBD server", "addr: 10.73.0.1/24\ntargets:\n  - name: iqn.2026-11.com.example:disks\n    luns: [{number: 0, nbd: 'nbd+unix:///?socket=/nonexistent'}]\n", "/nonexistent"},
		{"secret without name", target + "    chapSecret: twelve-chars\n", "a CHAP name needs a secret"},
		{"reverse without CHAP", target + "    reverseChapName: a\n    reverseChapSecret: twelve-chars\n", "reverse CHAP needs CHAP"},
		{"two secrets", target + "    chapName: a\n    chapSecret: b\n    chapSecretFile: c\n", "not both"},
		{"near key", head + "iscsi:\n  maxConections: 4\n", `serve.yaml:3: there is no setting "maxConections": did you mean "maxConnections"?`},
		{"no time", head + "iscsi:\n  queueDepth: 4\n  nopInterval: 5\n", `serve.yaml:4: iscsi.nopInterval: "5" is no time: write it as 30s`},
		{"no size", head + "iscsi: {memoryLimit: lots}\n", "serve.yaml:2: iscsi.memoryLimit: want a number of bytes"},
		{"no port", head + "iscsi:\n  portals:\n    - {tag: 1, listen: [192.0.2.1]}\n", "serve.yaml:4: iscsi.portals[0].listen[0]: want ADDRESS:PORT"},
		{"port zero", head + "iscsi:\n  portals:\n    - {tag: 1, listen: ['192.0.2.1:0']}\n", "serve.yaml:4: iscsi.portals[0].listen: iscsi: 192.0.2.1:0 has no port"},
		{"two tags", head + "iscsi:\n  portals:\n    - {tag: 1, listen: ['192.0.2.1:1']}\n    - {tag: 1, listen: ['192.0.2.1:2']}\n", "serve.yaml:5: iscsi.portals[1].tag: "},
		{"two ports", head + "iscsiPort: 3260\niscsi: {portals: [{tag: 1, listen: ['192.0.2.1:1']}]}\n", "serve.yaml:2: iscsiPort"},
		{"too deep", head + "iscsi: {queueDepth: 9999}\n", "serve.yaml:2: iscsi.queueDepth: iscsi: 9999 cannot be: set it to 1 to 4096"},
		{"burst", head + "iscsi: {maxBurstLength: 64K, firstBurstLength: 128K}\n", "no more than maxBurstLength"},
		{"digest", head + "iscsi: {dataDigest: always}\n", "serve.yaml:2: iscsi.dataDigest: iscsi: \"always\": set it to allow, prefer or require"},
		{"discovery", head + "iscsi:\n  discoveryChap:\n    chapName: a\n", "serve.yaml:4: iscsi.discoveryChap.chapName: "},
		{"iSNS nowhere", head + "isns: {entity: a}\n", "serve.yaml:2: isns.servers: isns: name the iSNS servers"},
		{"SLP anywhere", head + "slp: {addresses: [0.0.0.0]}\n", "serve.yaml:2: slp.addresses[0]: "},
		{"not a list", head + "targets: {name: a}\n", "serve.yaml:2: targets: it cannot be this: want a list"},
		{"place of a disk", head + "targets:\n  - name: iqn.2026-11.com.example:disks\n    luns:\n      - number: 0\n        path: /nonexistent\n", "serve.yaml:6: targets[0].luns[0].path: "},
		{"place of a network", target + "    access:\n      - {network: here}\n", "serve.yaml:6: targets[0].access[0].network: "},
		{"no portal group", target + "    portalGroups: [1, 7]\n", "serve.yaml:5: targets[0].portalGroups[1]: target iqn.2026-11.com.example:disks: there is no portal group 7: "},
		{"one secret for both", target + "    chapName: a\n    chapSecret: twelve-chars\n    reverseChapName: b\n    reverseChapSecret: twelve-chars\n", "give the target another"},
		{"a secret's line", head + "targets:\n  - name: [iqn\n    chapSecret: twelve-chars\n", "serve.yaml:"},
		{"bad name", strings.ReplaceAll(target, "iqn.", "qin."), "qin.2026-11"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "serve.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := bootserver.Load(path)
			if err == nil {
				_, err = bootserver.New(cfg)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "twelve-chars") {
				t.Errorf("the error quotes a secret: %v", err)
			}
		})
	}
}
