package iscsi

// TaskManagementRequest aborts tasks or resets units (RFC 7143, 11.5).
type TaskManagementRequest struct {
	Immediate     bool
	Function      TaskFunction
	LUN           LUN
	ITT           uint32
	ReferencedITT uint32 // the task meant; ReservedTag if the function names none
	CmdSN         uint32
	ExpStatSN     uint32
	RefCmdSN      uint32 // CmdSN of the task meant, for AbortTask
	ExpDataSN     uint32 // for TaskReassign
}

// Opcode returns OpTaskManagementRequest.
func (*TaskManagementRequest) Opcode() Opcode { return OpTaskManagementRequest }

// Encode writes the header.
func (p *TaskManagementRequest) Encode(b *BHS) {
	b.begin(OpTaskManagementRequest, p.Immediate)
	b[1] = bitFinal | byte(p.Function)&0x7f
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.ReferencedITT)
	b.putRequestSN(p.CmdSN, p.ExpStatSN)
	b.put32(32, p.RefCmdSN)
	b.put32(36, p.ExpDataSN)
}

// Decode reads the header.
func (p *TaskManagementRequest) Decode(b *BHS) error {
	if err := b.want(OpTaskManagementRequest); err != nil {
		return err
	}
	*p = TaskManagementRequest{
		Immediate:     b.Immediate(),
		Function:      TaskFunction(b[1] & 0x7f),
		LUN:           b.LUN(),
		ITT:           b.ITT(),
		ReferencedITT: b.u32(20),
		CmdSN:         b.CmdSN(),
		ExpStatSN:     b.ExpStatSN(),
		RefCmdSN:      b.u32(32),
		ExpDataSN:     b.u32(36),
	}
	return nil
}

// TaskManagementResponse answers a TaskManagementRequest (RFC 7143, 11.6).
type TaskManagementResponse struct {
	Response TaskResponse
	ITT      uint32
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
}

// Opcode returns OpTaskManagementResponse.
func (*TaskManagementResponse) Opcode() Opcode { return OpTaskManagementResponse }

// Encode writes the header.
func (p *TaskManagementResponse) Encode(b *BHS) {
	b.begin(OpTaskManagementResponse, false)
	b[1] = bitFinal
	b[2] = byte(p.Response)
	b.put32(16, p.ITT)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
}

// Decode reads the header.
func (p *TaskManagementResponse) Decode(b *BHS) error {
	if err := b.want(OpTaskManagementResponse); err != nil {
		return err
	}
	*p = TaskManagementResponse{
		Response: TaskResponse(b[2]),
		ITT:      b.ITT(),
		StatSN:   b.StatSN(),
		ExpCmdSN: b.ExpCmdSN(),
		MaxCmdSN: b.MaxCmdSN(),
	}
	return nil
}

// NOPOut is a ping from the initiator, or its answer to one from the target
// (RFC 7143, 11.18).
type NOPOut struct {
	Immediate bool
	LUN       LUN
	ITT       uint32 // ReservedTag if no answer is wanted
	TTT       uint32 // the NOP-In's tag in an answer, else ReservedTag
	CmdSN     uint32
	ExpStatSN uint32
}

// Opcode returns OpNOPOut.
func (*NOPOut) Opcode() Opcode { return OpNOPOut }

// Encode writes the header.
func (p *NOPOut) Encode(b *BHS) {
	b.begin(OpNOPOut, p.Immediate)
	b[1] = bitFinal
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.TTT)
	b.putRequestSN(p.CmdSN, p.ExpStatSN)
}

// Decode reads the header.
func (p *NOPOut) Decode(b *BHS) error {
	if err := b.want(OpNOPOut); err != nil {
		return err
	}
	*p = NOPOut{
		Immediate: b.Immediate(),
		LUN:       b.LUN(),
		ITT:       b.ITT(),
		TTT:       b.TTT(),
		CmdSN:     b.CmdSN(),
		ExpStatSN: b.ExpStatSN(),
	}
	return nil
}

// NOPIn is a ping from the target, or its answer to one from the initiator
// (RFC 7143, 11.19).
type NOPIn struct {
	LUN      LUN
	ITT      uint32 // the NOP-Out's tag in an answer, else ReservedTag
	TTT      uint32 // ReservedTag if no answer is wanted
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
}

// Opcode returns OpNOPIn.
func (*NOPIn) Opcode() Opcode { return OpNOPIn }

// Encode writes the header.
func (p *NOPIn) Encode(b *BHS) {
	b.begin(OpNOPIn, false)
	b[1] = bitFinal
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.TTT)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
}

// Decode reads the header.
func (p *NOPIn) Decode(b *BHS) error {
	if err := b.want(OpNOPIn); err != nil {
		return err
	}
	*p = NOPIn{
		LUN:      b.LUN(),
		ITT:      b.ITT(),
		TTT:      b.TTT(),
		StatSN:   b.StatSN(),
		ExpCmdSN: b.ExpCmdSN(),
		MaxCmdSN: b.MaxCmdSN(),
	}
	return nil
}
