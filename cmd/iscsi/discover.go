package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/iscsi"
)

func discoverCommand() *cli.Command {
	c := cli.NewCommand("discover", "list targets and where they are reached",
		"PORTAL... [flags]", "--isns SERVER... [flags]", "--slp [AGENT...] [flags]", "--firmware [FILE] [flags]")
	c.Text = `It prints a line for each address of each target, with its portal group's tag and the
target's name. Portals are asked for the targets behind them (SendTargets), iSNS
servers for those registered there (RFC 4171), and SLP's agents for those that they
advertise (RFC 4018): an AGENT at its address, without one all that hear a multicast.
--firmware lists what this machine's iBFT boots from, or the table in a FILE, as a
table of its own.`
	c.Examples = []cli.Example{
		{"iscsi discover 192.0.2.1"},
		{"iscsi discover 192.0.2.1 '[2001:db8::1]:3260' --json"},
		{"iscsi discover 192.0.2.1 --chap-user alice --chap-secret-file secret"},
		{"iscsi discover --isns 192.0.2.5"},
		{"iscsi discover --slp", "whoever is on this network"},
		{"iscsi discover --firmware", "what this machine booted from"},
	}
	c.Max = 64
	var d discovery
	d.loginFlags.define(c)
	d.traceFlags.define(c)
	byISNS := c.Bool("isns", false, "ask iSNS servers, HOST[:PORT]; the port is 3205 if left out")
	bySLP := c.Bool("slp", false, "ask by the Service Location Protocol")
	c.TextVar(&d.network, "slp-interface", netip.Addr{}, "with --slp: this machine's `ADDRESS` on the network to ask (the system's choice)")
	firmware := c.Bool("firmware", false, "list what the firmware's table says")
	root := c.String("root", "/", "with --firmware: look for this machine's tables under `DIR`/sys and DIR/dev")
	asJSON := c.Bool("json", false, "print JSON")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		asked := map[bool]int{}
		for _, b := range []bool{*byISNS, *bySLP, *firmware} {
			asked[b]++
		}
		if asked[true] > 1 {
			return c.Misused("one of --isns, --slp and --firmware")
		}
		if *firmware {
			return discoverFirmware(args, *root, *asJSON, std)
		}
		ask := d.sendTargets
		switch {
		case *byISNS:
			ask = d.isns
		case *bySLP:
			ask = d.slp
		}
		if len(args) == 0 && *bySLP {
			args = []string{""} // by multicast
		}
		return d.run(ctx, c, args, ask, *asJSON, std)
	}
	return c
}

// discovery is a way to find targets.
type discovery struct {
	loginFlags
	traceFlags
	network netip.Addr // to which multicasts go
	cfg     initiator.Config
}

// run asks each of several, and tells what those say that answer.
func (d *discovery) run(ctx context.Context, c *cli.Command, whom []string, ask func(string) initiator.Source, asJSON bool, std cli.IO) (err error) {
	if len(whom) == 0 {
		return c.Misused("no portal given")
	}
	for _, w := range whom {
		if _, err := iscsi.ParseTargetAddress(w); w != "" && err != nil {
			return c.Misused("%w", err)
		}
	}
	if d.cfg, err = d.loginFlags.config(c, ""); err != nil {
		return err
	}
	tap, stop, err := d.traceFlags.start(std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	d.cfg.Tap = tap
	var sources []initiator.Source
	for _, w := range whom {
		sources = append(sources, ask(w))
	}
	found, err := initiator.Find(ctx, sources...)
	if len(found) == 0 && err == nil {
		err = fmt.Errorf("%w: no targets", errNothingFound)
	}
	if asJSON {
		return errors.Join(cli.PrintJSON(std.Out, targetsJSON(found)), err)
	}
	return errors.Join(printTargets(std.Out, found), err)
}

func (d *discovery) sendTargets(portal string) initiator.Source {
	cfg := d.cfg
	cfg.Portal = portal
	return initiator.SendTargets(cfg)
}

func (d *discovery) isns(server string) initiator.Source {
	return within{initiator.ISNS{Server: server, Initiator: d.cfg.Initiator}, d.timeout}
}

func (d *discovery) slp(agent string) initiator.Source {
	return within{initiator.SLP{Agent: agent, Interface: d.network}, d.timeout}
}

// within is a source that has so much time to answer.
type within struct {
	initiator.Source
	limit time.Duration
}

func (w within) Targets(ctx context.Context) ([]iscsi.TargetRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	return w.Source.Targets(ctx)
}

func printTargets(w io.Writer, records []iscsi.TargetRecord) error {
	for _, r := range records {
		for _, a := range r.Addresses {
			if _, err := fmt.Fprintf(w, "%s %s\n", cli.Printable(a.String()), cli.Printable(r.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// jsonTarget is a target as discover --json prints it.
type jsonTarget struct {
	Name      string        `json:"name"`
	Addresses []jsonAddress `json:"addresses"`
}

type jsonAddress struct {
	Portal string `json:"portal"`
	Tag    *int   `json:"tag,omitempty"` // portal group tag
}

func targetsJSON(records []iscsi.TargetRecord) []jsonTarget {
	list := []jsonTarget{}
	for _, r := range records {
		t := jsonTarget{Name: r.Name, Addresses: []jsonAddress{}}
		for _, a := range r.Addresses {
			j := jsonAddress{Portal: a.HostPort()}
			if a.Tag != iscsi.NoTag {
				j.Tag = &a.Tag
			}
			t.Addresses = append(t.Addresses, j)
		}
		list = append(list, t)
	}
	return list
}
