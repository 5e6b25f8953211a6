package target_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// A disk in memory is served to initiators of one network that prove who they are.
func ExampleServer_Serve() {
	srv, err := target.New(target.Config{
		Targets: []*target.Target{{
			Name:   "iqn.2026-11.com.example:disk",
			LUNs:   []target.LUN{{Store: store.NewMemory(1 << 20)}},
			Access: &target.Access{Rules: []target.Rule{{Network: netip.MustParsePrefix("127.0.0.0/8")}}},
			CHAP:   &iscsi.CHAPServer{Users: []iscsi.CHAPUser{{Name: "node", Secret: "secret-of-node"}}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- srv.Serve(ctx, l) }()

	// Who lists, changes or announces targets does so while they are served.
	changed := srv.Changed()
	if err := srv.AddTarget(&target.Target{Name: "iqn.2026-11.com.example:empty"}); err != nil {
		log.Fatal(err)
	}
	<-changed
	for _, t := range srv.Targets() {
		fmt.Println(t.Name, len(t.LUNs), "LUNs, users", t.CHAPUsers)
	}
	stop()
	fmt.Println(errors.Is(<-ended, target.ErrServerClosed))
	// Output:
	// iqn.2026-11.com.example:disk 1 LUNs, users [node]
	// iqn.2026-11.com.example:empty 0 LUNs, users []
	// true
}
