package target

import (
	"encoding/binary"
	"slices"

	"github.com/bootlun/bootlun/scsi"
)

// Sizes told in the Block Limits page, in bytes.
const (
	maxTransfer        = 256 << 20
	optimalTransfer    = 1 << 20
	maxUnmapRanges     = 256
	maxCompareAndWrite = 255 // blocks
)

// vpdPages are the VPD pages that units have, in order.
var vpdPages = []scsi.VPDPage{
	scsi.VPDSupportedPages, scsi.VPDSerialNumber, scsi.VPDDeviceID, scsi.VPDExtendedInquiry, scsi.VPDModePagePolicy,
	scsi.VPDThirdPartyCopy, scsi.VPDBlockLimits, scsi.VPDBlockCharacteristics, scsi.VPDProvisioning,
}

// discVPDPages are those of CD-ROMs.
var discVPDPages = []scsi.VPDPage{
	scsi.VPDSupportedPages, scsi.VPDSerialNumber, scsi.VPDDeviceID, scsi.VPDExtendedInquiry, scsi.VPDModePagePolicy,
}

// runInquiry answers INQUIRY (SPC-4, 6.6).
func runInquiry(t *task, _ bool) error {
	c := scsi.ParseInquiry((*scsi.CDB)(&t.cdb))
	if !c.VPD && c.Page != 0 {
		return scsi.InvalidCDBField(2, 7)
	}
	if t.lun == reportLUNs {
		return t.inquiryWellKnown(c)
	}
	if t.nx == nil {
		none := scsi.InquiryData{Qualifier: scsi.QualifierNone, Type: scsi.TypeUnknown, Version: scsi.VersionSPC4}
		if c.VPD {
			return scsi.InvalidCDBField(1, 0)
		}
		t.reply(none.Append(nil), int(c.Length))
		return nil
	}
	u := t.unit()
	if !c.VPD {
		data := u.inquiry
		data.MultiPort = len(u.portIDs()) > 1
		t.reply(data.Append(nil), int(c.Length))
		return nil
	}
	body, ok := u.vpd(c.Page, t.s.port)
	if !ok {
		return scsi.InvalidCDBField(2, 7)
	}
	t.reply(scsi.AppendVPD(nil, byte(u.inquiry.Type), c.Page, body), int(c.Length))
	return nil
}

// vpdPages are the unit's, in order.
func (u *unit) vpdPages() []scsi.VPDPage {
	if u.isDisc() {
		return discVPDPages
	}
	return vpdPages
}

// vpd returns the body of a VPD page.
func (u *unit) vpd(page scsi.VPDPage, p *port) (body []byte, ok bool) {
	if !slices.Contains(u.vpdPages(), page) {
		return nil, false
	}
	switch page {
	case scsi.VPDSupportedPages:
		for _, p := range u.vpdPages() {
			body = append(body, byte(p))
		}
	case scsi.VPDSerialNumber:
		body = append(body, u.serial...)
	case scsi.VPDDeviceID:
		body = u.designators(p)
	case scsi.VPDExtendedInquiry:
		e := scsi.ExtendedInquiry{HeadOfQueue: true, Ordered: true, Simple: true, VolatileCache: !u.throughNow() && !u.readOnly, ClearsNexus: true}
		body = e.Append(nil)
	case scsi.VPDModePagePolicy:
		body = []byte{scsi.ModePageAll, scsi.ModeSubpageAll, 0, 0} // all pages are shared by all nexuses
	case scsi.VPDThirdPartyCopy:
		body = copyAbilities.AppendVPD(nil)
	case scsi.VPDBlockLimits:
		limits := u.limits()
		body = limits.Append(nil)
	case scsi.VPDBlockCharacteristics:
		c := scsi.BlockCharacteristics{RotationRate: scsi.NonRotating, FUAB: true, VBULS: true}
		if u.thin {
			c.EraseReads = 1
		}
		body = c.Append(nil)
	case scsi.VPDProvisioning:
		p := scsi.Provisioning{}
		if u.thin {
			p = scsi.Provisioning{ThresholdExponent: thresholdShift, Unmap: true, WriteSame16: true, WriteSame10: true, ReadZeros: 1, Type: scsi.ProvisioningThin}
		}
		body = p.Append(nil)
	default:
		return nil, false
	}
	return body, true
}

// designators are the names of the unit, and of the target and the port that the
// question came to (SPC-4, 7.8.6).
func (u *unit) designators(p *port) []byte {
	return scsi.AppendDesignators(nil, append(u.names(),
		scsi.RelativePortDesignator(p.relative),
		scsi.PortGroupDesignator(p.group),
		scsi.SCSINameDesignator(scsi.OfTargetPort, p.String()),
		scsi.SCSINameDesignator(scsi.OfTarget, p.target),
	))
}

// names are the names of the unit itself.
func (u *unit) names() []scsi.Designator {
	return []scsi.Designator{
		scsi.NAADesignator(u.naa[:]),
		scsi.T10Designator(u.inquiry.Vendor, u.serial),
		scsi.EUI64Designator(u.eui64()),
		scsi.SCSINameDesignator(scsi.OfLogicalUnit, scsi.NAADesignator(u.naa[:]).String()),
	}
}

// eui64 derives an EUI-64 from the NAA identifier. That it is locally
// administered the second bit of its first byte says.
func (u *unit) eui64() uint64 {
	return binary.BigEndian.Uint64(u.naa[8:])&^(0x03<<56) | 0x02<<56
}

func (u *unit) limits() scsi.BlockLimits {
	l := scsi.BlockLimits{
		MaxCompareAndWrite: uint8(min(maxCompareAndWrite, maxBuffer/2>>u.shift)),
		OptimalGranularity: 1 << (u.physical - u.shift),
		MaxTransfer:        maxTransfer >> u.shift,
		OptimalTransfer:    optimalTransfer >> u.shift,
		MaxAtomic:          maxBuffer >> u.shift,
	}
	if u.thin {
		l.MaxUnmapBlocks = 1<<32 - 1
		l.MaxUnmapRanges = maxUnmapRanges
		l.UnmapGranularity = 1 << (u.physical - u.shift)
		l.HasUnmapAlignment = true
	}
	return l
}

// capacity is what READ CAPACITY tells.
func (u *unit) capacity() scsi.Capacity {
	return scsi.Capacity{
		Blocks: u.blocks.Load(), BlockLength: uint32(u.blockSize()), PhysicalExponent: uint8(u.physical - u.shift),
		Provisioned: u.thin, ReadZeros: u.thin,
	}
}
