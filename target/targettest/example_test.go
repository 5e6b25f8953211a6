package targettest_test

import (
	"net"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target/targettest"
)

// A test of an initiator, here of no more than its login.
func ExampleNewServer() {
	_ = func(t *testing.T) {
		srv := targettest.NewServer(t)

		nc, err := net.Dial("tcp", srv.Portal)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_, err = iscsi.Login(t.Context(), iscsi.NewConn(nc), iscsi.InitiatorConfig{
			InitiatorName: "iqn.2026-11.com.example:tester", TargetName: srv.Target,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Log("logged in, sessions:", len(srv.Sessions()))
	}
}
