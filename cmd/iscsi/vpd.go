package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/bootlun/bootlun/scsi"
)

// vpdPage is a vital product data page, decoded.
type vpdPage struct {
	Page   string     `json:"page"`
	Name   string     `json:"name"`
	Fields []vpdField `json:"fields"`
}

type vpdField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// fields gathers what a page says.
type fields []vpdField

func (f *fields) add(name, format string, args ...any) {
	*f = append(*f, vpdField{name, fmt.Sprintf(format, args...)})
}

// number adds a number unless it is zero, by which a device says that it does not say.
func (f *fields) number(name string, n uint64, unit string) {
	if n != 0 {
		f.add(name, "%s", strings.TrimSpace(fmt.Sprint(n)+" "+unit))
	}
}

// decodeVPD returns what a page says; of one that is not known, its bytes.
func decodeVPD(page scsi.VPDPage, body []byte) []vpdField {
	f := fields{}
	switch page {
	case scsi.VPDSupportedPages:
		for _, p := range body {
			f.add(fmt.Sprintf("0x%02x", p), "%v", scsi.VPDPage(p))
		}
	case scsi.VPDSerialNumber:
		f.add("serial number", "%s", strings.Trim(string(body), " \x00"))
	case scsi.VPDDeviceID:
		for _, d := range scsi.ParseDesignators(body) {
			of := [...]string{scsi.OfLogicalUnit: "logical unit", scsi.OfTargetPort: "target port", scsi.OfTarget: "target", 3: "reserved"}
			f.add(of[d.Association&3], "%v", d)
		}
	case scsi.VPDExtendedInquiry:
		e := scsi.ParseExtendedInquiry(body)
		f.add("task attributes", "simple %s, ordered %s, head of queue %s", yes(e.Simple), yes(e.Ordered), yes(e.HeadOfQueue))
		f.add("cache", "volatile %s, non-volatile %s", yes(e.VolatileCache), yes(e.NonVolatileCache))
	case scsi.VPDBlockLimits:
		f.limits(scsi.ParseBlockLimits(body))
	case scsi.VPDBlockCharacteristics:
		c := scsi.ParseBlockCharacteristics(body)
		switch c.RotationRate {
		case 0:
			f.add("rotation rate", "not said")
		case scsi.NonRotating:
			f.add("rotation rate", "none: solid state")
		default:
			f.add("rotation rate", "%d per minute", c.RotationRate)
		}
		f.number("form factor", uint64(c.FormFactor), "")
	case scsi.VPDProvisioning:
		f.provisioning(scsi.ParseProvisioning(body))
	default:
		f.add("bytes", "%s", hex.EncodeToString(body[:min(len(body), 64)]))
	}
	return f
}

func (f *fields) limits(l scsi.BlockLimits) {
	const blocks = "blocks"
	f.number("most at once", uint64(l.MaxTransfer), blocks)
	f.number("best at once", uint64(l.OptimalTransfer), blocks)
	f.number("best in multiples of", uint64(l.OptimalGranularity), blocks)
	f.number("COMPARE AND WRITE", uint64(l.MaxCompareAndWrite), blocks)
	f.number("UNMAP", uint64(l.MaxUnmapBlocks), blocks)
	f.number("UNMAP ranges", uint64(l.MaxUnmapRanges), "")
	f.number("UNMAP in multiples of", uint64(l.UnmapGranularity), blocks)
	if l.HasUnmapAlignment {
		f.add("UNMAP begins at", "%d blocks", l.UnmapAlignment)
	}
	f.number("WRITE SAME", l.MaxWriteSame, blocks)
	f.number("WRITE ATOMIC", uint64(l.MaxAtomic), blocks)
	f.number("pre-fetch", uint64(l.MaxPreFetch), blocks)
}

func (f *fields) provisioning(p scsi.Provisioning) {
	kind := map[uint8]string{scsi.ProvisioningNone: "full, or not said", scsi.ProvisioningResource: "resource", scsi.ProvisioningThin: "thin"}[p.Type]
	if kind == "" {
		kind = fmt.Sprintf("type %d", p.Type)
	}
	f.add("provisioning", "%s", kind)
	f.add("unmap by", "UNMAP %s, WRITE SAME(16) %s, WRITE SAME(10) %s", yes(p.Unmap), yes(p.WriteSame16), yes(p.WriteSame10))
	f.add("reads as zeros then", "%s", yes(p.ReadZeros == 1))
}
