package target

import (
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// reportLUNs is the LUN of the REPORT LUNS well-known logical unit (SAM-5, 4.7.5.6),
// which every target has: it answers REPORT LUNS, and what every unit does.
const reportLUNs iscsi.LUN = 0xc101 << 48

// answersWellKnown tells whether the well-known unit has an operation.
func answersWellKnown(o *operation) bool { return o.is(anyLUN) || o.op == scsi.OpTestUnitReady }

// inquiryWellKnown is INQUIRY of the well-known unit.
func (t *task) inquiryWellKnown(c scsi.Inquiry) error {
	if !c.VPD {
		data := scsi.InquiryData{
			Type: scsi.TypeWellKnown, Version: scsi.VersionSPC4, CmdQue: true,
			Vendor: defaultVendor, Product: "REPORT-LUNS", Revision: defaultRevision, Descriptors: versions[:3],
		}
		t.reply(data.Append(nil), int(c.Length))
		return nil
	}
	var body []byte
	switch c.Page {
	case scsi.VPDSupportedPages:
		body = []byte{byte(scsi.VPDSupportedPages), byte(scsi.VPDDeviceID)}
	case scsi.VPDDeviceID:
		p := t.s.port
		body = scsi.AppendDesignators(nil, []scsi.Designator{
			scsi.RelativePortDesignator(p.relative),
			scsi.SCSINameDesignator(scsi.OfTargetPort, p.String()),
			scsi.SCSINameDesignator(scsi.OfTarget, p.target),
		})
	default:
		return scsi.InvalidCDBField(2, 7)
	}
	t.reply(scsi.AppendVPD(nil, byte(scsi.TypeWellKnown), c.Page, body), int(c.Length))
	return nil
}
