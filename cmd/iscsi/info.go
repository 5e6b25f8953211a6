package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

func infoCommand() *cli.Command {
	c := cli.NewCommand("info", "tell about a target, or one of its disks", "URL [flags]")
	c.Text = `It logs in and tells what was negotiated, by which portals the target is reached and
which LUNs it has; of the LUN in the URL, if there is one, also its capacity, the
access states of its port groups, and every VPD page that it has.`
	c.Examples = []cli.Example{
		{"iscsi info iscsi://192.0.2.1/iqn.2026-01.com.example:disk", "the target"},
		{"iscsi info iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 --json", "a disk, for a program"},
	}
	c.Max = 1
	var r reach
	r.define(c)
	asJSON := c.Bool("json", false, "print JSON")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		cfg, err := r.config(c, args, false)
		if err != nil {
			return err
		}
		return r.withSession(ctx, cfg, std, func(s *initiator.Session) error {
			report, err := gather(ctx, s, &r)
			if err != nil {
				return err
			}
			report.Paths = otherPortals(ctx, cfg)
			if *asJSON {
				return cli.PrintJSON(std.Out, report)
			}
			return report.print(std.Out)
		})
	}
	return c
}

// report is what info tells. Its JSON is meant for other programs.
type report struct {
	Target         string       `json:"target"`
	Portal         string       `json:"portal"`
	Alias          string       `json:"alias,omitempty"`
	PortalGroupTag *int         `json:"portalGroupTag,omitempty"`
	ISID           string       `json:"isid"`
	TSIH           uint16       `json:"tsih"`
	AuthMethod     string       `json:"authMethod"`
	Negotiated     iscsi.Params `json:"negotiated"`
	Connections    int          `json:"connections"`
	// Paths are the portals that SendTargets has for the target; empty if that is refused.
	Paths []string     `json:"paths"`
	LUNs  []lunSummary `json:"luns"`
	LUN   *lunDetails  `json:"lun,omitempty"`
}

// lunSummary is one of the target's LUNs.
type lunSummary struct {
	LUN     string `json:"lun"`
	Product string `json:"product,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
	Error   string `json:"error,omitempty"` // why it cannot be used as a disk
}

// lunDetails are what a disk says of itself.
type lunDetails struct {
	LUN            string      `json:"lun"`
	Vendor         string      `json:"vendor"`
	Product        string      `json:"product"`
	Revision       string      `json:"revision"`
	Serial         string      `json:"serial,omitempty"`
	Identifiers    []string    `json:"identifiers"`
	Bytes          int64       `json:"bytes"`
	BlockSize      int         `json:"blockSize"`
	PhysicalBlock  int         `json:"physicalBlockSize"`
	WriteProtected bool        `json:"writeProtected"`
	Thin           bool        `json:"thin"`
	SolidState     bool        `json:"solidState"`
	PortGroups     []portGroup `json:"portGroups"`
	Pages          []vpdPage   `json:"vpdPages"`
}

// portGroup is a target port group and how well the disk is reached by it.
type portGroup struct {
	ID        uint16           `json:"id"`
	State     scsi.AccessState `json:"state"`
	Preferred bool             `json:"preferred"`
	Ports     []uint16         `json:"ports"`
}

// gather asks the target and its LUNs.
func gather(ctx context.Context, s *initiator.Session, n *reach) (*report, error) {
	login := s.Login()
	r := &report{
		Target: s.Target(), Portal: s.Portal(), Alias: login.TargetAlias, ISID: login.ISID.String(), TSIH: login.TSIH,
		AuthMethod: login.AuthMethod, Negotiated: login.Params, Connections: s.Connections(), LUNs: []lunSummary{},
	}
	if login.PortalGroupTag != iscsi.NoTag {
		r.PortalGroupTag = &login.PortalGroupTag
	}
	luns, err := s.LUNs(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range luns {
		l, err := s.OpenLUN(ctx, id)
		switch {
		case err == nil:
			r.LUNs = append(r.LUNs, lunSummary{LUN: id.String(), Product: productOf(l), Bytes: l.Size()})
		case errors.Is(err, initiator.ErrConnectionLost), ctx.Err() != nil:
			return nil, err
		default:
			r.LUNs = append(r.LUNs, lunSummary{LUN: id.String(), Error: cause(err)})
		}
	}
	if !n.hasLUN {
		return r, nil
	}
	l, err := s.OpenLUN(ctx, n.lun)
	if err != nil {
		return nil, err
	}
	r.LUN, err = details(ctx, l)
	return r, err
}

// otherPortals asks the portal by which portals the target is reached. Some refuse: a discovery may want another secret.
func otherPortals(ctx context.Context, cfg initiator.Config) []string {
	paths := []string{}
	cfg.ISID = iscsi.ISID{} // another session
	records, err := initiator.Discover(ctx, cfg)
	if err != nil {
		return paths
	}
	for _, r := range records {
		for _, a := range r.Addresses {
			if r.Name == cfg.Target && !slices.Contains(paths, a.String()) {
				paths = append(paths, a.String())
			}
		}
	}
	return paths
}

// cause returns an error without what the report says already.
func cause(err error) string {
	var e *initiator.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return err.Error()
}

func productOf(l *initiator.LUN) string {
	q := l.Inquiry()
	return strings.TrimSpace(q.Vendor + " " + q.Product)
}

// details asks a disk for its VPD pages, of which it may have any, and its port groups.
func details(ctx context.Context, l *initiator.LUN) (*lunDetails, error) {
	q, size := l.Inquiry(), l.Capacity()
	d := &lunDetails{
		LUN: l.ID().String(), Vendor: q.Vendor, Product: q.Product, Revision: q.Revision,
		Bytes: l.Size(), BlockSize: l.BlockSize(), PhysicalBlock: l.BlockSize() << size.PhysicalExponent,
		WriteProtected: l.WriteProtected(), Thin: size.Provisioned,
		Identifiers: []string{}, PortGroups: []portGroup{}, Pages: []vpdPage{},
	}
	pages, err := l.VPD(ctx, scsi.VPDSupportedPages)
	if err != nil && onlyRefused(err) != nil {
		return nil, err
	}
	for _, p := range pages {
		page := scsi.VPDPage(p)
		body, err := l.VPD(ctx, page)
		if err != nil {
			if onlyRefused(err) != nil {
				return nil, err
			}
			continue
		}
		d.add(page, body)
	}
	return d, d.addPortGroups(ctx, l)
}

// add takes what a page says.
func (d *lunDetails) add(page scsi.VPDPage, body []byte) {
	d.Pages = append(d.Pages, vpdPage{fmt.Sprintf("0x%02x", uint8(page)), page.String(), decodeVPD(page, body)})
	switch page {
	case scsi.VPDSerialNumber:
		d.Serial = strings.Trim(string(body), " \x00")
	case scsi.VPDDeviceID:
		for _, g := range scsi.ParseDesignators(body) {
			if g.Association == scsi.OfLogicalUnit {
				d.Identifiers = append(d.Identifiers, g.String())
			}
		}
	case scsi.VPDBlockCharacteristics:
		d.SolidState = scsi.ParseBlockCharacteristics(body).RotationRate == scsi.NonRotating
	}
}

// addPortGroups asks for the access states, of a disk that has them (SPC-4, 5.15).
func (d *lunDetails) addPortGroups(ctx context.Context, l *initiator.LUN) error {
	if l.Inquiry().TPGS == 0 {
		return nil
	}
	groups, err := l.PortGroups(ctx)
	if err != nil {
		return onlyRefused(err)
	}
	for _, g := range groups {
		d.PortGroups = append(d.PortGroups, portGroup{g.ID, g.State, g.Preferred, g.Ports})
	}
	return nil
}

// onlyRefused returns nil for the device's own refusal.
func onlyRefused(err error) error {
	var e *scsi.Error
	if errors.As(err, &e) {
		return nil
	}
	return err
}

// print writes the report for people. What the target says of itself does not
// reach the terminal as it is.
func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	line("Target", "%s", r.Target)
	line("Portal", "%s", r.Portal)
	if r.PortalGroupTag != nil {
		line("Portal group", "%d", *r.PortalGroupTag)
	}
	for _, p := range r.Paths {
		line("Reached by", "%s", cli.Printable(p))
	}
	if r.Alias != "" {
		line("Alias", "%s", cli.Printable(r.Alias))
	}
	line("Session", "ISID %s, TSIH %d, authentication %s", r.ISID, r.TSIH, r.AuthMethod)
	for _, k := range negotiated(&r.Negotiated) {
		line("  "+k[0], "%s", k[1])
	}
	if r.Connections > 1 {
		line("Connections", "%d", r.Connections)
	}
	for _, l := range r.LUNs {
		if l.Error != "" {
			line("LUN "+l.LUN, "%s", cli.Printable(l.Error))
			continue
		}
		line("LUN "+l.LUN, "%s, %s", bytesize.Format(l.Bytes), cli.Printable(l.Product))
	}
	if r.LUN != nil {
		fmt.Fprintln(t)
		r.LUN.print(line)
	}
	return t.Flush()
}

// negotiated returns the keys of a session by their names in RFC 7143.
func negotiated(p *iscsi.Params) [][2]string {
	digest := func(on bool) string {
		if on {
			return "CRC32C"
		}
		return "None"
	}
	return [][2]string{
		{"HeaderDigest", digest(p.HeaderDigest)},
		{"DataDigest", digest(p.DataDigest)},
		{"MaxRecvDataSegmentLength", fmt.Sprintf("%d here, %d there", p.MaxRecvDataSegmentLength, p.MaxSendDataSegmentLength)},
		{"MaxBurstLength", strconv.Itoa(p.MaxBurstLength)},
		{"FirstBurstLength", strconv.Itoa(p.FirstBurstLength)},
		{"InitialR2T", iscsi.FormatBool(p.InitialR2T)},
		{"ImmediateData", iscsi.FormatBool(p.ImmediateData)},
		{"MaxOutstandingR2T", strconv.Itoa(p.MaxOutstandingR2T)},
		{"MaxConnections", strconv.Itoa(p.MaxConnections)},
		{"DataPDUInOrder", iscsi.FormatBool(p.DataPDUInOrder)},
		{"DataSequenceInOrder", iscsi.FormatBool(p.DataSequenceInOrder)},
		{"ErrorRecoveryLevel", strconv.Itoa(p.ErrorRecoveryLevel)},
		{"DefaultTime2Wait", strconv.Itoa(p.DefaultTime2Wait)},
		{"DefaultTime2Retain", strconv.Itoa(p.DefaultTime2Retain)},
		{"iSCSIProtocolLevel", strconv.Itoa(p.ProtocolLevel)},
	}
}

func (d *lunDetails) print(line func(name, format string, args ...any)) {
	line("LUN", "%s", d.LUN)
	line("Device", "%s %s, revision %s", cli.Printable(d.Vendor), cli.Printable(d.Product), cli.Printable(d.Revision))
	if d.Serial != "" {
		line("Serial", "%s", cli.Printable(d.Serial))
	}
	for _, id := range d.Identifiers {
		line("Identifier", "%s", cli.Printable(id))
	}
	line("Capacity", "%s (%d bytes)", bytesize.Format(d.Bytes), d.Bytes)
	line("Blocks", "%d bytes, physically %d", d.BlockSize, d.PhysicalBlock)
	line("Kind", "write-protected %s, thin %s, solid state %s", yes(d.WriteProtected), yes(d.Thin), yes(d.SolidState))
	for _, g := range d.PortGroups {
		text := g.State.String()
		if g.Preferred {
			text += ", preferred"
		}
		line(fmt.Sprintf("Port group %d", g.ID), "%s, ports %s", text, strings.Trim(fmt.Sprint(g.Ports), "[]"))
	}
	for _, p := range d.Pages {
		line("VPD "+p.Page, "%s", p.Name)
		for _, f := range p.Fields {
			line("  "+f.Name, "%s", cli.Printable(f.Value))
		}
	}
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}
