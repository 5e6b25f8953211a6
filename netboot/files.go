package netboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

// What a request for a file can come to, beside the file itself.
var (
	errNotFound  = errors.New("there is no such file")
	errForbidden = errors.New("this is not for you")
)

// file is something to be fetched, by TFTP or by HTTP. Whoever opened it closes it.
type file struct {
	io.ReadSeekCloser
	size    int64
	modTime time.Time // zero: made for this request, not to be kept by anybody
}

// open opens what path names for the client at an address. The names are the same in TFTP and HTTP:
//
//	boot.ipxe                    the client's own script
//	kernel, initramfs            what machines boot that have nothing of their own
//	loader/NAME                  an iPXE binary
//	machines/MAC/boot.ipxe       a machine's script
//	machines/MAC/kernel, machines/MAC/initramfs
//	machines/MAC/ibft            its table
//	machines/MAC/ibft.cpio       its table, to be put before an initramfs
//
// Nothing but these is looked up, so that no path leads anywhere else.
func (s *Server) open(ctx context.Context, path string, client netip.Addr) (*file, error) {
	path = strings.Trim(path, "/")
	if rest, ok := strings.CutPrefix(path, "machines/"); ok {
		return s.openMachine(ctx, rest, client)
	}
	if name, ok := strings.CutPrefix(path, "loader/"); ok {
		return s.openLoader(name)
	}
	switch path {
	case "kernel":
		return openFile(s.cfg.Boot.Kernel)
	case "initramfs":
		return openFile(s.cfg.Boot.Initramfs)
	case "boot.ipxe":
		mac, ok := s.macAt(client)
		if !ok {
			return textFile(s.chainScript()), nil
		}
		return s.openScript(mac, client)
	}
	return nil, fmt.Errorf("%q: %w", path, errNotFound)
}

// openMachine opens a file of one machine: rest is "MAC/name".
func (s *Server) openMachine(ctx context.Context, rest string, client netip.Addr) (*file, error) {
	dir, name, _ := strings.Cut(rest, "/")
	mac, err := ibft.ParseMAC(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %q is not a MAC address", errNotFound, dir)
	}
	switch name {
	case "boot.ipxe":
		return s.openScript(mac, client)
	case "kernel", "initramfs":
		m := s.machines.find(mac, client)
		path := m.Kernel
		if name == "initramfs" {
			path = m.Initramfs
		}
		return openFile(path)
	case "ibft", "ibft.cpio":
		return s.openTable(ctx, mac, client, name == "ibft.cpio")
	}
	return nil, fmt.Errorf("%q: %w", rest, errNotFound)
}

// openScript makes a machine's script.
func (s *Server) openScript(mac ibft.MAC, client netip.Addr) (*file, error) {
	ip, _ := s.addressOf(mac, client)
	m := s.machines.find(mac, ip)
	if !m.boots() {
		return nil, fmt.Errorf("%w: machine %s is not configured, nor is boot.kernel", errNotFound, mac)
	}
	if m.Mode == ModeSANBoot {
		if m.usesIP() && !ip.IsValid() {
			return nil, s.noAddress(m)
		}
		if err := s.mayHaveSecrets(m, client); err != nil {
			return nil, err
		}
	}
	return textFile(s.script(m)), nil
}

// mayHaveSecrets refuses everybody but the machine itself what holds its secrets.
func (s *Server) mayHaveSecrets(m Machine, client netip.Addr) error {
	if !m.hasSecrets() {
		return nil
	}
	own, ok := s.ownAddress(m.MAC)
	switch {
	case !ok:
		return fmt.Errorf("%w: it holds the CHAP secrets of %s, which has no lease", errForbidden, m.label())
	case own != client:
		return fmt.Errorf("%w: it holds the CHAP secrets of %s and goes to that machine's own address only, which %s is not",
			errForbidden, m.label(), client)
	}
	return nil
}

func (s *Server) noAddress(m Machine) error {
	return fmt.Errorf("%w: %s has no lease, and so no address", errNotFound, m.label())
}

// ownAddress is the address that a machine has for certain: leased to it here, or, without DHCP, configured.
func (s *Server) ownAddress(mac ibft.MAC) (netip.Addr, bool) {
	if s.cfg.DHCP.leases() {
		return s.pool.address(mac.String(), time.Now())
	}
	ip := s.machines.find(mac, netip.Addr{}).IP
	return ip, ip.IsValid()
}

// addressOf is a machine's own address, or where another server gives addresses out, that of the client who asks on
// the machine's behalf.
func (s *Server) addressOf(mac ibft.MAC, client netip.Addr) (netip.Addr, bool) {
	if ip, ok := s.ownAddress(mac); ok {
		return ip, true
	}
	return client, !s.cfg.DHCP.leases() && client.IsValid()
}

// macAt is the MAC address of the machine that has an address.
func (s *Server) macAt(client netip.Addr) (ibft.MAC, bool) {
	if holder, ok := s.pool.holder(client, time.Now()); ok {
		mac, err := ibft.ParseMAC(holder)
		return mac, err == nil
	}
	for mac, m := range s.machines.byMAC {
		if !s.cfg.DHCP.leases() && m.IP == client {
			return mac, true
		}
	}
	return ibft.MAC{}, false
}

func (s *Server) openLoader(name string) (*file, error) {
	if s.loaders == nil || name == "" || strings.ContainsAny(name, `/\`) {
		return nil, fmt.Errorf("%q: %w", "loader/"+name, errNotFound)
	}
	f, err := s.loaders.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q: %w", "loader/"+name, errNotFound)
	}
	return regularFile(f, err)
}

func openFile(path string) (*file, error) {
	if path == "" {
		return nil, fmt.Errorf("%w: it is not configured", errNotFound)
	}
	f, err := os.Open(path)
	return regularFile(f, err)
}

func regularFile(f *os.File, err error) (*file, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{ReadSeekCloser: f, size: info.Size(), modTime: info.ModTime()}, nil
}

// memory is a file made for one request.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func textFile(text string) *file { return bytesFile([]byte(text)) }

func bytesFile(b []byte) *file {
	return &file{ReadSeekCloser: memory{bytes.NewReader(b)}, size: int64(len(b))}
}

// list names what there is to fetch, a machine's files once for all machines.
func (s *Server) list() string {
	names := []string{"/boot.ipxe?mac=MAC", "/healthz"}
	if s.cfg.Boot.Kernel != "" {
		names = append(names, "/kernel", "/initramfs")
	}
	for _, f := range []string{"boot.ipxe", "kernel", "initramfs", "ibft", "ibft.cpio"} {
		names = append(names, "/machines/MAC/"+f)
	}
	if s.loaders != nil {
		entries, _ := fs.ReadDir(s.loaders.FS(), ".") // A folder that cannot be read has no names to show.
		for _, e := range entries {
			if e.Type().IsRegular() {
				names = append(names, "/loader/"+e.Name())
			}
		}
	}
	slices.Sort(names)
	return "Here is:\n" + strings.Join(names, "\n") + "\nMAC stands for an address such as 52-54-00-12-34-56.\n"
}

// machinePath is the path of a machine's file, for either protocol.
func machinePath(mac ibft.MAC, name string) string { return "machines/" + hyphened(mac) + "/" + name }
