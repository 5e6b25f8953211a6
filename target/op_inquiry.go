package target

import (
	"fmt"

	"github.com/bootlun/bootlun/scsi"
)

// Sizes told in the Block Limits page, in bytes. There are no limits in fact but
// that of ranges in an UNMAP.
const (
	optimalTransfer  = 1 << 20
	physicalBlock    = 4096
	maxUnmapRanges   = 256
	unmapGranularity = 4096
)

// vpdPages are the VPD pages that units have, in order.
var vpdPages = []scsi.VPDPage{
	scsi.VPDSupportedPages, scsi.VPDSerialNumber, scsi.VPDDeviceID,
	scsi.VPDBlockLimits, scsi.VPDBlockCharacteristics, scsi.VPDProvisioning,
}

// runInquiry answers INQUIRY (SPC-4, 6.6).
func runInquiry(t *task, _ bool) error {
	c := scsi.ParseInquiry((*scsi.CDB)(&t.cdb))
	if !c.VPD && c.Page != 0 {
		return scsi.InvalidCDBField(2, 7)
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
		t.reply(u.inquiry.Append(nil), int(c.Length))
		return nil
	}
	body, ok := u.vpd(c.Page, t.s.srv.cfg.PortalGroupTag)
	if !ok {
		return scsi.InvalidCDBField(2, 7)
	}
	t.reply(scsi.AppendVPD(nil, byte(scsi.TypeDisk), c.Page, body), int(c.Length))
	return nil
}

// vpd returns the body of a VPD page.
func (u *unit) vpd(page scsi.VPDPage, group uint16) (body []byte, ok bool) {
	switch page {
	case scsi.VPDSupportedPages:
		for _, p := range vpdPages {
			body = append(body, byte(p))
		}
	case scsi.VPDSerialNumber:
		body = append(body, u.serial...)
	case scsi.VPDDeviceID:
		body = u.designators(group)
	case scsi.VPDBlockLimits:
		limits := u.limits()
		body = limits.Append(nil)
	case scsi.VPDBlockCharacteristics:
		c := scsi.BlockCharacteristics{RotationRate: scsi.NonRotating, FUAB: true, VBULS: true}
		body = c.Append(nil)
	case scsi.VPDProvisioning:
		p := scsi.Provisioning{}
		if u.thin {
			p = scsi.Provisioning{Unmap: true, WriteSame16: true, WriteSame10: true, ReadZeros: 1, Type: scsi.ProvisioningThin}
		}
		body = p.Append(nil)
	default:
		return nil, false
	}
	return body, true
}

// designators are the names of the unit, of its target and of the one port
// (SPC-4, 7.8.6).
func (u *unit) designators(group uint16) []byte {
	return scsi.AppendDesignators(nil, []scsi.Designator{
		scsi.NAADesignator(u.naa[:]),
		scsi.T10Designator(u.inquiry.Vendor, u.serial),
		scsi.RelativePortDesignator(1),
		scsi.PortGroupDesignator(group),
		scsi.SCSINameDesignator(scsi.OfTargetPort, fmt.Sprintf("%s,t,0x%04x", u.targetName, group)),
		scsi.SCSINameDesignator(scsi.OfTarget, u.targetName),
	})
}

func (u *unit) limits() scsi.BlockLimits {
	l := scsi.BlockLimits{
		OptimalGranularity: uint16(physicalBlock >> u.shift),
		OptimalTransfer:    optimalTransfer >> u.shift,
	}
	if u.thin {
		l.MaxUnmapBlocks = 1<<32 - 1
		l.MaxUnmapRanges = maxUnmapRanges
		l.UnmapGranularity = unmapGranularity >> u.shift
		l.HasUnmapAlignment = true
	}
	return l
}

// capacity is what READ CAPACITY tells.
func (u *unit) capacity() scsi.Capacity {
	c := scsi.Capacity{
		Blocks: u.blocks, BlockLength: uint32(u.blockSize()), Provisioned: u.thin, ReadZeros: u.thin,
	}
	for 1<<c.PhysicalExponent<<u.shift < physicalBlock {
		c.PhysicalExponent++
	}
	return c
}

// modePages are the mode pages that units have, in order.
var modePages = []uint8{scsi.ModePageCaching, scsi.ModePageControl}

// runModeSense answers MODE SENSE (SPC-4, 6.11 and 6.12).
func runModeSense(t *task, _ bool) error {
	c := scsi.ParseModeSense((*scsi.CDB)(&t.cdb))
	u := t.unit()
	if c.Control == scsi.SavedValues {
		return errSaving
	}
	if c.Subpage != 0 && c.Subpage != scsi.ModeSubpageAll {
		return scsi.InvalidCDBField(3, 7)
	}
	data := scsi.ModeData{WriteProtect: u.readOnly, DPOFUA: true}
	if !c.NoDescriptor {
		data.Blocks, data.BlockLength, data.LongLBA = u.blocks, uint32(u.blockSize()), c.LongLBA
	}
	for _, page := range modePages {
		if c.Page == page || c.Page == scsi.ModePageAll {
			data.Pages = scsi.AppendModePage(data.Pages, u.modePage(page, c.Control))
		}
	}
	if len(data.Pages) == 0 {
		return scsi.InvalidCDBField(2, 5)
	}
	t.reply(data.Append(nil, c.Ten), int(c.Length))
	return nil
}

// modePage returns a mode page of modePages. Nothing in it can be changed.
func (u *unit) modePage(page uint8, control scsi.PageControl) scsi.ModePage {
	p := scsi.CachingPage{WriteCache: !u.writeThrough && !u.readOnly}.Page()
	if page == scsi.ModePageControl {
		p = scsi.ControlPage{TaskSets: 1, Reorder: 1}.Page()
	}
	if control == scsi.ChangeableValues {
		clear(p.Body)
	}
	return p
}
