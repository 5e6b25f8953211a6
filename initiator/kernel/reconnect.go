//go:build linux && !386

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reconnect gives a session of the kernel a new connection in place of one that was lost: it stops what is left of the old one,
// connects and logs in as Login does, and lets I/O flow again. The session's number, its SCSI host and its disks stay. With the
// ISID of the lost session in config the target drops that one's remains (RFC 7143, 6.3.5). An attempt that fails leaves the
// session as it is, waiting; it can be made again.
func Reconnect(ctx context.Context, sid uint32, config Config) error {
	cfg, err := config.withDefaults()
	if err == nil {
		err = reconnect(ctx, sid, &cfg)
	}
	return at("reconnect", cfg.Target, cfg.Portal, err)
}

func reconnect(ctx context.Context, sid uint32, cfg *Config) error {
	s, err := readSession(*cfg, sid)
	if err != nil {
		return fmt.Errorf("%w: number %d: %w", errGone, sid, err)
	}
	transport, err := transportHandle(cfg.Roots.Sys)
	if err != nil {
		return err
	}
	l, err := cfg.openLink()
	if err != nil {
		return err
	}
	defer l.Close()
	ctl := newControl(l, transport)
	// At once, before anybody is asked for a connection: until then some kernels let I/O run into its time-outs.
	if err := ctl.stop(sid); err != nil {
		return err
	}
	_, err = followRedirects(ctx, ctl, cfg, s)
	return err
}

// errGone is a session that the kernel no longer has.
var errGone = errors.New("the session is gone")

// indexDialer binds to the network device of that number. Numbers stay when the installed system renames its devices.
func indexDialer(index int) Dialer {
	return &net.Dialer{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index) })
		if err = errors.Join(cerr, err); err != nil {
			return fmt.Errorf("bind to network device %d: %w", index, err)
		}
		return nil
	}}
}
