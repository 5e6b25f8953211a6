package netboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Server gives machines their first bytes. New makes one; Run serves, once. Its other methods may be called from
// several goroutines at any time.
type Server struct {
	cfg       Config // checked
	machines  machines
	pool      *pool
	leaseFile *leaseFile
	loaders   *os.Root // nil without LoaderDir
	log       *slog.Logger
	ready     chan struct{}

	solicitors solicitors
	started    atomic.Bool
	eventMu    sync.Mutex
}

// New checks a configuration, reads what it names (secrets, leases) and makes its server. Its error names every field
// that is wrong. A server that is never run holds LoaderDir open until it is collected.
func New(c Config) (*Server, error) {
	c, err := c.checked()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: c, machines: newMachines(c.Machines), pool: newPool(c.DHCP, c.Addr.Addr(), c.Machines),
		log: c.Logger, ready: make(chan struct{}),
	}
	s.machines.fallback = s.machines.fallback.withDefaults(c.Boot)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.leaseFile = &leaseFile{path: c.DHCP.LeaseFile, pool: s.pool}
	if c.DHCP.leases() {
		dropped, err := s.leaseFile.load()
		if err != nil {
			return nil, err
		}
		for _, l := range dropped {
			s.log.Warn("netboot: a remembered lease does not fit the configuration and is forgotten", "ip", l.IP, "client", l.Client)
		}
	}
	if c.LoaderDir != "" {
		if s.loaders, err = os.OpenRoot(c.LoaderDir); err != nil {
			return nil, fmt.Errorf("netboot: loaderDir: %w", err)
		}
	}
	return s, nil
}

// Ready is closed once all sockets are bound. It stays open when Run fails before.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Leases returns the leases in the order of their addresses, those that have expired among them.
func (s *Server) Leases() []Lease {
	leases, _ := s.pool.leases()
	return leases
}

// Run binds the sockets and serves until ctx ends, which is no error. It returns when all of its goroutines have
// ended, transfers under way being cut off. A server runs once.
func (s *Server) Run(ctx context.Context, network Network) error {
	if s.started.Swap(true) {
		return errors.New("netboot: this server has run already: make another one with New")
	}
	if s.loaders != nil {
		defer s.loaders.Close()
	}
	socks, err := s.bind(ctx, network)
	if err != nil {
		return err
	}
	close(s.ready)
	group, ctx := errgroup.WithContext(ctx)
	if socks.dhcp != nil {
		service := dhcpService{s.answer, destination}
		if s.cfg.DHCP.Proxy {
			service.answer = s.proxyOffer
		}
		group.Go(func() error { return s.serveDHCP(ctx, socks.dhcp, service) })
	}
	if socks.proxy != nil {
		group.Go(func() error { return s.serveDHCP(ctx, socks.proxy, dhcpService{s.proxyAck, toAsker}) })
	}
	if socks.solicitations != nil {
		group.Go(func() error { return s.serveSolicitations(ctx, socks.solicitations) })
	}
	group.Go(func() error { return s.newTFTP(network).serve(ctx, socks.tftp) })
	group.Go(func() error { return s.serveHTTP(ctx, socks.http) })
	return group.Wait()
}

// sockets are what a server listens at. dhcp is nil where DHCP is disabled; solicitations is nil then, too, and where the
// network does not have them. proxy is that of a proxy DHCP server.
type sockets struct {
	dhcp, proxy, tftp, solicitations net.PacketConn
	http                             net.Listener
}

// bind opens all sockets, or none.
func (s *Server) bind(ctx context.Context, network Network) (socks sockets, err error) {
	var closers []io.Closer
	defer func() {
		if err != nil {
			for _, c := range closers {
				c.Close()
			}
		}
	}()
	if !s.cfg.DHCP.Disabled {
		if socks.dhcp, err = network.ListenPacket(ctx, "udp4", dhcpListenAddress); err != nil {
			return socks, bindError("DHCP", dhcpListenAddress,
				"is another DHCP server running on this machine? dhcp.disabled leaves everything to it", err)
		}
		closers = append(closers, socks.dhcp)
	}
	if s.cfg.DHCP.Proxy {
		addr := netip.AddrPortFrom(s.cfg.Addr.Addr(), proxyPort).String()
		if socks.proxy, err = network.ListenPacket(ctx, "udp4", addr); err != nil {
			return socks, bindError("proxy DHCP", addr, "does another boot server run here?", err)
		}
		closers = append(closers, socks.proxy)
	}
	addr := netip.AddrPortFrom(s.cfg.Addr.Addr(), s.cfg.TFTPPort).String()
	if socks.tftp, err = network.ListenPacket(ctx, "udp4", addr); err != nil {
		return socks, bindError("TFTP", addr, "tftpPort takes another one, though firmware asks port 69 only", err)
	}
	closers = append(closers, socks.tftp)
	addr = netip.AddrPortFrom(s.cfg.Addr.Addr(), s.cfg.HTTPPort).String()
	if socks.http, err = network.Listen(ctx, "tcp4", addr); err != nil {
		return socks, bindError("HTTP", addr, "httpPort takes another one, such as 8080", err)
	}
	if socks.dhcp != nil {
		socks.solicitations = s.listenSolicitations(ctx, network)
	}
	return socks, nil
}

func (s *Server) newTFTP(network Network) *tftpServer {
	return &tftpServer{
		network: network, addr: s.cfg.Addr.Addr(), open: s.open, log: s.log,
		active: make(map[netip.AddrPort]struct{}),
		done: func(e Event) {
			level := slog.LevelInfo
			if e.Kind == TFTPFail {
				level = slog.LevelWarn
			}
			e.Machine = s.labelAt(e.Client)
			s.event(level, e)
		},
	}
}

func bindError(what, address, hint string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		hint = "ports below 1024 are root's"
	}
	return fmt.Errorf("netboot: %s cannot listen at %s: %w (%s)", what, address, err, hint)
}

// httpBase and tftpBase are how scripts name this server, with the port where it is not the protocol's own.
func (s *Server) httpBase() string { return s.base("http", s.cfg.HTTPPort, 80) }
func (s *Server) tftpBase() string { return s.base("tftp", s.cfg.TFTPPort, 69) }

func (s *Server) base(scheme string, port, usual uint16) string {
	host := s.cfg.Addr.Addr().String()
	if port != usual {
		host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return scheme + "://" + host
}
