package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ISTGTName begins the names of ISTGT's targets; a number follows.
const ISTGTName = "iqn.2026-01.org.bootlun:istgt"

// ISTGT is a running istgt.
type ISTGT struct {
	// Portal is its address and port.
	Portal string

	daemon *daemon
}

// ISTGTDisk is a target of istgt with one LUN, 0.
type ISTGTDisk struct {
	Path string
	Size int64  // bytes
	Auth string // None, CHAP or "CHAP Mutual"
}

// ISTGTUser is the CHAP user of all its targets that ask for one, and theirs.
type ISTGTUser struct{ Name, Secret, TargetName, TargetSecret string }

// StartISTGT starts an istgt whose settings it writes into dir. The caller stops
// it.
func StartISTGT(ctx context.Context, dir string, user ISTGTUser, disks ...ISTGTDisk) (*ISTGT, error) {
	path, err := find("istgt", "istgt")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	control, err := freePort()
	if err != nil {
		return nil, err
	}
	g := &ISTGT{Portal: net.JoinHostPort("127.0.0.1", port)}
	auth := fmt.Sprintf("[AuthGroup1]\n  Auth %q %q %q %q\n", user.Name, user.Secret, user.TargetName, user.TargetSecret)
	if err := os.WriteFile(filepath.Join(dir, "auth.conf"), []byte(auth), 0o600); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "istgt.conf")
	if err := os.WriteFile(conf, []byte(istgtConfig(dir, g.Portal, control, disks)), 0o600); err != nil {
		return nil, err
	}
	if g.daemon, err = start(path, "-D", "-c", conf); err != nil {
		return nil, err
	}
	err = g.daemon.await(ctx, func() error {
		c, err := net.Dial("tcp", g.Portal)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		g.Stop()
		return nil, err
	}
	return g, nil
}

// ISTGTFor starts an istgt for the length of a test, or skips the test.
func ISTGTFor(t testing.TB, dir string, user ISTGTUser, disks ...ISTGTDisk) *ISTGT {
	t.Helper()
	g, err := StartISTGT(t.Context(), dir, user, disks...)
	skipWithout(t, err)
	t.Cleanup(g.Stop)
	return g
}

func istgtConfig(dir, portal, control string, disks []ISTGTDisk) string {
	var b strings.Builder
	fmt.Fprintf(&b, `[Global]
  NodeBase "iqn.2026-01.org.bootlun"
  PidFile %[1]s/pid
  AuthFile %[1]s/auth.conf
  MediaDirectory %[1]s
  DiscoveryAuthMethod None
  MaxSessions 128
  MaxR2T 32
  MaxOutstandingR2T 16
  FirstBurstLength 65536
  MaxBurstLength 262144
  MaxRecvDataSegmentLength 65536
  InitialR2T Yes
[UnitControl]
  AuthMethod CHAP Mutual
  AuthGroup AuthGroup1
  Portal UC1 127.0.0.1:%[3]s
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 %[2]s
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
`, dir, portal, control)
	for i, d := range disks {
		fmt.Fprintf(&b, `[LogicalUnit%d]
  TargetName istgt%d
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod %s
  AuthGroup AuthGroup1
  UseDigest Auto
  UnitType Disk
  LUN0 Storage %s %dMB
`, i+1, i, d.Auth, d.Path, d.Size>>20)
	}
	return b.String()
}

// Stop ends the daemon.
func (g *ISTGT) Stop() { g.daemon.stop() }

// PID is its process's number.
func (g *ISTGT) PID() int { return g.daemon.cmd.Process.Pid }
