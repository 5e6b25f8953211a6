package initiator

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

const istgtTarget = "iqn.2026-01.org.bootlun:istgt"

// startISTGT starts an istgt with three targets of one disk each, as LUN 0: open,
// with CHAP, and with mutual CHAP.
func startISTGT(t *testing.T) (portal string) {
	t.Helper()
	path := program(t, "istgt", "istgt")
	if os.Geteuid() != 0 {
		t.Skip("SKIP: istgt needs root")
	}
	dir := tempDir(t)
	portal = "127.0.0.1:" + freePort(t)
	auth := filepath.Join(dir, "auth.conf")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(auth, fmt.Sprintf("[AuthGroup1]\n  Auth %q %q %q %q\n",
		alice.Name, alice.Secret.Reveal(), bob.Name, bob.Secret.Reveal()))
	conf := fmt.Sprintf(`[Global]
  NodeBase "iqn.2026-01.org.bootlun"
  PidFile %[1]s/pid
  AuthFile %[1]s/auth.conf
  MediaDirectory %[1]s
  DiscoveryAuthMethod None
  MaxSessions 16
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
`, dir, portal, freePort(t))
	for i, method := range []string{"None", "CHAP", "CHAP Mutual"} {
		conf += fmt.Sprintf(`[LogicalUnit%d]
  TargetName istgt%d
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod %s
  AuthGroup AuthGroup1
  UseDigest Auto
  UnitType Disk
  LUN0 Storage %s 16MB
`, i+1, i, method, diskFile(t, dir, fmt.Sprintf("disk%d", i)))
	}
	write(filepath.Join(dir, "istgt.conf"), conf)
	ended := daemon(t, path, "-D", "-c", filepath.Join(dir, "istgt.conf"))
	for {
		c, err := net.Dial("tcp", portal)
		if err == nil {
			c.Close()
			return portal
		}
		select {
		case <-ended:
			t.Fatal("istgt ended")
		case <-t.Context().Done():
			t.Fatal("istgt does not come up")
		default:
		}
	}
}

func TestISTGT(t *testing.T) {
	portal := startISTGT(t)
	must := iscsi.Offer{HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire}
	t.Run("discover", func(t *testing.T) {
		records, err := Discover(t.Context(), Config{Initiator: testInitiator, Portal: portal})
		if err != nil || len(records) != 3 || records[0].Addresses[0].HostPort() != portal {
			t.Errorf("%+v, %v", records, err)
		}
	})
	for _, c := range []struct {
		name   string
		target int
		chap   *iscsi.CHAPClient
		offer  iscsi.Offer
		status iscsi.LoginStatus
	}{
		{name: "open", target: 0},
		{name: "digests", target: 0, offer: must},
		{name: "several R2T", target: 0, offer: iscsi.Offer{MaxOutstandingR2T: 8, MaxBurstLength: 8192, InitialR2T: true, NoImmediateData: true}},
		{name: "CHAP", target: 1, chap: &iscsi.CHAPClient{User: alice}},
		{name: "mutual CHAP, digests", target: 2, chap: &iscsi.CHAPClient{User: alice, Target: bob}, offer: must},
		{
			name: "wrong secret", target: 1, chap: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "alice", Secret: "a wrong secret"}},
			status: iscsi.StatusAuthenticationFailed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Dial(t.Context(), Config{
				Initiator: testInitiator, Target: fmt.Sprintf("%s%d", istgtTarget, c.target), Portal: portal, CHAP: c.chap, Offer: c.offer,
			})
			if c.status != 0 {
				var refused *iscsi.LoginError
				if !errors.As(err, &refused) || refused.Status != c.status {
					t.Fatalf("err = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			luns, err := s.LUNs(t.Context())
			if err != nil || len(luns) != 1 {
				t.Errorf("LUNs %v, %v", luns, err)
			}
			exercise(t, openLUN(t, s, 0))
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
