package main

import (
	"fmt"
	"strings"

	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// maxDecoded bounds what is kept of a PDU's data to be told of.
const maxDecoded = 16 << 10

// decoder tells in a line each what the PDUs of a connection are.
type decoder struct {
	out   *lineWriter
	halfs [2]decoderHalf
}

// decoderHalf is one direction.
type decoderHalf struct {
	bhs  iscsi.BHS
	data []byte
	left int
	part bool // the text began in the PDU before
	more bool // it goes on in the next
}

func (d *decoder) half(sent bool) *decoderHalf {
	if sent {
		return &d.halfs[1]
	}
	return &d.halfs[0]
}

// Header implements [iscsi.Tap].
func (d *decoder) Header(sent bool, b iscsi.BHS, _ []byte) {
	h := d.half(sent)
	h.bhs, h.data, h.left = b, h.data[:0], b.DataSegmentLength()
	if h.left == 0 || !saysMore(b.Opcode()) {
		h.left = 0
		d.tell(sent, h)
	}
}

// Data implements [iscsi.Tap].
func (d *decoder) Data(sent bool, p []byte) {
	h := d.half(sent)
	if h.left == 0 {
		return
	}
	h.left -= len(p)
	h.data = append(h.data, p[:min(len(p), maxDecoded-len(h.data))]...)
	if h.left <= 0 {
		h.left = 0
		d.tell(sent, h)
	}
}

// saysMore says that a PDU's data is part of what it says.
func saysMore(op iscsi.Opcode) bool {
	switch op {
	case iscsi.OpLoginRequest, iscsi.OpLoginResponse, iscsi.OpTextRequest, iscsi.OpTextResponse, iscsi.OpSCSIResponse,
		iscsi.OpAsyncMessage, iscsi.OpReject:
		return true
	}
	return false
}

func (d *decoder) tell(sent bool, h *decoderHalf) {
	way := "<"
	if sent {
		way = ">"
	}
	p, err := iscsi.DecodePDU(&h.bhs)
	if err != nil {
		d.out.line(fmt.Sprintf("%s %v: %v", way, &h.bhs, err))
		return
	}
	text := fmt.Sprintf("%s %v", way, p.Opcode())
	if itt := h.bhs.ITT(); itt != iscsi.ReservedTag {
		text += fmt.Sprintf(" %x", itt)
	}
	if said := h.say(p); said != "" {
		text += ": " + said
	}
	d.out.line(text)
}

// say tells what a PDU says besides what it is.
func (h *decoderHalf) say(p iscsi.PDU) string {
	switch p := p.(type) {
	case *iscsi.LoginRequest:
		return fmt.Sprintf("%s, ISID %v, TSIH %d%s", stages(p.Transit, p.CurrentStage, p.NextStage), p.ISID, p.TSIH, h.text(p.Continue))
	case *iscsi.LoginResponse:
		return fmt.Sprintf("%v, %s, TSIH %d%s", p.Status, stages(p.Transit, p.CurrentStage, p.NextStage), p.TSIH, h.text(p.Continue))
	case *iscsi.TextRequest:
		return strings.TrimPrefix(h.text(p.Continue), ", ")
	case *iscsi.TextResponse:
		return strings.TrimPrefix(h.text(p.Continue), ", ")
	case *iscsi.SCSICommand:
		cdb := scsi.CDB(p.CDB)
		return fmt.Sprintf("CmdSN %d, LUN %v, %v, %s", p.CmdSN, p.LUN, &cdb, direction(p, h.bhs.DataSegmentLength()))
	case *iscsi.SCSIResponse:
		return h.outcome(p)
	case *iscsi.DataIn:
		text := fmt.Sprintf("%d bytes at %d", h.bhs.DataSegmentLength(), p.BufferOffset)
		if p.HasStatus {
			text += fmt.Sprintf(", %v%s", scsi.Status(p.Status), residual(p.Underflow, p.Overflow, p.ResidualCount))
		}
		return text
	case *iscsi.DataOut:
		return fmt.Sprintf("%d bytes at %d", h.bhs.DataSegmentLength(), p.BufferOffset)
	case *iscsi.R2T:
		return fmt.Sprintf("%d bytes at %d", p.DesiredLength, p.BufferOffset)
	case *iscsi.TaskManagementRequest:
		return fmt.Sprintf("%v of %x", p.Function, p.ReferencedITT)
	case *iscsi.TaskManagementResponse:
		return p.Response.String()
	case *iscsi.LogoutRequest:
		return p.Reason.String()
	case *iscsi.LogoutResponse:
		return p.Response.String()
	case *iscsi.AsyncMessage:
		return p.Event.String()
	case *iscsi.Reject:
		return p.Reason.String()
	}
	return ""
}

func stages(transit bool, current, next iscsi.Stage) string {
	if !transit {
		return current.String()
	}
	return fmt.Sprintf("%v to %v", current, next)
}

// text tells the keys of a login or text PDU; CHAP responses are masked. A text in several PDUs is not shown: a secret
// value may be in two of them.
func (h *decoderHalf) text(more bool) string {
	h.part, h.more = h.more, more
	if h.bhs.DataSegmentLength() == 0 {
		return ""
	}
	keys, err := iscsi.ParseText(h.data)
	if h.part || h.more || err != nil || h.bhs.DataSegmentLength() > len(h.data) {
		return fmt.Sprintf(", %d bytes of text", h.bhs.DataSegmentLength())
	}
	return ", " + cli.Printable(keys.String())
}

func direction(p *iscsi.SCSICommand, immediate int) string {
	switch {
	case p.Write && immediate > 0:
		return fmt.Sprintf("writes %d bytes, %d with it", p.ExpectedLength, immediate)
	case p.Write:
		return fmt.Sprintf("writes %d bytes", p.ExpectedLength)
	case p.Read:
		return fmt.Sprintf("reads %d bytes", p.ExpectedLength)
	}
	return "no data"
}

func (h *decoderHalf) outcome(p *iscsi.SCSIResponse) string {
	if p.Response != iscsi.CommandCompleted {
		return p.Response.String()
	}
	text := scsi.Status(p.Status).String() + residual(p.Underflow, p.Overflow, p.ResidualCount)
	if raw, _, err := iscsi.SplitSense(h.data); err == nil && len(raw) > 0 {
		if sense, err := scsi.ParseSense(raw); err == nil {
			text += ", " + sense.String()
		}
	}
	return text
}

func residual(under, over bool, n uint32) string {
	switch {
	case under:
		return fmt.Sprintf(", %d bytes fewer", n)
	case over:
		return fmt.Sprintf(", %d bytes more", n)
	}
	return ""
}
