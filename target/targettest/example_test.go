package targettest_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target/targettest"
)

// A test of an initiator, here of no more than its login.
func ExampleNewServer() {
	test := func(t *testing.T) {
		srv := targettest.NewServer(t)

		nc, err := net.Dial("tcp", srv.Portal)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = iscsi.Login(ctx, iscsi.NewConn(nc), iscsi.InitiatorConfig{
			InitiatorName: "iqn.2026-11.com.example:tester", TargetName: srv.Target,
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("logged in, sessions:", len(srv.Sessions()))
	}
	if testing.RunTests(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "TestLogin", F: test}}) {
		fmt.Println("ok")
	}
	// Output:
	// logged in, sessions: 1
	// ok
}
