//go:build linux && !386

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/bootlun/bootlun/initiator/kernel"
	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/internal/cli"
)

// kernelCommands are about sessions that Linux has.
func kernelCommands() []*cli.Command {
	return []*cli.Command{sessionsCommand(), attachCommand(), detachCommand()}
}

func isSessionExists(err error) bool { return errors.Is(err, kernel.ErrSessionExists) }

func attachCommand() *cli.Command {
	c := cli.NewCommand("attach", "log in to a disk and give it to the kernel, as /dev/sdX", "URL [flags]")
	c.Text = `It prints the disk's device. It wants root, and the module iscsi_tcp (modprobe iscsi_tcp).
Nobody watches over the session but the system's iscsid, once that has been restarted
(systemctl restart iscsid): without it, a connection that breaks stays broken, and after
--replacement the kernel fails what was asked of the disk.`
	c.Examples = []cli.Example{
		{"iscsi attach iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1"},
		{"iscsi attach iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 --interface eth1 --replacement 2m"},
	}
	c.Max = 1
	r := reach{connections: 1}
	r.loginFlags.define(c)
	netdev := c.String("interface", "", "network `DEVICE` to go through (as the routing table says)")
	replacement := c.Duration("replacement", 24*time.Hour, "how long a `TIME` the kernel holds requests back when the connection is lost (24h)")
	asJSON := c.Bool("json", false, "print JSON")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		cfg, err := r.config(c, args, true)
		if err != nil {
			return err
		}
		if len(cfg.Portals) > 0 {
			return c.Misused("--portal: a session of the kernel has one portal; attach one by each for multipath")
		}
		nic, err := networkCard(*netdev)
		if err != nil {
			return err
		}
		disk, sid, err := attach(ctx, kernel.Config{
			Initiator: cfg.Initiator, Target: cfg.Target, Portal: cfg.Portal, ISID: cfg.ISID, LUN: r.lun, CHAP: cfg.CHAP, Offer: cfg.Offer,
			Interface: nic,
			Timeouts:  kernel.Timeouts{Login: cfg.Timeouts.Login, Replacement: *replacement},
		})
		if err != nil {
			return err
		}
		if *asJSON {
			return cli.PrintJSON(std.Out, disk)
		}
		_, err = fmt.Fprintf(std.Out, "%s, %s, session %d\n", disk.Device, bytesize.Format(disk.Size), sid)
		return err
	}
	return c
}

// networkCard names a network device, with the address by which iscsid knows it again; the zero value is none.
func networkCard(device string) (kernel.Interface, error) {
	if device == "" {
		return kernel.Interface{}, nil
	}
	i, err := net.InterfaceByName(device)
	if err != nil {
		return kernel.Interface{}, fmt.Errorf("--interface %s: %w", device, err)
	}
	return kernel.Interface{NetDev: device, HWAddress: i.HardwareAddr}, nil
}

// attach makes a session that has a disk, or none.
func attach(ctx context.Context, cfg kernel.Config) (disk kernel.Disk, sid uint32, err error) {
	s, err := kernel.Login(ctx, cfg)
	if err != nil {
		return disk, 0, err
	}
	wait, cancel := context.WithTimeout(ctx, cfg.Timeouts.Login)
	defer cancel()
	if disk, err = s.Disk(wait); err != nil {
		return disk, 0, errors.Join(err, s.Logout(context.WithoutCancel(ctx)))
	}
	return disk, s.SID, nil
}

func detachCommand() *cli.Command {
	c := cli.NewCommand("detach", "log out of the kernel's sessions", "SID... [flags]", "TARGET... [flags]", "--all")
	c.Text = `A session is named by its number, as "iscsi sessions" has it, or by its target's name,
which means all sessions with that target. Disks are flushed and removed first. A
session whose disk is mounted or otherwise in use stays.`
	c.Examples = []cli.Example{{"iscsi detach 3"}, {"iscsi detach iqn.2026-01.com.example:disk"}, {"iscsi detach --all"}}
	c.Max = 64
	all := c.Bool("all", false, "log out of every session that the kernel has")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		if *all == (len(args) > 0) {
			return c.Misused("wants session numbers, target names or --all")
		}
		sessions, err := kernel.Sessions(kernel.Roots{})
		if err != nil {
			return err
		}
		chosen, err := chooseSessions(sessions, args)
		var errs []error
		for _, s := range chosen {
			bad := s.Logout(ctx)
			if errs = append(errs, bad); bad == nil {
				fmt.Fprintf(std.Out, "session %d of %s at %s is logged out\n", s.SID, s.Target, s.Portal)
			}
		}
		return errors.Join(append(errs, err)...)
	}
	return c
}

// chooseSessions returns the sessions that are named, all if none is.
func chooseSessions(sessions []*kernel.Session, names []string) ([]*kernel.Session, error) {
	if len(names) == 0 {
		return sessions, nil
	}
	var chosen []*kernel.Session
	for _, name := range names {
		found := len(chosen)
		for _, s := range sessions {
			if s.Target == name || strconv.FormatUint(uint64(s.SID), 10) == name {
				chosen = append(chosen, s)
			}
		}
		if len(chosen) == found {
			return nil, fmt.Errorf("%w: the kernel has no session %q: iscsi sessions lists them", errNothingFound, name)
		}
	}
	return chosen, nil
}

func sessionsCommand() *cli.Command {
	c := cli.NewCommand("sessions", "list the kernel's sessions", "[flags]")
	c.Text = `It lists sessions whoever made them: this command, iscsid or the initial RAM disk. What
it prints is what "iscsiadm -m session -P LEVEL" does.`
	c.Examples = []cli.Example{{"iscsi sessions"}, {"iscsi sessions -P 3", "with their disks"}, {"iscsi sessions --json"}}
	level := c.Int("P", 0, "how much to tell, a `LEVEL` from 0 to 3 (0)")
	asJSON := c.Bool("json", false, "print JSON")
	root := c.String("root", "/", "look under `DIR`/sys")
	c.Run = func(_ context.Context, _ []string, std cli.IO) error {
		if *level < 0 || *level > 3 {
			return c.Misused("-P %d: want 0 to 3", *level)
		}
		sys := strings.TrimSuffix(*root, "/") + "/sys"
		sessions, err := kernel.Sessions(kernel.Roots{Sys: sys})
		if err != nil {
			return err
		}
		if *asJSON {
			list := []jsonSession{}
			for _, s := range sessions {
				list = append(list, describeSession(sys, s))
			}
			return cli.PrintJSON(std.Out, list)
		}
		if len(sessions) == 0 {
			return fmt.Errorf("%w: the kernel has no sessions", errNothingFound)
		}
		var b strings.Builder
		printSessions(&b, sessions, sys, *level)
		_, err = fmt.Fprint(std.Out, b.String())
		return err
	}
	return c
}

// groupSessions returns the sessions as iscsiadm groups them: at level 0 each by itself, else by target.
func groupSessions(sessions []*kernel.Session, level int) []sessionGroup {
	var groups []sessionGroup
	index := map[string]int{}
	for _, s := range sessions {
		key := s.Target
		if level == 0 {
			key = strconv.FormatUint(uint64(s.SID), 10)
		}
		i, ok := index[key]
		if !ok {
			i = len(groups)
			index[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], s)
	}
	return groups
}

// jsonSession is a session as sessions --json prints it.
type jsonSession struct {
	SID              uint32            `json:"sid"`
	Target           string            `json:"target"`
	Initiator        string            `json:"initiator"`
	Portal           string            `json:"portal"`
	PersistentPortal string            `json:"persistentPortal"`
	Tag              int               `json:"portalGroupTag"`
	State            string            `json:"state"`
	ConnectionState  string            `json:"connectionState,omitempty"`
	Interface        string            `json:"interface"`
	NetDevice        string            `json:"netDevice,omitempty"`
	CHAPName         string            `json:"chapName,omitempty"`
	Timeouts         map[string]string `json:"timeouts"` // in seconds
	Negotiated       any               `json:"negotiated"`
	Devices          []sessionDevice   `json:"devices"`
}

func describeSession(sys string, s *kernel.Session) jsonSession {
	a := attributesOf(sys, s)
	return jsonSession{
		SID: s.SID, Target: s.Target, Initiator: s.Initiator, Portal: s.Portal, PersistentPortal: s.PersistentPortal, Tag: s.TPGT,
		State: s.State, ConnectionState: a.conn("state"), Interface: cmp.Or(s.Interface.Name, "default"), NetDevice: s.Interface.NetDev,
		CHAPName: a.session("username"), Negotiated: s.Params, Devices: a.devices(),
		Timeouts: map[string]string{
			"recovery": a.session("recovery_tmo"), "targetReset": a.session("tgt_reset_tmo"), "lunReset": a.session("lu_reset_tmo"), "abort": a.session("abort_tmo"),
		},
	}
}
