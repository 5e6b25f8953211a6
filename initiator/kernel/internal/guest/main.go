//go:build linux && !386

// Command guest is the init of the virtual machine that this package's tests start: it logs in through the machine's real
// kernel as /scenario.json says, looks at what came of it, and prints one line of JSON for each case on the console.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initiator/kernel"
	"github.com/bootlun/bootlun/initiator/kernel/internal/scenario"
	"github.com/bootlun/bootlun/iscsi"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "login" {
		if err := login(os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	var err error
	select {
	case err = <-ended:
	case <-time.After(2 * time.Minute): // a read of a disk without its target would wait for a day
		err = errors.New("hangs")
	}
	fmt.Printf("\n%s%v\n", scenario.EndMark, err)
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	for _, m := range []struct{ kind, dir string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	text, err := os.ReadFile("/scenario.json")
	if err != nil {
		return err
	}
	var s scenario.Scenario
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	for _, m := range s.Modules {
		if err := load(m); err != nil {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	if err := network(); err != nil {
		return err
	}
	for _, c := range s.Cases {
		line, err := json.Marshal(runCase(c))
		if err != nil {
			return err
		}
		fmt.Printf("\n%s%s\n", scenario.ResultMark, line)
	}
	return nil
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// network gives eth0 the address that QEMU's user network expects, and lo its own.
func network() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, i := range []struct {
		name       string
		addr, mask []byte
	}{
		{"lo", []byte{127, 0, 0, 1}, []byte{255, 0, 0, 0}},
		{"eth0", []byte{10, 0, 2, 15}, []byte{255, 255, 255, 0}},
	} {
		if err := configure(fd, i.name, i.addr, i.mask); err != nil {
			return fmt.Errorf("configure %s: %w", i.name, err)
		}
	}
	return nil
}

func configure(fd int, name string, addr, mask []byte) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := r.SetInet4Addr(addr); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r); err != nil {
		return err
	}
	if err := r.SetInet4Addr(mask); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, r); err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

func config(c scenario.Case) (kernel.Config, error) {
	lun, err := iscsi.MakeLUN(c.LUN)
	if err != nil {
		return kernel.Config{}, err
	}
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return kernel.Config{}, err
	}
	cfg := kernel.Config{
		Initiator: "iqn.2024-01.test:guest", Target: c.Target, Portal: c.Portal, LUN: lun,
		Interface: kernel.Interface{NetDev: eth0.Name, HWAddress: eth0.HardwareAddr},
		Boot:      kernel.Boot{Root: "ibft", NIC: "ethernet0", Target: "target0"},
	}
	if c.User != "" {
		cfg.CHAP = &iscsi.CHAPClient{
			User:   iscsi.CHAPUser{Name: c.User, Secret: iscsi.Secret(c.Secret)},
			Target: iscsi.CHAPUser{Name: c.TargetUser, Secret: iscsi.Secret(c.TargetSecret)},
		}
	}
	if c.Digests {
		cfg.Offer.HeaderDigest, cfg.Offer.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire
	}
	return cfg, nil
}

// runCase does one case and cleans up after it.
func runCase(c scenario.Case) scenario.Result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := scenario.Result{Name: c.Name}
	if err := observe(ctx, c, &r); err != nil {
		r.Error = err.Error()
	}
	sessions, err := kernel.Sessions(kernel.Roots{})
	for _, s := range sessions {
		err = errors.Join(err, s.Logout(ctx))
	}
	if err != nil {
		r.Error += "; afterwards: " + err.Error()
	}
	if sessions, err = kernel.Sessions(kernel.Roots{}); err != nil {
		r.Error += "; afterwards: " + err.Error()
	}
	r.Left = len(sessions)
	return r
}

func observe(ctx context.Context, c scenario.Case, r *scenario.Result) error {
	cfg, err := config(c)
	if err != nil {
		return err
	}
	var s *kernel.Session
	if c.Child {
		s, err = loginInChild(ctx, c, cfg.LUN)
	} else {
		s, err = kernel.Login(ctx, cfg)
	}
	if err != nil {
		return err
	}
	r.SID, r.Portal, r.Params, r.Attrs = s.SID, s.Portal, s.Params, attributes(s)
	d, err := s.Disk(ctx)
	if err != nil {
		return err
	}
	r.Device, r.Address, r.Size, r.SectorSize = d.Device, d.Address, d.Size, d.SectorSize
	if c.Adopt {
		if err := adopt(ctx, s); err != nil {
			return err
		}
	}
	r.FirstMiB, err = firstMiB(d.Device)
	return err
}

// firstMiB reads past the page cache, through the session as it is now.
func firstMiB(device string) (string, error) {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	if err != nil {
		return "", err
	}
	defer unix.Munmap(buf)
	if _, err := io.ReadFull(f, buf); err != nil {
		return "", err
	}
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:]), nil
}

// adopt starts iscsid and waits until it has logged in again, which gives the session a connection from another local port.
func adopt(ctx context.Context, s *kernel.Session) error {
	before := attributes(s)["connection/local_port"]
	var log bytes.Buffer
	daemon := exec.CommandContext(ctx, "/sbin/iscsid", "-f", "-d", "4")
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		return err
	}
	err := func() error {
		for {
			now := attributes(s)
			port := now["connection/local_port"]
			if port != before && now["connection/state"] == "up" && now["session/state"] == "LOGGED_IN" {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	daemon.Process.Kill()
	daemon.Wait()
	if err != nil {
		return fmt.Errorf("iscsid did not take the session over (%v, then %v): %w\n%s", before, attributes(s), err, &log)
	}
	return nil
}

// loginInChild has another process log in, and takes the session up when that process is gone.
func loginInChild(ctx context.Context, c scenario.Case, lun iscsi.LUN) (*kernel.Session, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "/proc/self/exe", "login", string(text)).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	sessions, err := kernel.Sessions(kernel.Roots{})
	if err != nil {
		return nil, err
	}
	if len(sessions) != 1 {
		return nil, fmt.Errorf("%d sessions after the child's exit", len(sessions))
	}
	sessions[0].LUN = lun
	return sessions[0], nil
}

func login(text string) error {
	var c scenario.Case
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	cfg, err := config(c)
	if err != nil {
		return err
	}
	_, err = kernel.Login(context.Background(), cfg)
	return err
}

// attributes is all that sysfs shows of a session, its connection and its host.
func attributes(s *kernel.Session) map[string]string {
	attrs := make(map[string]string)
	for kind, dir := range map[string]string{
		"session":    fmt.Sprintf("/sys/class/iscsi_session/session%d", s.SID),
		"connection": fmt.Sprintf("/sys/class/iscsi_connection/connection%d:%d", s.SID, s.CID),
		"host":       fmt.Sprintf("/sys/class/iscsi_host/host%d", s.Host),
	} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			attrs[kind] = err.Error()
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				text = []byte(err.Error())
			}
			attrs[kind+"/"+e.Name()] = strings.TrimSpace(string(text))
		}
	}
	return attrs
}
