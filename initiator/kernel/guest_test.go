//go:build linux && amd64

package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initiator/kernel/internal/scenario"
	"github.com/bootlun/bootlun/iscsi"
)

// guestTimeout is far more than the machine takes on the slowest host; it only keeps a machine that hangs from staying.
const guestTimeout = 5 * time.Minute

// TestGuest logs in through the real kernel of a virtual machine, to a real target on this host.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts a virtual machine; run without -short")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("SKIP: needs qemu-system-x86_64 (apt install qemu-system-x86)")
	}
	k := debianKernel(t)
	g := startTgt(t)
	const size = 8 << 20
	file := patternFile(t, size)
	g.target("iqn.2024-01.test:open", file, iscsi.CHAPUser{}, iscsi.CHAPUser{})
	g.target("iqn.2024-01.test:chap", file, tgtUser, iscsi.CHAPUser{})
	g.target("iqn.2024-01.test:mutual", file, tgtUser, tgtOutgoing)
	digests := g.target("iqn.2024-01.test:digests", file, iscsi.CHAPUser{}, iscsi.CHAPUser{})
	for _, key := range []string{"HeaderDigest", "DataDigest"} {
		if err := g.Set(digests, key, "CRC32C"); err != nil {
			t.Fatal(err)
		}
	}

	s := scenario.Scenario{Cases: guestCases(t, g)}
	daemon, err := iscsidRecords(t)
	if err != nil {
		t.Logf("SKIP: the case %q needs iscsid (apt install open-iscsi): %v", adoptCase, err)
		s.Cases = slices.DeleteFunc(s.Cases, func(c scenario.Case) bool { return c.Adopt })
	}
	results := runGuest(t, k, s, daemon)
	sum := firstMiB(t, file)
	for i, c := range s.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if i >= len(results) {
				t.Fatal("the machine ended before this case")
			}
			r := results[i]
			if r.Name != c.Name || r.Left != 0 {
				t.Errorf("%s: %d sessions left after the logout", r.Name, r.Left)
			}
			if want := guestErrors[c.Name]; want != "" {
				if !strings.Contains(r.Error, want) {
					t.Errorf("error %q, want %q in it", r.Error, want)
				}
				return
			}
			if r.Error != "" {
				t.Fatal(r.Error)
			}
			if r.FirstMiB != sum || r.Size != size || r.SectorSize != 512 || !strings.HasPrefix(r.Device, "/dev/sd") ||
				!strings.HasSuffix(r.Address, ":0:0:1") {
				t.Errorf("disk %s at %s: %d bytes in sectors of %d, first MiB %s", r.Device, r.Address, r.Size, r.SectorSize, r.FirstMiB)
			}
			checkAttrs(t, c, r)
		})
	}
}

const adoptCase = "adopted by iscsid"

func guestCases(t *testing.T, g *tgt) []scenario.Case {
	portal := strings.Replace(g.Portal, "127.0.0.1", "10.0.2.2", 1)
	port, err := strconv.Atoi(strings.TrimPrefix(portal, "10.0.2.2:"))
	if err != nil {
		t.Fatal(err)
	}
	to := iscsi.TargetAddress{Host: "10.0.2.2", Port: port, Tag: 1}
	redirect := serveTarget(t, "tcp4", "127.0.0.1", func(iscsi.LoginInfo) iscsi.Access {
		return iscsi.Access{Status: iscsi.StatusMovedTemporarily, Redirect: to}
	})
	redirect = strings.Replace(redirect, "127.0.0.1", "10.0.2.2", 1)
	base := scenario.Case{Target: "iqn.2024-01.test:open", Portal: portal, LUN: 1}
	with := func(name string, change func(*scenario.Case)) scenario.Case {
		c := base
		c.Name = name
		change(&c)
		return c
	}
	chap := func(c *scenario.Case) {
		c.Target, c.User, c.Secret = "iqn.2024-01.test:chap", tgtUser.Name, tgtUser.Secret.Reveal()
	}
	return []scenario.Case{
		with("open", func(*scenario.Case) {}),
		with("chap", chap),
		with("mutual chap", func(c *scenario.Case) {
			chap(c)
			c.Target, c.TargetUser, c.TargetSecret = "iqn.2024-01.test:mutual", tgtOutgoing.Name, tgtOutgoing.Secret.Reveal()
		}),
		with("digests", func(c *scenario.Case) { c.Target, c.Digests = "iqn.2024-01.test:digests", true }),
		with("redirect", func(c *scenario.Case) { c.Portal = redirect }),
		with("program gone", func(c *scenario.Case) { c.Child = true }),
		with(adoptCase, func(c *scenario.Case) {
			chap(c)
			c.Target, c.TargetUser, c.TargetSecret = "iqn.2024-01.test:mutual", tgtOutgoing.Name, tgtOutgoing.Secret.Reveal()
			c.Adopt = true
		}),
		with("wrong secret", func(c *scenario.Case) { chap(c); c.Secret = "something wrong!" }),
		with("no such target", func(c *scenario.Case) { c.Target = "iqn.2024-01.test:absent" }),
		with("no such LUN", func(c *scenario.Case) { c.LUN = 5 }),
		with("no disk", func(c *scenario.Case) { c.LUN = 0 }),
		with("nobody there", func(c *scenario.Case) { c.Portal = "10.0.2.2:1" }),
	}
}

// guestErrors is what must be in the errors of the cases that fail.
var guestErrors = map[string]string{
	"wrong secret":   `refused CHAP name "alice"`,
	"no such target": "target not found",
	"no such LUN":    "check the LUN's number",
	"no disk":        "SCSI type 12",
	"nobody there":   "no target listens there",
}

// checkAttrs checks what iscsid reads when it takes a session over, and that what was negotiated is in force.
func checkAttrs(t *testing.T, c scenario.Case, r scenario.Result) {
	t.Helper()
	yes := func(b bool) string { return map[bool]string{true: "1", false: "0"}[b] }
	host, port, _ := strings.Cut(r.Portal, ":")
	persistentHost, persistentPort, _ := strings.Cut(c.Portal, ":")
	for name, want := range map[string]string{
		"session/targetname": c.Target, "session/initiatorname": "iqn.2024-01.test:guest", "session/ifacename": "default",
		"session/tpgt": "1", "session/state": "LOGGED_IN", "session/recovery_tmo": "86400", "session/fast_abort": "1",
		"session/abort_tmo": "15", "session/lu_reset_tmo": "30", "session/tgt_reset_tmo": "30", "session/erl": "0",
		"session/username": orNull(c.User), "session/password": orNull(c.Secret),
		"session/username_in": orNull(c.TargetUser), "session/password_in": orNull(c.TargetSecret),
		"session/initial_r2t": yes(r.Params.InitialR2T), "session/immediate_data": yes(r.Params.ImmediateData),
		"session/max_burst_len":         fmt.Sprint(r.Params.MaxBurstLength),
		"session/first_burst_len":       fmt.Sprint(r.Params.FirstBurstLength),
		"session/max_outstanding_r2t":   fmt.Sprint(r.Params.MaxOutstandingR2T),
		"connection/max_recv_dlength":   fmt.Sprint(r.Params.MaxRecvDataSegmentLength),
		"connection/max_xmit_dlength":   fmt.Sprint(r.Params.MaxSendDataSegmentLength),
		"connection/header_digest":      yes(c.Digests),
		"connection/data_digest":        yes(c.Digests),
		"connection/address":            host,
		"connection/port":               port,
		"connection/persistent_address": persistentHost,
		"connection/persistent_port":    persistentPort,
		"connection/ping_tmo":           "0",
		"connection/recv_tmo":           "0",
		"host/netdev":                   "eth0",
		"host/hwaddress":                guestMAC,
		"host/ipaddress":                "10.0.2.15",
	} {
		if got := r.Attrs[name]; got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

// orNull is how sysfs shows a text that may be absent.
func orNull(s string) string {
	if s == "" {
		return "(null)"
	}
	return s
}

func firstMiB(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, 1<<20); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
