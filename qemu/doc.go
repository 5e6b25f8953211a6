// Package qemu runs virtual machines: their settings as Go values, their serial console as something a program can read,
// wait for and type into, and their network as a [lan.LAN] in this process. It needs QEMU installed and no privileges.
//
// A [Machine] says what to run; its zero value is a PC with a serial console and nothing to boot. [Machine.Start] runs it
// as a [VM], which has the machine's [Console] and QMP client. The path from power-on over the network is then:
//
//	l, err := lan.New(lan.Config{})
//	server, err := l.Host(lan.HostConfig{Name: "server", Addrs: []netip.Prefix{netip.MustParsePrefix("192.168.7.1/24")}})
//	// ... DHCP on server.ListenPacket(ctx, "udp4", ":67"), HTTP on server.Listen(ctx, "tcp", ":80") ...
//	vm, err := qemu.Machine{NICs: []qemu.NIC{{LAN: l.Socket()}}}.Start(ctx)
//	_, err = vm.Console.Expect(ctx, regexp.MustCompile(`login: $`))
//	err = vm.Console.Send("root\n")
//	err = vm.Stop()
//
// Start reading at machine.go (the settings), args.go (what QEMU is told), vm.go (the process), then console.go.
package qemu
