package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/iscsi"
)

const discoverUsage = `List the targets of a portal (SendTargets): a line for each address of each target,
with its portal group's tag and the target's name.

Usage:
  iscsi discover PORTAL [flags]

Examples:
  iscsi discover 192.0.2.1
  iscsi discover '[2001:db8::1]:3260' --json
  iscsi discover 192.0.2.1 --chap-user alice --chap-secret-file secret
`

func discover(ctx context.Context, args []string, env environment, std stdio) error {
	c := newCommand("discover", discoverUsage)
	var l loginFlags
	l.register(c.FlagSet)
	asJSON := c.Bool("json", false, "print JSON")
	portal, err := c.parse(args, "portal", std)
	if err != nil {
		return err
	}
	cfg, err := l.config(c, "", env)
	if err != nil {
		return err
	}
	if _, err := iscsi.ParseTargetAddress(portal); err != nil {
		return c.misused("%w", err)
	}
	cfg.Portal = portal
	records, err := initiator.Discover(ctx, cfg)
	if err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(std.out, targetsJSON(records))
	}
	for _, r := range records {
		for _, a := range r.Addresses {
			if _, err := fmt.Fprintf(std.out, "%s %s\n", a, r.Name); err != nil {
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

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
