package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

const infoUsage = `Log in to a target and tell who it is, what was negotiated and which LUNs it has; of
the LUN in the URL, if there is one, also its identity, capacity and limits.

Usage:
  iscsi info URL [flags]

Examples:
  iscsi info iscsi://192.0.2.1/iqn.2026-01.com.example:disk
  iscsi info iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 --json
`

func info(ctx context.Context, args []string, env environment, std stdio) error {
	c := newCommand("info", infoUsage)
	var n connection
	n.register(c.FlagSet)
	asJSON := c.Bool("json", false, "print JSON")
	url, err := c.parse(args, "URL", std)
	if err != nil {
		return err
	}
	cfg, err := n.config(c, url, false, env)
	if err != nil {
		return err
	}
	s, err := initiator.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close() // whether the target confirms the logout does not matter
	r, err := gather(ctx, s, n)
	if err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(std.out, r)
	}
	return r.print(std.out)
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
	LUNs           []lunSummary `json:"luns"`
	LUN            *lunDetails  `json:"lun,omitempty"`
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
	LUN            string   `json:"lun"`
	Vendor         string   `json:"vendor"`
	Product        string   `json:"product"`
	Revision       string   `json:"revision"`
	Serial         string   `json:"serial,omitempty"`
	Identifiers    []string `json:"identifiers"`
	Bytes          int64    `json:"bytes"`
	BlockSize      int      `json:"blockSize"`
	PhysicalBlock  int      `json:"physicalBlockSize"`
	WriteProtected bool     `json:"writeProtected"`
	Thin           bool     `json:"thin"`
	SolidState     bool     `json:"solidState"`
	MaxTransfer    uint32   `json:"maxTransferBlocks,omitempty"`
	Pages          []string `json:"vpdPages"`
}

// gather asks the target and its LUNs.
func gather(ctx context.Context, s *initiator.Session, n connection) (*report, error) {
	login := s.Login()
	r := &report{
		Target: s.Target(), Portal: s.Portal(), Alias: login.TargetAlias, ISID: login.ISID.String(), TSIH: login.TSIH,
		AuthMethod: login.AuthMethod, Negotiated: login.Params, LUNs: []lunSummary{},
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

// details asks a disk for its VPD pages, of which it may have any.
func details(ctx context.Context, l *initiator.LUN) (*lunDetails, error) {
	q, size := l.Inquiry(), l.Capacity()
	d := &lunDetails{
		LUN: l.ID().String(), Vendor: q.Vendor, Product: q.Product, Revision: q.Revision,
		Bytes: l.Size(), BlockSize: l.BlockSize(), PhysicalBlock: l.BlockSize() << size.PhysicalExponent,
		WriteProtected: l.WriteProtected(), Thin: size.Provisioned, MaxTransfer: l.Limits().MaxTransfer,
		Identifiers: []string{}, Pages: []string{},
	}
	pages, err := l.VPD(ctx, scsi.VPDSupportedPages)
	if err != nil {
		return d, onlyRefused(err)
	}
	for _, p := range pages {
		page := scsi.VPDPage(p)
		d.Pages = append(d.Pages, fmt.Sprintf("0x%02x", p))
		if err := d.add(ctx, l, page); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// add reads one page, if it is one that the report is about.
func (d *lunDetails) add(ctx context.Context, l *initiator.LUN, page scsi.VPDPage) error {
	switch page {
	case scsi.VPDSerialNumber, scsi.VPDDeviceID, scsi.VPDBlockCharacteristics:
	default:
		return nil
	}
	body, err := l.VPD(ctx, page)
	if err != nil {
		return onlyRefused(err)
	}
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
	if r.Alias != "" {
		line("Alias", "%s", printable(r.Alias))
	}
	line("Session", "ISID %s, TSIH %d, authentication %s", r.ISID, r.TSIH, r.AuthMethod)
	p := r.Negotiated
	line("Digests", "header %s, data %s", digest(p.HeaderDigest), digest(p.DataDigest))
	line("Longest PDU", "receive %s, send %s", bytesize.Format(int64(p.MaxRecvDataSegmentLength)), bytesize.Format(int64(p.MaxSendDataSegmentLength)))
	line("Bursts", "%s, the first %s", bytesize.Format(int64(p.MaxBurstLength)), bytesize.Format(int64(p.FirstBurstLength)))
	line("Write data", "immediate %s, unsolicited %s, requests at once %d", yes(p.ImmediateData), yes(!p.InitialR2T), p.MaxOutstandingR2T)
	for _, l := range r.LUNs {
		if l.Error != "" {
			line("LUN "+l.LUN, "%s", printable(l.Error))
			continue
		}
		line("LUN "+l.LUN, "%s, %s", bytesize.Format(l.Bytes), printable(l.Product))
	}
	if r.LUN != nil {
		fmt.Fprintln(t)
		r.LUN.print(line)
	}
	return t.Flush()
}

func (d *lunDetails) print(line func(name, format string, args ...any)) {
	line("LUN", "%s", d.LUN)
	line("Device", "%s %s, revision %s", printable(d.Vendor), printable(d.Product), printable(d.Revision))
	if d.Serial != "" {
		line("Serial", "%s", printable(d.Serial))
	}
	for _, id := range d.Identifiers {
		line("Identifier", "%s", printable(id))
	}
	line("Capacity", "%s (%d bytes)", bytesize.Format(d.Bytes), d.Bytes)
	line("Blocks", "%d bytes, physically %d", d.BlockSize, d.PhysicalBlock)
	if d.MaxTransfer > 0 {
		line("Most at once", "%d blocks", d.MaxTransfer)
	}
	line("Kind", "write-protected %s, thin %s, solid state %s", yes(d.WriteProtected), yes(d.Thin), yes(d.SolidState))
	line("VPD pages", "%s", strings.Join(d.Pages, " "))
}

// printable returns s as it is if a terminal can take it, else quoted.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func digest(v bool) string {
	if v {
		return "CRC32C"
	}
	return "none"
}
