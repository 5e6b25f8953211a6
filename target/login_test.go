package target_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

func TestLoginRefused(t *testing.T) {
	memory := store.NewMemory(diskSize)
	chap := &iscsi.CHAPServer{
		Users:  []iscsi.CHAPUser{{Name: "joe", Secret: "a secret of joe"}},
		Target: iscsi.CHAPUser{Name: "disk", Secret: "the disk's own one"},
	}
	addr, _ := serve(t, target.Config{Targets: []*target.Target{
		disk(memory),
		{Name: "iqn.2001-04.com.example:guarded", LUNs: []target.LUN{{Store: memory}}, CHAP: chap},
		{Name: "iqn.2001-04.com.example:private", LUNs: []target.LUN{{Store: memory}}, AllowedInitiators: []string{"iqn.2001-04.com.example:friend*"}},
	}})
	client := func(name, secret, disk string) *iscsi.CHAPClient {
		return &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: name, Secret: iscsi.Secret(secret)}, Target: iscsi.CHAPUser{Secret: iscsi.Secret(disk)}}
	}
	for name, tc := range map[string]struct {
		change loginOption
		want   iscsi.LoginStatus
	}{
		"fine":              {func(*iscsi.InitiatorConfig) {}, iscsi.StatusSuccess},
		"unknown TSIH":      {func(c *iscsi.InitiatorConfig) { c.TSIH = 77 }, iscsi.StatusSessionDoesNotExist},
		"unknown target":    {func(c *iscsi.InitiatorConfig) { c.TargetName = "iqn.2001-04.com.example:none" }, iscsi.StatusTargetNotFound},
		"not for everybody": {func(c *iscsi.InitiatorConfig) { c.TargetName = "iqn.2001-04.com.example:private" }, iscsi.StatusTargetNotFound},
		"but for friends": {func(c *iscsi.InitiatorConfig) {
			c.TargetName, c.InitiatorName = "iqn.2001-04.com.example:private", "iqn.2001-04.com.example:friend7"
		}, iscsi.StatusSuccess},
		"no proof": {func(c *iscsi.InitiatorConfig) { c.TargetName = "iqn.2001-04.com.example:guarded" }, iscsi.StatusAuthenticationFailed},
		"wrong secret": {func(c *iscsi.InitiatorConfig) {
			c.TargetName, c.CHAP = "iqn.2001-04.com.example:guarded", client("joe", "not joe's secret", "")
		}, iscsi.StatusAuthenticationFailed},
		"right secret": {func(c *iscsi.InitiatorConfig) {
			c.TargetName, c.CHAP = "iqn.2001-04.com.example:guarded", client("joe", "a secret of joe", "")
		}, iscsi.StatusSuccess},
		"mutual": {func(c *iscsi.InitiatorConfig) {
			c.TargetName, c.CHAP = "iqn.2001-04.com.example:guarded", client("joe", "a secret of joe", "the disk's own one")
		}, iscsi.StatusSuccess},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tryConnect(t, addr, tc.change)
			var refused *iscsi.LoginError
			switch {
			case tc.want == iscsi.StatusSuccess && err != nil:
				t.Fatal(err)
			case tc.want == iscsi.StatusSuccess:
				c.ready()
			case !errors.As(err, &refused) || refused.Status != tc.want:
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

// TestSecondConnection refuses to add a connection to a session that exists.
func TestSecondConnection(t *testing.T) {
	addr := serveDisk(t, store.NewMemory(diskSize))
	c := connect(t, addr, withISID(1))
	_, err := tryConnect(t, addr, withISID(1), func(cfg *iscsi.InitiatorConfig) { cfg.TSIH, cfg.CID = c.res.TSIH, 1 })
	var refused *iscsi.LoginError
	if !errors.As(err, &refused) || refused.Status != iscsi.StatusTooManyConnections {
		t.Errorf("%v, want %v", err, iscsi.StatusTooManyConnections)
	}
	c.ping()
}

func TestTooManySessions(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}, MaxSessions: 2})
	connect(t, addr, withISID(1))
	connect(t, addr, withISID(2))
	_, err := tryConnect(t, addr, withISID(3))
	var refused *iscsi.LoginError
	if !errors.As(err, &refused) || refused.Status != iscsi.StatusOutOfResources {
		t.Errorf("%v, want %v", err, iscsi.StatusOutOfResources)
	}
	if n := len(srv.Sessions()); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
	connect(t, addr, withISID(1)).ping() // in place of the first
}

// TestReinstatement logs in as a session that exists: it takes that one's place,
// whose tasks are over before the login is.
func TestReinstatement(t *testing.T) {
	g := newGated(store.NewMemory(diskSize))
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(g)}})
	old := connect(t, addr, withISID(1)).ready()
	other := connect(t, addr, withISID(2)).ready()
	p := old.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 512)
	old.send(&p, make([]byte, 512))
	<-g.entered // the write is under way

	logged := make(chan *client)
	go func() {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			close(logged)
			return
		}
		c, err := loginOn(t, nc, withISID(1))
		if err != nil {
			t.Error(err)
		}
		logged <- c
	}()
	old.expectClosed()
	select {
	case <-logged:
		t.Error("the login has not waited for the write of the session in whose place it is")
	default:
	}
	close(g.gate)
	c := <-logged
	if c == nil {
		t.FailNow()
	}
	c.ready()
	other.ping()
	if n := len(srv.Sessions()); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
	if c.res.TSIH == 0 || c.res.TSIH == old.res.TSIH || c.res.TSIH == other.res.TSIH {
		t.Errorf("TSIH %d in place of %d, beside %d", c.res.TSIH, old.res.TSIH, other.res.TSIH)
	}
}

func TestLogout(t *testing.T) {
	for name, tc := range map[string]struct {
		reason iscsi.LogoutReason
		cid    uint16
		want   iscsi.LogoutResult
	}{
		"session":    {iscsi.LogoutSession, 0, iscsi.LogoutClosed},
		"connection": {iscsi.LogoutConnection, 5, iscsi.LogoutClosed},
		"other":      {iscsi.LogoutConnection, 6, iscsi.LogoutCIDNotFound},
		"recovery":   {iscsi.LogoutRecovery, 5, iscsi.LogoutRecoveryNotSupported},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, serveDisk(t, store.NewMemory(diskSize)), func(c *iscsi.InitiatorConfig) { c.CID = 5 })
			c.send(&iscsi.LogoutRequest{Reason: tc.reason, ITT: c.itt, CID: tc.cid, CmdSN: c.cmdSN, ExpStatSN: c.exp}, nil)
			c.cmdSN++
			var p iscsi.LogoutResponse
			if c.expect(&p); p.Response != tc.want {
				t.Errorf("%v, want %v", p.Response, tc.want)
			}
			if tc.want == iscsi.LogoutClosed {
				c.expectClosed()
			} else {
				c.ping()
			}
		})
	}
}

// TestLogoutLetsGo has who waits for the answer of a logout find no reservation of
// the session's any more.
func TestLogoutLetsGo(t *testing.T) {
	addr := serveDisk(t, store.NewMemory(diskSize))
	other := connect(t, addr, withISID(2)).ready()
	for range 100 {
		c := connect(t, addr, withISID(1)).ready()
		c.good(scsi.CDB{0x16}, 0, nil)
		c.send(&iscsi.LogoutRequest{Reason: iscsi.LogoutSession, ITT: c.itt, CmdSN: c.cmdSN, ExpStatSN: c.exp}, nil)
		c.expect(&iscsi.LogoutResponse{})
		other.good(scsi.CDB{0x16}, 0, nil)
		other.good(scsi.CDB{0x17}, 0, nil)
	}
}

// TestReinstatementOfStuckSession gives up a login that would wait for a store
// that hangs, and lets one in when the store goes on.
func TestReinstatementOfStuckSession(t *testing.T) {
	g := newGated(store.NewMemory(diskSize))
	addr, _ := serve(t, target.Config{Targets: []*target.Target{disk(g)}, LoginTimeout: 100 * time.Millisecond})
	old := connect(t, addr, withISID(1)).ready()
	p := old.newCommand(transfer(scsi.OpRead10, 0, 1), 512, 0)
	old.send(&p, nil)
	<-g.entered
	if _, err := tryConnect(t, addr, withISID(1)); err == nil {
		t.Error("a login in place of a session that has not ended")
	}
	old.expectClosed()
	close(g.gate)
	for range 100 { // the old session is gone from the books, if not from the store
		if c, err := tryConnect(t, addr, withISID(1)); err == nil {
			c.ready()
			return
		}
	}
	t.Error("no login after the store went on")
}
