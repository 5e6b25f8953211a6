package netboot

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/ibft"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/iana"
)

// message is a request as a client would send it.
func message(t testing.TB, kind dhcpv4.MessageType, mac ibft.MAC, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(mac.HardwareAddr())}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func class(s string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptClassIdentifier(s)) }

func asReply(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootReply }

func arch(a iana.Arch) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptClientArch(a)) }

func wants(codes ...uint8) dhcpv4.Modifier {
	return func(m *dhcpv4.DHCPv4) {
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionParameterRequestList, codes))
	}
}

// Requests as the clients named make them, with the options that matter here.
func asPXE(a iana.Arch) []dhcpv4.Modifier {
	return []dhcpv4.Modifier{class(fmt.Sprintf("PXEClient:Arch:%05d:UNDI:002001", a)), arch(a), wants(1, 3, 6, 12, 15, 17, 43, 60, 66, 67, 175)}
}

func asIPXE() []dhcpv4.Modifier {
	return append(asPXE(iana.INTEL_X86PC), dhcpv4.WithUserClass("iPXE", false), wants(1, 3, 6, 12, 15, 17, 43, 60, 66, 67, 175, 203))
}

func asHTTPBoot() []dhcpv4.Modifier {
	return []dhcpv4.Modifier{class("HTTPClient:Arch:00016:UNDI:003001"), arch(iana.EFI_X86_64_HTTP)}
}

func asInit() []dhcpv4.Modifier {
	return []dhcpv4.Modifier{class(VendorClass), wants(1, 3, 6, 12, 17, 43, 54, 203, 175)}
}

func asLinux() []dhcpv4.Modifier { return []dhcpv4.Modifier{wants(1, 3, 6, 12, 15, 28, 17)} }

// ask returns the answer to a DISCOVER.
func ask(t *testing.T, s *Server, mac ibft.MAC, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	r := s.answer(message(t, dhcpv4.MessageTypeDiscover, mac, mods...), time.Now())
	if r == nil || r.MessageType() != dhcpv4.MessageTypeOffer {
		t.Fatalf("answer to DISCOVER: %v", r)
	}
	return r
}

func TestBootFiles(t *testing.T) {
	const script = "http://10.0.0.1/machines/52-54-00-12-34-56/boot.ipxe"
	s := newServer(t, withMachine(testConfig(t), nil))
	for _, c := range []struct {
		name  string
		mods  []dhcpv4.Modifier
		file  string
		class string
	}{
		{"BIOS ROM", asPXE(iana.INTEL_X86PC), "loader/undionly.kpxe", ""},
		{"UEFI", asPXE(iana.EFI_X86_64), "loader/ipxe.efi", ""},
		{"UEFI, by its other number", asPXE(iana.EFI_BC), "loader/ipxe.efi", ""},
		{"processor without a loader", asPXE(iana.EFI_ARM64), "", ""},
		{"processor nobody has iPXE for", asPXE(iana.DEC_ALPHA), "", ""},
		{"UEFI HTTP boot", asHTTPBoot(), "http://10.0.0.1/loader/ipxe.efi", "HTTPClient"},
		{"iPXE", asIPXE(), script, ""},
		{"iPXE, user class as RFC 3004 has it", []dhcpv4.Modifier{dhcpv4.WithUserClass("iPXE", true)}, script, ""},
		{"iPXE, by its own options", []dhcpv4.Modifier{dhcpv4.WithGeneric(optionIPXE, []byte{1, 1, 1})}, script, ""},
		{"init", asInit(), "", ""},
		{"Linux", asLinux(), "", ""},
	} {
		r := ask(t, s, testMAC, c.mods...)
		if r.BootFileName != c.file || r.ClassIdentifier() != c.class {
			t.Errorf("%s: file %q class %q, want %q %q", c.name, r.BootFileName, r.ClassIdentifier(), c.file, c.class)
		}
		if next := fromIP(r.ServerIPAddr); next.IsValid() != (c.file != "") {
			t.Errorf("%s: next server %s", c.name, next)
		}
	}
}

func TestNothingToBoot(t *testing.T) {
	c := testConfig(t)
	c.Boot, c.LoaderDir = Boot{}, ""
	s := newServer(t, c)
	for _, mods := range [][]dhcpv4.Modifier{asIPXE(), asPXE(iana.INTEL_X86PC)} {
		if r := ask(t, s, testMAC, mods...); r.BootFileName != "" || !fromIP(r.YourIPAddr).IsValid() {
			t.Errorf("file %q, address %s", r.BootFileName, r.YourIPAddr)
		}
	}
}

func TestDiskOptions(t *testing.T) {
	const (
		first  = "iscsi:10.0.0.1::::iqn.2026-01.com.example:disk.52-54-00-12-34-56"
		second = "iscsi:10.0.0.2::3261:1:iqn.2026-01.com.example:web1"
		name   = "iqn.2026-01.com.example:web1"
	)
	c := withMachine(testConfig(t), func(m *Machine) {
		chap(m)
		m.RootPaths = append(m.RootPaths, "iscsi:10.0.0.2::3261:1:iqn.2026-01.com.example:{name}")
	})
	s := newServer(t, c)
	for _, k := range []struct {
		who             string
		mods            []dhcpv4.Modifier
		root, initiator string
	}{
		{"init", asInit(), first + " " + second, name},
		{"Linux", asLinux(), first, ""},
		{"UEFI's own initiator", asPXE(iana.EFI_X86_64), first, ""},
		{"iPXE", asIPXE(), "", ""},
		{"a client that does not ask for it", []dhcpv4.Modifier{wants(1, 3)}, "", ""},
		{"a client that asks for all", nil, first, name},
	} {
		r := ask(t, s, testMAC, k.mods...)
		if got := r.RootPath(); got != k.root {
			t.Errorf("%s: root path %q, want %q", k.who, got, k.root)
		}
		if got := string(r.Options.Get(optionInitiatorName)); got != k.initiator {
			t.Errorf("%s: initiator name %q, want %q", k.who, got, k.initiator)
		}
		if bytes.Contains(r.ToBytes(), []byte("secret-of-web1")) {
			t.Errorf("%s: the secret is in the answer", k.who)
		}
	}
}

func TestSecretsByDHCP(t *testing.T) {
	c := withMachine(testConfig(t), func(m *Machine) {
		chap(m)
		m.ReverseCHAPName, m.ReverseCHAPSecret = "target", "secret-of-target"
	})
	c.DHCP.Secrets = true
	s := newServer(t, c)
	o := make(dhcpv4.Options)
	if err := o.FromBytes(ask(t, s, testMAC, asInit()...).Options.Get(optionIPXE)); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %s %s %s", o.Get(ipxeUsername), o.Get(ipxePassword), o.Get(ipxeReverseUsername), o.Get(ipxeReversePassword))
	if got != "web1 secret-of-web1 target secret-of-target" {
		t.Errorf("option 175: %q", got)
	}
	for who, mods := range map[string][]dhcpv4.Modifier{"Linux": nil, "iPXE": asIPXE(), "PXE": asPXE(0)} {
		if bytes.Contains(ask(t, s, testMAC, mods...).ToBytes(), []byte("secret-of")) {
			t.Errorf("%s was told a secret", who)
		}
	}
}

func TestNetworkOptions(t *testing.T) {
	c := withMachine(testConfig(t), func(m *Machine) { m.IP = addr("10.0.0.77") })
	c.DHCP = DHCP{
		Router: addr("10.0.0.254"), DNS: []netip.Addr{addr("10.0.0.2"), addr("10.0.0.3")}, Domain: "example.com",
		LeaseTime: time.Hour,
	}
	s := newServer(t, c)
	r := ask(t, s, testMAC, dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, []byte("\x01id")),
		dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte("\x01\x04port")), asIPXE()[0])
	got := fmt.Sprintln(r.YourIPAddr, r.Router(), r.DNS(), r.DomainName(), r.HostName(), net.IP(r.SubnetMask()), r.BroadcastAddress(),
		r.ServerIdentifier(), r.IPAddressLeaseTime(0), string(r.Options.Get(dhcpv4.OptionClientIdentifier)))
	want := "10.0.0.77 [10.0.0.254] [10.0.0.2 10.0.0.3] example.com web1 255.255.255.0 10.0.0.255 10.0.0.1 1h0m0s \x01id\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if b := r.ToBytes(); !bytes.HasSuffix(bytes.TrimRight(b, "\x00"), []byte("\x52\x06\x01\x04port\xff")) {
		t.Errorf("relay information is not the last option: %q", b[240:])
	}
	if r := ask(t, s, testMAC, asIPXE()...); !bytes.Equal(r.Options.Get(optionIPXE), []byte{176, 1, 1}) {
		t.Errorf("iPXE would wait for a proxy: option 175 is %x", r.Options.Get(optionIPXE))
	}
}

func TestMessageSize(t *testing.T) {
	c := withMachine(testConfig(t), func(m *Machine) {
		m.RootPaths = nil
		for i := range 4 {
			m.RootPaths = append(m.RootPaths, fmt.Sprintf("iscsi:10.0.0.%d::::iqn.2026-01.com.example:%s", i+1, strings.Repeat("x", 100)))
		}
	})
	s := newServer(t, c)
	for _, k := range []struct {
		size uint16 // 0: not said
		fits bool
	}{{0, false}, {300, false}, {576, false}, {1400, true}, {65535, true}} {
		mods := asInit()
		if k.size != 0 {
			mods = append(mods, dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(k.size)))
		}
		r := ask(t, s, testMAC, mods...)
		if got := strings.Fields(r.RootPath()); len(got) == 4 != k.fits {
			t.Errorf("size %d: root paths %q", k.size, got)
		}
		if limit := max(int(k.size), 576) - 28; len(r.ToBytes()) > limit {
			t.Errorf("size %d: %d bytes", k.size, len(r.ToBytes()))
		}
		if r.HostName() != "web1" || r.SubnetMask() == nil {
			t.Errorf("size %d: small options went with the large one", k.size)
		}
	}
}

func TestRequestStates(t *testing.T) {
	c := withMachine(testConfig(t), func(m *Machine) { m.IP = addr("10.0.0.77") })
	s := newServer(t, c)
	ours := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 0, 0, 1}))
	other := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 0, 0, 9}))
	wanted := func(ip string) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(netIP(addr(ip))))
	}
	has := func(ip string) dhcpv4.Modifier { return dhcpv4.WithClientIP(netIP(addr(ip))) }
	for _, k := range []struct {
		name string
		mods []dhcpv4.Modifier
		want dhcpv4.MessageType // none: no answer
		text string
	}{
		{"takes our offer", []dhcpv4.Modifier{ours, wanted("10.0.0.77")}, dhcpv4.MessageTypeAck, ""},
		{"takes another's offer", []dhcpv4.Modifier{other, wanted("10.0.0.99")}, 0, ""},
		{"takes what was not offered", []dhcpv4.Modifier{ours, wanted("10.0.0.200")}, dhcpv4.MessageTypeNak, "10.0.0.77"},
		{"restarts with its address", []dhcpv4.Modifier{wanted("10.0.0.77")}, dhcpv4.MessageTypeAck, ""},
		{"restarts with one of another network", []dhcpv4.Modifier{wanted("192.168.1.5")}, dhcpv4.MessageTypeNak, "10.0.0.0/24"},
		{"renews", []dhcpv4.Modifier{has("10.0.0.77")}, dhcpv4.MessageTypeAck, ""},
		{"renews one that is not its own", []dhcpv4.Modifier{has("10.0.0.130")}, dhcpv4.MessageTypeNak, "10.0.0.77"},
		{"asks for nothing", nil, dhcpv4.MessageTypeNak, "no address"},
	} {
		r := s.answer(message(t, dhcpv4.MessageTypeRequest, testMAC, k.mods...), time.Now())
		switch {
		case k.want == 0:
			if r != nil {
				t.Errorf("%s: answered with %s", k.name, r.MessageType())
			}
		case r == nil || r.MessageType() != k.want:
			t.Errorf("%s: answer %v, want %s", k.name, r, k.want)
		case k.want == dhcpv4.MessageTypeAck && fromIP(r.YourIPAddr) != addr("10.0.0.77"):
			t.Errorf("%s: granted %s", k.name, r.YourIPAddr)
		case !strings.Contains(r.Message(), k.text):
			t.Errorf("%s: said %q, want %q", k.name, r.Message(), k.text)
		}
	}
}

func TestOtherMessages(t *testing.T) {
	s := newServer(t, withMachine(testConfig(t), nil))
	has := dhcpv4.WithClientIP(net.IP{10, 0, 0, 50})
	inform := s.answer(message(t, dhcpv4.MessageTypeInform, testMAC, append(asInit(), has)...), time.Now())
	if inform == nil || fromIP(inform.YourIPAddr).IsValid() || inform.RootPath() == "" ||
		inform.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
		t.Errorf("answer to INFORM: %v", inform)
	}
	for name, m := range map[string]*dhcpv4.DHCPv4{
		"INFORM from elsewhere": message(t, dhcpv4.MessageTypeInform, testMAC, dhcpv4.WithClientIP(net.IP{10, 9, 0, 50})),
		"INFORM of nobody":      message(t, dhcpv4.MessageTypeInform, testMAC),
		"a client without name": message(t, dhcpv4.MessageTypeDiscover, ibft.MAC{}),
		"BOOTP":                 message(t, dhcpv4.MessageTypeNone, testMAC),
		"an answer":             message(t, dhcpv4.MessageTypeOffer, testMAC),
		"a reply":               message(t, dhcpv4.MessageTypeDiscover, testMAC, asReply),
		"a strange relay":       message(t, dhcpv4.MessageTypeDiscover, testMAC, dhcpv4.WithGatewayIP(net.IP{10, 9, 0, 1})),
	} {
		if r := s.answer(m, time.Now()); r != nil {
			t.Errorf("%s was answered: %v", name, r)
		}
	}
	id := dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, []byte("\x00infiniband"))
	if r := ask(t, s, ibft.MAC{}, id); !fromIP(r.YourIPAddr).IsValid() {
		t.Error("a client with an identifier but no Ethernet address got nothing")
	}
}

func TestDestination(t *testing.T) {
	ack, nak := &dhcpv4.DHCPv4{Options: dhcpv4.OptionsFromList(dhcpv4.OptMessageType(dhcpv4.MessageTypeAck))},
		&dhcpv4.DHCPv4{Options: dhcpv4.OptionsFromList(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))}
	relay, client := dhcpv4.WithGatewayIP(net.IP{10, 0, 0, 2}), dhcpv4.WithClientIP(net.IP{10, 0, 0, 77})
	for _, c := range []struct {
		mods  []dhcpv4.Modifier
		reply *dhcpv4.DHCPv4
		want  string
	}{
		{nil, ack, "255.255.255.255:68"},
		{[]dhcpv4.Modifier{client}, ack, "10.0.0.77:68"},
		{[]dhcpv4.Modifier{client}, nak, "255.255.255.255:68"},
		{[]dhcpv4.Modifier{client, relay}, ack, "10.0.0.2:67"},
		{[]dhcpv4.Modifier{relay}, nak, "10.0.0.2:67"},
	} {
		if got := destination(message(t, dhcpv4.MessageTypeRequest, testMAC, c.mods...), c.reply, nil).String(); got != c.want {
			t.Errorf("%s goes to %s, want %s", c.reply.MessageType(), got, c.want)
		}
	}
}

// dhcpClient is insomniacslk's client on a host of its own.
func dhcpClient(t *testing.T, n *memNet, host string, mac ibft.MAC) *nclient4.Client {
	t.Helper()
	conn, err := n.host(host).ListenPacket(t.Context(), "udp4", "0.0.0.0:68")
	if err != nil {
		t.Fatal(err)
	}
	c, err := nclient4.NewWithConn(conn, mac.HardwareAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestLease has a real client take, renew and release an address, and lose it by doing nothing.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		c := testConfig(t)
		c.DHCP.LeaseTime = time.Hour
		c.DHCP.PoolStart, c.DHCP.PoolEnd = addr("10.0.0.10"), addr("10.0.0.10")
		c.Events = events.record
		n := newMemNet()
		run(t, newServer(t, c), n.host("10.0.0.1"))
		a, b := dhcpClient(t, n, "10.0.0.10", testMAC), dhcpClient(t, n, "10.0.0.102", otherMAC)

		lease, err := a.Request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		if lease, err = a.Renew(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute) // Still a's, since it was renewed.
		if l, err := b.Request(t.Context()); err == nil {
			t.Errorf("b got %s, which is a's", l.ACK.YourIPAddr)
		}
		if !slices.Contains(events.kinds(), DHCPExhausted) {
			t.Errorf("exhaustion was not said: %v", events.kinds())
		}
		time.Sleep(11 * time.Minute)
		if _, err := b.Request(t.Context()); err != nil {
			t.Errorf("b, after a's lease has expired: %v", err)
		}
		if _, err := a.Renew(t.Context(), lease); err == nil {
			t.Error("a renewed what is now b's")
		}
	})
}

func TestReleaseOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.DHCP.LeaseFile = filepath.Join(t.TempDir(), "leases")
		n := newMemNet()
		s := newServer(t, c)
		run(t, s, n.host("10.0.0.1"))
		client := dhcpClient(t, n, "10.0.0.101", testMAC)
		lease, err := client.Request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Release(lease); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if l := s.Leases(); len(l) != 1 || l[0].State != Released || l[0].Client != testMAC.String() {
			t.Errorf("leases %+v", l)
		}
		inUse := dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(lease.ACK.YourIPAddr))
		s.answer(message(t, dhcpv4.MessageTypeDecline, testMAC, inUse), time.Now())
		if l := newServer(t, c).Leases(); len(l) != 1 || l[0].State != Declined {
			t.Errorf("leases after a restart: %+v", l)
		}
		if again := fromIP(ask(t, s, testMAC).YourIPAddr); again == fromIP(lease.ACK.YourIPAddr) {
			t.Errorf("offered %s, which was declined", again)
		}
	})
}

// TestCrowd has 253 machines come up at once, as after a power failure, and come up again at a restarted server.
func TestCrowd(t *testing.T) {
	c := testConfig(t)
	c.DHCP.PoolStart, c.DHCP.PoolEnd = addr("10.0.0.1"), addr("10.0.0.254")
	c.DHCP.LeaseFile = filepath.Join(t.TempDir(), "leases")
	first := crowd(t, c)
	if second := crowd(t, c); !slices.Equal(first, second) {
		t.Errorf("a restart has changed addresses:\n%v\n%v", first, second)
	}
}

// crowd returns the address that each client got, having checked that no two are equal.
func crowd(t *testing.T, c Config) []netip.Addr {
	const size = 253 // all addresses of the subnet but the server's
	got := make([]netip.Addr, size)
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		run(t, newServer(t, c), n.host("10.0.0.1"))
		clients := make([]*nclient4.Client, size)
		for i := range clients {
			clients[i] = dhcpClient(t, n, fmt.Sprintf("10.0.1.%d", i), ibft.MAC{2, 0, 0, 0, 1, byte(i)})
		}
		var wg sync.WaitGroup
		for i, client := range clients {
			wg.Go(func() {
				lease, err := client.Request(t.Context(), asInit()...)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				got[i] = fromIP(lease.ACK.YourIPAddr)
			})
		}
		wg.Wait()
	})
	seen := make(map[netip.Addr]int)
	for i, ip := range got {
		if other, dup := seen[ip]; dup {
			t.Errorf("clients %d and %d have %s", i, other, ip)
		}
		seen[ip] = i
	}
	return got
}

// FuzzDHCP sends any packet to a server with every kind of machine, and reads what it answers.
func FuzzDHCP(f *testing.F) {
	for _, mods := range [][]dhcpv4.Modifier{asPXE(0), asIPXE(), asInit(), asLinux()} {
		for _, kind := range []dhcpv4.MessageType{
			dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform, dhcpv4.MessageTypeRelease,
			dhcpv4.MessageTypeDecline,
		} {
			mods := append(slices.Clone(mods), dhcpv4.WithClientIP(net.IP{10, 0, 0, 150}),
				dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IP{10, 0, 0, 150})))
			f.Add(message(f, kind, testMAC, mods...).ToBytes())
		}
	}
	c := withMachine(testConfig(f), chap)
	c.DHCP.Secrets = true
	s := newServer(f, c)
	f.Fuzz(func(t *testing.T, packet []byte) {
		request, err := dhcpv4.FromBytes(packet)
		if err != nil {
			return
		}
		reply := s.answer(request, time.Now())
		if reply == nil {
			return
		}
		b := reply.ToBytes()
		echoed := len(request.Options.Get(dhcpv4.OptionClientIdentifier)) + len(request.Options.Get(dhcpv4.OptionRelayAgentInformation))
		if len(b) > maxMessageSize+echoed {
			t.Errorf("an answer of %d bytes", len(b))
		}
		if _, err := dhcpv4.FromBytes(b); err != nil {
			t.Errorf("unreadable answer: %v", err)
		}
		destination(request, reply, nil)
		if ip := fromIP(reply.YourIPAddr); ip.IsValid() && !s.pool.dynamic(ip) {
			t.Errorf("granted %s, not in the pool", ip)
		}
	})
}

// A proxy DHCP server tells firmware what to load, gives no address, and leaves everybody else to the other server.
func TestProxy(t *testing.T) {
	c := testConfig(t)
	c.DHCP.Proxy = true
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	mac := ibft.MAC{0x52, 0x54, 0, 0, 0, 1}
	for _, tc := range []struct {
		name string
		at   func(*Server, *dhcpv4.DHCPv4, time.Time) *dhcpv4.DHCPv4
		kind dhcpv4.MessageType
		as   []dhcpv4.Modifier
		want dhcpv4.MessageType // 0: no answer
		file string
	}{
		{"iPXE looks for an address", (*Server).proxyOffer, dhcpv4.MessageTypeDiscover, asIPXE(), dhcpv4.MessageTypeOffer, "http://10.0.0.1/machines/52-54-00-00-00-01/boot.ipxe"},
		{"iPXE takes the other server's", (*Server).proxyOffer, dhcpv4.MessageTypeRequest, asIPXE(), 0, ""},
		{"iPXE asks again", (*Server).proxyAck, dhcpv4.MessageTypeRequest, asIPXE(), dhcpv4.MessageTypeAck, "http://10.0.0.1/machines/52-54-00-00-00-01/boot.ipxe"},
		{"BIOS", (*Server).proxyOffer, dhcpv4.MessageTypeDiscover, asPXE(iana.INTEL_X86PC), dhcpv4.MessageTypeOffer, "loader/undionly.kpxe"},
		{"a processor without a loader", (*Server).proxyOffer, dhcpv4.MessageTypeDiscover, asPXE(iana.EFI_ARM64), 0, ""},
		{"our init", (*Server).proxyOffer, dhcpv4.MessageTypeDiscover, asInit(), 0, ""},
		{"a system", (*Server).proxyOffer, dhcpv4.MessageTypeDiscover, nil, 0, ""},
		{"an answer", (*Server).proxyAck, dhcpv4.MessageTypeRequest, append(asIPXE(), asReply), 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := tc.at(s, message(t, tc.kind, mac, tc.as...), time.Now())
			if tc.want == 0 {
				if r != nil {
					t.Errorf("answered: %s", r.Summary())
				}
				return
			}
			if r == nil || r.MessageType() != tc.want || r.BootFileName != tc.file || !r.YourIPAddr.IsUnspecified() && r.YourIPAddr != nil {
				t.Fatalf("answer %v, want a %s with %s and no address", r, tc.want, tc.file)
			}
			if r.ClassIdentifier() != "PXEClient" || !bytes.Equal(r.Options.Get(dhcpv4.OptionVendorSpecificInformation), []byte{6, 1, 8}) {
				t.Errorf("not a proxy's: %s", r.Summary())
			}
		})
	}
	c.DHCP.Disabled = true
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "choose one") {
		t.Errorf("disabled and proxy: error %v", err)
	}
}
