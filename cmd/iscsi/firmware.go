package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

// maxTableFile bounds what is read of a file with a table: a memory image is what "ibft show" is for.
const maxTableFile = 1 << 20

// firmwarePath is a way to a disk that the firmware's table has.
type firmwarePath struct {
	Target       string         `json:"target"`
	Portal       netip.AddrPort `json:"portal"`
	LUN          ibft.LUN       `json:"lun"`
	BootSelected bool           `json:"bootSelected"`
	Initiator    string         `json:"initiator"`
	CHAP         string         `json:"chap"`
	CHAPName     string         `json:"chapName,omitempty"`
	MAC          ibft.MAC       `json:"mac"`
	Address      netip.Addr     `json:"address,omitzero"`
	VLAN         uint16         `json:"vlan,omitempty"`
}

// discoverFirmware lists the paths of a table: the one in a file, or this machine's.
func discoverFirmware(args []string, root string, asJSON bool, std cli.IO) error {
	table, source, err := firmwareTable(args, root, std.In)
	if err != nil {
		return err
	}
	paths := []firmwarePath{}
	for _, p := range table.Paths() {
		paths = append(paths, firmwarePath{
			Target: p.Target.Name, Portal: p.Target.Portal(), LUN: p.Target.LUN,
			BootSelected: p.Target.Flags&ibft.BootSelected != 0, Initiator: p.Initiator,
			CHAP: p.Target.CHAP.String(), CHAPName: p.Target.CHAPName,
			MAC: p.NIC.MAC, Address: p.NIC.IP, VLAN: p.NIC.VLAN,
		})
	}
	if asJSON {
		return cli.PrintJSON(std.Out, paths)
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s: %w: the table has no usable path, ibft check says why", source, errNothingFound)
	}
	t := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PORTAL\tLUN\tTARGET\tINITIATOR\tCHAP\tNIC\tADDRESS")
	for _, p := range paths {
		nic := p.MAC.String()
		if p.VLAN != 0 {
			nic += fmt.Sprintf(".%d", p.VLAN)
		}
		address := "DHCP"
		if p.Address.IsValid() {
			address = p.Address.String()
		}
		fmt.Fprintf(t, "%v\t%v\t%s\t%s\t%s\t%s\t%s\n", p.Portal, p.LUN, cli.Printable(p.Target), cli.Printable(p.Initiator), p.CHAP, nic, address)
	}
	return t.Flush()
}

func firmwareTable(args []string, root string, stdin io.Reader) (table *ibft.Table, source string, err error) {
	var found []ibft.Found
	switch len(args) {
	case 0:
		if found, err = ibft.Find(ibft.FindOptions{Root: root}); err != nil {
			return nil, "", err
		}
	case 1:
		in, _, err := open(args[0], stdin)
		if err != nil {
			return nil, "", err
		}
		defer in.Close()
		b, err := io.ReadAll(io.LimitReader(in, maxTableFile))
		if err != nil {
			return nil, "", err
		}
		if found, err = ibft.Decode(b); err != nil {
			return nil, "", fmt.Errorf("%s: %w", args[0], err)
		}
		source = args[0]
	default:
		return nil, "", cli.Misused(errors.New("discover: --firmware takes one FILE at most, see iscsi discover --help"))
	}
	for _, f := range found {
		if f.Err == nil {
			if source == "" {
				source = f.Source
			}
			return f.Table, source, nil
		}
		err = fmt.Errorf("%s: %w", f.Source, f.Err)
	}
	if err == nil {
		err = fmt.Errorf("%w: this machine has no table, or only root may see it (ibft find says where it looks)", errNothingFound)
	}
	return nil, "", err
}
