package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/iscsi/isns"
	"github.com/bootlun/bootlun/iscsi/slp"
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
func (d *discovery) run(ctx context.Context, c *cli.Command, whom []string, ask func(context.Context, string) ([]iscsi.TargetRecord, error), asJSON bool, std cli.IO) (err error) {
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
	var found []iscsi.TargetRecord
	var errs []error
	for _, w := range whom {
		records, err := ask(ctx, w)
		found, errs = merge(found, records), append(errs, err)
	}
	err = errors.Join(errs...)
	if len(found) == 0 && err == nil {
		err = fmt.Errorf("%w: no targets", errNothingFound)
	}
	if asJSON {
		return errors.Join(cli.PrintJSON(std.Out, targetsJSON(found)), err)
	}
	return errors.Join(printTargets(std.Out, found), err)
}

func (d *discovery) sendTargets(ctx context.Context, portal string) ([]iscsi.TargetRecord, error) {
	cfg := d.cfg
	cfg.Portal = portal
	return initiator.Discover(ctx, cfg)
}

func (d *discovery) isns(ctx context.Context, server string) ([]iscsi.TargetRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	client, err := isns.Dial(ctx, server, d.cfg.Initiator)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Targets(ctx)
}

func (d *discovery) slp(ctx context.Context, agent string) ([]iscsi.TargetRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return slp.FindTargets(ctx, slp.Query{Agent: agent, Interface: d.network})
}

// merge adds targets to others, and addresses to targets that are there already.
func merge(all, more []iscsi.TargetRecord) []iscsi.TargetRecord {
	for _, r := range more {
		i := slices.IndexFunc(all, func(have iscsi.TargetRecord) bool { return have.Name == r.Name })
		if i < 0 {
			all = append(all, r)
			continue
		}
		for _, a := range r.Addresses {
			if !slices.Contains(all[i].Addresses, a) {
				all[i].Addresses = append(all[i].Addresses, a)
			}
		}
	}
	return all
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
