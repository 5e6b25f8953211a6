package iscsi

// DataOut carries a write's data to the target (RFC 7143, 11.7.1).
type DataOut struct {
	Final        bool // last PDU of an unsolicited burst or of what an R2T asked for
	LUN          LUN
	ITT          uint32
	TTT          uint32 // the R2T's tag, ReservedTag in unsolicited data
	ExpStatSN    uint32
	DataSN       uint32
	BufferOffset uint32
}

// Opcode returns OpDataOut.
func (*DataOut) Opcode() Opcode { return OpDataOut }

// Encode writes the header.
func (p *DataOut) Encode(b *BHS) {
	b.begin(OpDataOut, false)
	b.setBit(1, bitFinal, p.Final)
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.TTT)
	b.put32(28, p.ExpStatSN)
	b.put32(36, p.DataSN)
	b.put32(40, p.BufferOffset)
}

// Decode reads the header.
func (p *DataOut) Decode(b *BHS) error {
	if err := b.want(OpDataOut); err != nil {
		return err
	}
	*p = DataOut{
		Final:        b.Final(),
		LUN:          b.LUN(),
		ITT:          b.ITT(),
		TTT:          b.TTT(),
		ExpStatSN:    b.ExpStatSN(),
		DataSN:       b.u32(36),
		BufferOffset: b.u32(40),
	}
	return nil
}

// DataIn carries a read's data to the initiator and, with HasStatus set, ends
// the command (RFC 7143, 11.7.2).
type DataIn struct {
	Final         bool
	Acknowledge   bool // the A bit: the target wants a DataACK SNACK
	Overflow      bool
	Underflow     bool
	HasStatus     bool // the S bit: Status, StatSN and the residual are valid
	Status        uint8
	LUN           LUN
	ITT           uint32
	TTT           uint32
	StatSN        uint32
	ExpCmdSN      uint32
	MaxCmdSN      uint32
	DataSN        uint32
	BufferOffset  uint32
	ResidualCount uint32
}

// Opcode returns OpDataIn.
func (*DataIn) Opcode() Opcode { return OpDataIn }

// Encode writes the header.
func (p *DataIn) Encode(b *BHS) {
	b.begin(OpDataIn, false)
	b.setBit(1, bitFinal, p.Final)
	b.setBit(1, 0x40, p.Acknowledge)
	b.setBit(1, 0x04, p.Overflow)
	b.setBit(1, 0x02, p.Underflow)
	b.setBit(1, 0x01, p.HasStatus)
	b[3] = p.Status
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.TTT)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
	b.put32(36, p.DataSN)
	b.put32(40, p.BufferOffset)
	b.put32(44, p.ResidualCount)
}

// Decode reads the header.
func (p *DataIn) Decode(b *BHS) error {
	if err := b.want(OpDataIn); err != nil {
		return err
	}
	*p = DataIn{
		Final:         b.Final(),
		Acknowledge:   b.bit(1, 0x40),
		Overflow:      b.bit(1, 0x04),
		Underflow:     b.bit(1, 0x02),
		HasStatus:     b.bit(1, 0x01),
		Status:        b[3],
		LUN:           b.LUN(),
		ITT:           b.ITT(),
		TTT:           b.TTT(),
		StatSN:        b.StatSN(),
		ExpCmdSN:      b.ExpCmdSN(),
		MaxCmdSN:      b.MaxCmdSN(),
		DataSN:        b.u32(36),
		BufferOffset:  b.u32(40),
		ResidualCount: b.u32(44),
	}
	return nil
}

// R2T asks the initiator for a part of a write's data (RFC 7143, 11.8).
type R2T struct {
	LUN           LUN
	ITT           uint32
	TTT           uint32 // the Data-Out PDUs that answer carry it back
	StatSN        uint32 // the next StatSN; an R2T does not use it up
	ExpCmdSN      uint32
	MaxCmdSN      uint32
	R2TSN         uint32
	BufferOffset  uint32
	DesiredLength uint32
}

// Opcode returns OpR2T.
func (*R2T) Opcode() Opcode { return OpR2T }

// Encode writes the header.
func (p *R2T) Encode(b *BHS) {
	b.begin(OpR2T, false)
	b[1] = bitFinal
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.TTT)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
	b.put32(36, p.R2TSN)
	b.put32(40, p.BufferOffset)
	b.put32(44, p.DesiredLength)
}

// Decode reads the header.
func (p *R2T) Decode(b *BHS) error {
	if err := b.want(OpR2T); err != nil {
		return err
	}
	*p = R2T{
		LUN:           b.LUN(),
		ITT:           b.ITT(),
		TTT:           b.TTT(),
		StatSN:        b.StatSN(),
		ExpCmdSN:      b.ExpCmdSN(),
		MaxCmdSN:      b.MaxCmdSN(),
		R2TSN:         b.u32(36),
		BufferOffset:  b.u32(40),
		DesiredLength: b.u32(44),
	}
	return nil
}

// SNACK asks the target to send PDUs again or acknowledges data (RFC 7143,
// 11.16).
type SNACK struct {
	Type      SNACKType
	LUN       LUN
	ITT       uint32
	TTT       uint32 // Target Transfer Tag or SNACK Tag
	ExpStatSN uint32
	BegRun    uint32
	RunLength uint32
}

// Opcode returns OpSNACK.
func (*SNACK) Opcode() Opcode { return OpSNACK }

// Encode writes the header.
func (p *SNACK) Encode(b *BHS) {
	b.begin(OpSNACK, false)
	b[1] = bitFinal | byte(p.Type)&0x0f
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.TTT)
	b.put32(28, p.ExpStatSN)
	b.put32(40, p.BegRun)
	b.put32(44, p.RunLength)
}

// Decode reads the header.
func (p *SNACK) Decode(b *BHS) error {
	if err := b.want(OpSNACK); err != nil {
		return err
	}
	*p = SNACK{
		Type:      SNACKType(b[1] & 0x0f),
		LUN:       b.LUN(),
		ITT:       b.ITT(),
		TTT:       b.TTT(),
		ExpStatSN: b.ExpStatSN(),
		BegRun:    b.u32(40),
		RunLength: b.u32(44),
	}
	return nil
}
