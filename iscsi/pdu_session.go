package iscsi

import "errors"

// TextRequest carries key=value text in full feature phase (RFC 7143, 11.10).
type TextRequest struct {
	Immediate bool
	Final     bool // the initiator has nothing more to say
	Continue  bool // the C bit: the text goes on in the next request
	LUN       LUN
	ITT       uint32
	TTT       uint32 // ReservedTag starts a new exchange, else the last response's
	CmdSN     uint32
	ExpStatSN uint32
}

// Opcode returns OpTextRequest.
func (*TextRequest) Opcode() Opcode { return OpTextRequest }

// Encode writes the header.
func (p *TextRequest) Encode(b *BHS) {
	b.begin(OpTextRequest, p.Immediate)
	b.setBit(1, bitFinal, p.Final)
	b.setBit(1, bitContinue, p.Continue)
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.TTT)
	b.putRequestSN(p.CmdSN, p.ExpStatSN)
}

// Decode reads the header.
func (p *TextRequest) Decode(b *BHS) error {
	if err := b.want(OpTextRequest); err != nil {
		return err
	}
	*p = TextRequest{
		Immediate: b.Immediate(),
		Final:     b.Final(),
		Continue:  b.bit(1, bitContinue),
		LUN:       b.LUN(),
		ITT:       b.ITT(),
		TTT:       b.TTT(),
		CmdSN:     b.CmdSN(),
		ExpStatSN: b.ExpStatSN(),
	}
	return nil
}

// TextResponse answers a TextRequest (RFC 7143, 11.11).
type TextResponse struct {
	Final    bool // the exchange is over; TTT is then ReservedTag
	Continue bool // the C bit: the text goes on in the next response
	LUN      LUN
	ITT      uint32
	TTT      uint32
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
}

// Opcode returns OpTextResponse.
func (*TextResponse) Opcode() Opcode { return OpTextResponse }

// Encode writes the header.
func (p *TextResponse) Encode(b *BHS) {
	b.begin(OpTextResponse, false)
	b.setBit(1, bitFinal, p.Final)
	b.setBit(1, bitContinue, p.Continue)
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.TTT)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
}

// Decode reads the header.
func (p *TextResponse) Decode(b *BHS) error {
	if err := b.want(OpTextResponse); err != nil {
		return err
	}
	*p = TextResponse{
		Final:    b.Final(),
		Continue: b.bit(1, bitContinue),
		LUN:      b.LUN(),
		ITT:      b.ITT(),
		TTT:      b.TTT(),
		StatSN:   b.StatSN(),
		ExpCmdSN: b.ExpCmdSN(),
		MaxCmdSN: b.MaxCmdSN(),
	}
	return nil
}

// LogoutRequest closes a connection or session (RFC 7143, 11.14).
type LogoutRequest struct {
	Immediate bool
	Reason    LogoutReason
	ITT       uint32
	CID       uint16 // ignored for LogoutSession
	CmdSN     uint32
	ExpStatSN uint32
}

// Opcode returns OpLogoutRequest.
func (*LogoutRequest) Opcode() Opcode { return OpLogoutRequest }

// Encode writes the header.
func (p *LogoutRequest) Encode(b *BHS) {
	b.begin(OpLogoutRequest, p.Immediate)
	b[1] = bitFinal | byte(p.Reason)&0x7f
	b.put32(16, p.ITT)
	b.put16(20, p.CID)
	b.putRequestSN(p.CmdSN, p.ExpStatSN)
}

// Decode reads the header.
func (p *LogoutRequest) Decode(b *BHS) error {
	if err := b.want(OpLogoutRequest); err != nil {
		return err
	}
	*p = LogoutRequest{
		Immediate: b.Immediate(),
		Reason:    LogoutReason(b[1] & 0x7f),
		ITT:       b.ITT(),
		CID:       b.u16(20),
		CmdSN:     b.CmdSN(),
		ExpStatSN: b.ExpStatSN(),
	}
	return nil
}

// LogoutResponse answers a LogoutRequest (RFC 7143, 11.15).
type LogoutResponse struct {
	Response    LogoutResult
	ITT         uint32
	StatSN      uint32
	ExpCmdSN    uint32
	MaxCmdSN    uint32
	Time2Wait   uint16 // seconds before a reconnect
	Time2Retain uint16 // seconds after Time2Wait for which tasks can be reassigned
}

// Opcode returns OpLogoutResponse.
func (*LogoutResponse) Opcode() Opcode { return OpLogoutResponse }

// Encode writes the header.
func (p *LogoutResponse) Encode(b *BHS) {
	b.begin(OpLogoutResponse, false)
	b[1] = bitFinal
	b[2] = byte(p.Response)
	b.put32(16, p.ITT)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
	b.put16(40, p.Time2Wait)
	b.put16(42, p.Time2Retain)
}

// Decode reads the header.
func (p *LogoutResponse) Decode(b *BHS) error {
	if err := b.want(OpLogoutResponse); err != nil {
		return err
	}
	*p = LogoutResponse{
		Response:    LogoutResult(b[2]),
		ITT:         b.ITT(),
		StatSN:      b.StatSN(),
		ExpCmdSN:    b.ExpCmdSN(),
		MaxCmdSN:    b.MaxCmdSN(),
		Time2Wait:   b.u16(40),
		Time2Retain: b.u16(42),
	}
	return nil
}

// AsyncMessage tells the initiator of an event (RFC 7143, 11.9). Its data
// segment holds sense data (see SplitSense) if Event is AsyncSCSI.
type AsyncMessage struct {
	LUN      LUN
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
	Event    AsyncEvent
	VCode    uint8 // vendor's code if Event is AsyncVendor
	Param1   uint16
	Param2   uint16
	Param3   uint16
}

// Opcode returns OpAsyncMessage.
func (*AsyncMessage) Opcode() Opcode { return OpAsyncMessage }

// Encode writes the header.
func (p *AsyncMessage) Encode(b *BHS) {
	b.begin(OpAsyncMessage, false)
	b[1] = bitFinal
	b.putLUN(p.LUN)
	b.put32(16, ReservedTag)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
	b[36], b[37] = byte(p.Event), p.VCode
	b.put16(38, p.Param1)
	b.put16(40, p.Param2)
	b.put16(42, p.Param3)
}

// Decode reads the header.
func (p *AsyncMessage) Decode(b *BHS) error {
	if err := b.want(OpAsyncMessage); err != nil {
		return err
	}
	*p = AsyncMessage{
		LUN:      b.LUN(),
		StatSN:   b.StatSN(),
		ExpCmdSN: b.ExpCmdSN(),
		MaxCmdSN: b.MaxCmdSN(),
		Event:    AsyncEvent(b[36]),
		VCode:    b[37],
		Param1:   b.u16(38),
		Param2:   b.u16(40),
		Param3:   b.u16(42),
	}
	return nil
}

// Reject tells the initiator that a PDU of its was refused (RFC 7143, 11.17).
// Its data segment is that PDU's header: see RejectedHeader.
type Reject struct {
	Reason   RejectReason
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
	DataSN   uint32 // DataSN or R2TSN, for RejectProtocolError and a data ACK
}

// Opcode returns OpReject.
func (*Reject) Opcode() Opcode { return OpReject }

// Encode writes the header.
func (p *Reject) Encode(b *BHS) {
	b.begin(OpReject, false)
	b[1] = bitFinal
	b[2] = byte(p.Reason)
	b.put32(16, ReservedTag)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
	b.put32(36, p.DataSN)
}

// Decode reads the header.
func (p *Reject) Decode(b *BHS) error {
	if err := b.want(OpReject); err != nil {
		return err
	}
	*p = Reject{
		Reason:   RejectReason(b[2]),
		StatSN:   b.StatSN(),
		ExpCmdSN: b.ExpCmdSN(),
		MaxCmdSN: b.MaxCmdSN(),
		DataSN:   b.u32(36),
	}
	return nil
}

// RejectedHeader returns the refused header from a Reject's data segment.
func RejectedHeader(data []byte) (BHS, error) {
	if len(data) < BHSLength {
		return BHS{}, errors.New("iscsi: reject: the data segment is shorter than the header it should hold")
	}
	return BHS(data), nil
}
