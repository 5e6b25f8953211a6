package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

var (
	reserveActions = []string{"show", "register", "unregister", "reserve", "release", "preempt", "clear"}
	reserveTypes   = map[string]scsi.ReservationType{
		"we": scsi.WriteExclusive, "ea": scsi.ExclusiveAccess, "wero": scsi.WriteExclusiveRegistrantsOnly,
		"earo": scsi.ExclusiveAccessRegistrantsOnly, "wear": scsi.WriteExclusiveAllRegistrants, "eaar": scsi.ExclusiveAccessAllRegistrants,
	}
)

func reserveCommand() *cli.Command {
	c := cli.NewCommand("reserve", "show and change a disk's persistent reservations", "URL [ACTION] [flags]")
	c.Text = `Who wants to reserve a disk registers a key first. ACTION is one of:

  show        who is registered, and who holds a reservation (without an ACTION)
  register    register --key, in place of --old if this side has had one
  unregister  take the registration back; a reservation goes with it
  reserve     reserve the disk, as --type says
  release     end the reservation that this side holds
  preempt     take the registrations with --victim away, and their reservation over
  clear       take all registrations and the reservation away

A registration is an initiator port's, which is a name and an ISID. This command makes
the ISID from the name, so that the next call is the same port; --isid gives another.`
	c.Examples = []cli.Example{
		{"iscsi reserve iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1"},
		{"iscsi reserve iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 register --key 0xabc"},
		{"iscsi reserve iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 reserve --key 0xabc --type wero"},
		{"iscsi reserve iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 preempt --key 0xabc --victim 0xdef"},
	}
	c.Max = 2
	c.Complete = func(string) []cli.Candidate {
		var all []cli.Candidate
		for _, a := range reserveActions {
			all = append(all, cli.Candidate{Word: a})
		}
		return all
	}
	var r reach
	r.define(c)
	var v reservation
	v.define(c)
	asJSON := c.Bool("json", false, "print JSON, of show")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		cfg, err := r.config(c, args, true)
		if err != nil {
			return err
		}
		if cfg.ISID == (iscsi.ISID{}) {
			cfg.ISID = portISID(cfg.Initiator)
		}
		action := "show"
		if len(args) > 1 {
			action = args[1]
		}
		if err := v.check(c, action); err != nil {
			return err
		}
		return r.withLUN(ctx, cfg, std, func(lun *initiator.LUN) error {
			if action != "show" {
				return v.do(ctx, lun, action)
			}
			state, err := reservations(ctx, lun)
			if err != nil {
				return err
			}
			if *asJSON {
				return cli.PrintJSON(std.Out, state)
			}
			return state.print(std.Out)
		})
	}
	return c
}

// portISID returns the ISID that an initiator has in all calls of this command: a random one by its form, made of the
// name (RFC 7143, 11.12.5).
func portISID(name string) iscsi.ISID {
	sum := sha256.Sum256([]byte(name))
	return iscsi.ISID{0x80, sum[0], sum[1], sum[2], 0, 0}
}

// reservation is what the flags say.
type reservation struct {
	key, old, victim keyFlag
	kind             scsi.ReservationType
	persist, abort   bool
}

func (v *reservation) define(c *cli.Command) {
	c.Var(&v.key, "key", "this side's `KEY`, a number")
	c.Var(&v.old, "old", "with register: the `KEY` that this side has had (0)")
	c.Var(&v.victim, "victim", "the `KEY` to preempt")
	c.Choice("type", "`TYPE`: we, ea (write exclusive, exclusive access), wero, earo (registrants only), wear, eaar (all registrants) (wero)",
		[]string{"we", "ea", "wero", "earo", "wear", "eaar"}, false, func(s string) error {
			var ok bool
			if v.kind, ok = reserveTypes[s]; !ok {
				return fmt.Errorf("want we, ea, wero, earo, wear or eaar")
			}
			return nil
		})
	c.BoolVar(&v.persist, "persist", false, "register so that it survives a restart of the target (APTPL)")
	c.BoolVar(&v.abort, "abort", false, "with preempt: abort the victim's commands, too")
}

// check says whether an action is one, and has the keys that it wants.
func (v *reservation) check(c *cli.Command, action string) error {
	switch {
	case !slices.Contains(reserveActions, action):
		return c.Misused("action %q: want one of %s", action, strings.Join(reserveActions, ", "))
	case action != "show" && v.key.n == 0:
		return c.Misused("%s wants this side's --key, which is not 0", action)
	case action == "preempt" && v.victim.n == 0:
		return c.Misused("preempt wants the --victim's key")
	}
	return nil
}

// do carries out an action other than show.
func (v *reservation) do(ctx context.Context, lun *initiator.LUN, action string) error {
	kind := cmp.Or(v.kind, scsi.WriteExclusiveRegistrantsOnly)
	switch action {
	case "register":
		return lun.Register(ctx, v.old.n, v.key.n, v.persist)
	case "unregister":
		return lun.Register(ctx, v.key.n, 0, false)
	case "reserve":
		return lun.Reserve(ctx, v.key.n, kind)
	case "release":
		if v.kind == 0 { // the command must say of what type the reservation is
			held, err := lun.Reservation(ctx)
			if err != nil {
				return err
			}
			kind = held.Type
		}
		return lun.Release(ctx, v.key.n, kind)
	case "preempt":
		return lun.Preempt(ctx, v.key.n, v.victim.n, kind, v.abort)
	}
	return lun.ClearReservations(ctx, v.key.n)
}

// keyFlag is a flag.Value of a reservation key.
type keyFlag struct{ n uint64 }

func (k *keyFlag) String() string { return "" }

func (k *keyFlag) Set(s string) (err error) {
	if k.n, err = strconv.ParseUint(s, 0, 64); err != nil {
		return fmt.Errorf("want a number of 64 bits, such as 0x1234")
	}
	return nil
}

// reservationState is what show tells.
type reservationState struct {
	Generation    uint32         `json:"generation"`
	Type          string         `json:"type"`
	Holder        string         `json:"holder,omitempty"` // its key
	Registrations []registration `json:"registrations"`
}

type registration struct {
	Key       string `json:"key"`
	Initiator string `json:"initiator,omitempty"`
	Port      uint16 `json:"port,omitempty"`
	Holds     bool   `json:"holds"`
}

func keyText(k uint64) string { return fmt.Sprintf("0x%x", k) }

// reservations asks a disk: who is registered where it tells, else the keys alone.
func reservations(ctx context.Context, lun *initiator.LUN) (*reservationState, error) {
	held, err := lun.Reservation(ctx)
	if err != nil {
		return nil, err
	}
	s := &reservationState{Generation: held.Generation, Type: held.Type.String(), Registrations: []registration{}}
	if held.Type != 0 {
		s.Holder = keyText(held.Key)
	}
	_, list, err := lun.Registrations(ctx)
	if err == nil {
		for _, f := range list {
			s.Registrations = append(s.Registrations, registration{keyText(f.Key), f.Initiator.String(), f.Port, f.Type != 0})
		}
		return s, nil
	}
	if onlyRefused(err) != nil {
		return nil, err
	}
	_, keys, err := lun.ReservationKeys(ctx)
	for _, k := range keys {
		s.Registrations = append(s.Registrations, registration{Key: keyText(k), Holds: held.Type != 0 && (k == held.Key || held.Type.AllRegistrants())})
	}
	return s, err
}

func (s *reservationState) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "reservation: %s", s.Type)
	if s.Holder != "" {
		fmt.Fprintf(&b, ", key %s", s.Holder)
	}
	fmt.Fprintf(&b, "; generation %d\n", s.Generation)
	for _, r := range s.Registrations {
		fmt.Fprintf(&b, "registered: key %s", r.Key)
		if r.Initiator != "" {
			fmt.Fprintf(&b, ", %s at port %d", cli.Printable(r.Initiator), r.Port)
		}
		if r.Holds {
			b.WriteString(", holds the reservation")
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
