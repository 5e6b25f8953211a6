package iscsi

// Version is the protocol version that RFC 7143 defines, the only one there is.
const Version = 0x00

// Stage is a stage of the login phase, or the full feature phase after it
// (RFC 7143, 11.12.3).
type Stage uint8

// Stages.
const (
	SecurityStage    Stage = 0
	OperationalStage Stage = 1
	FullFeaturePhase Stage = 3
)

// String names the stage.
func (s Stage) String() string {
	names := [...]string{
		SecurityStage: "SecurityNegotiation", OperationalStage: "LoginOperationalNegotiation",
		FullFeaturePhase: "FullFeaturePhase",
	}
	return nameOr(names[:], uint8(s), "stage")
}

// LoginRequest takes the login of a connection one step on (RFC 7143, 11.12).
// It is always marked for immediate delivery.
type LoginRequest struct {
	Transit      bool // the T bit: ready to go from CurrentStage to NextStage
	Continue     bool // the C bit: the text goes on in the next request
	CurrentStage Stage
	NextStage    Stage // valid if Transit is set
	VersionMax   uint8
	VersionMin   uint8
	ISID         ISID
	TSIH         uint16 // zero for a new session
	ITT          uint32
	CID          uint16
	CmdSN        uint32
	ExpStatSN    uint32
}

// Opcode returns OpLoginRequest.
func (*LoginRequest) Opcode() Opcode { return OpLoginRequest }

// Encode writes the header.
func (p *LoginRequest) Encode(b *BHS) {
	b.begin(OpLoginRequest, true)
	b.putStages(p.Transit, p.Continue, p.CurrentStage, p.NextStage)
	b[2], b[3] = p.VersionMax, p.VersionMin
	copy(b[8:], p.ISID[:])
	b.put16(14, p.TSIH)
	b.put32(16, p.ITT)
	b.put16(20, p.CID)
	b.putRequestSN(p.CmdSN, p.ExpStatSN)
}

// Decode reads the header.
func (p *LoginRequest) Decode(b *BHS) error {
	if err := b.want(OpLoginRequest); err != nil {
		return err
	}
	*p = LoginRequest{
		Transit:      b.Final(),
		Continue:     b.bit(1, bitContinue),
		CurrentStage: Stage(b[1] >> 2 & 3),
		NextStage:    Stage(b[1] & 3),
		VersionMax:   b[2],
		VersionMin:   b[3],
		ISID:         ISID(b[8:]),
		TSIH:         b.u16(14),
		ITT:          b.ITT(),
		CID:          b.u16(20),
		CmdSN:        b.CmdSN(),
		ExpStatSN:    b.ExpStatSN(),
	}
	return nil
}

// LoginResponse answers a LoginRequest (RFC 7143, 11.13).
type LoginResponse struct {
	Transit       bool
	Continue      bool
	CurrentStage  Stage
	NextStage     Stage
	VersionMax    uint8
	VersionActive uint8
	ISID          ISID
	TSIH          uint16 // the new session's, in the last response of its login
	ITT           uint32
	StatSN        uint32
	ExpCmdSN      uint32
	MaxCmdSN      uint32
	Status        LoginStatus
}

// Opcode returns OpLoginResponse.
func (*LoginResponse) Opcode() Opcode { return OpLoginResponse }

// Encode writes the header.
func (p *LoginResponse) Encode(b *BHS) {
	b.begin(OpLoginResponse, false)
	b.putStages(p.Transit, p.Continue, p.CurrentStage, p.NextStage)
	b[2], b[3] = p.VersionMax, p.VersionActive
	copy(b[8:], p.ISID[:])
	b.put16(14, p.TSIH)
	b.put32(16, p.ITT)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
	b.put16(36, uint16(p.Status))
}

// Decode reads the header.
func (p *LoginResponse) Decode(b *BHS) error {
	if err := b.want(OpLoginResponse); err != nil {
		return err
	}
	*p = LoginResponse{
		Transit:       b.Final(),
		Continue:      b.bit(1, bitContinue),
		CurrentStage:  Stage(b[1] >> 2 & 3),
		NextStage:     Stage(b[1] & 3),
		VersionMax:    b[2],
		VersionActive: b[3],
		ISID:          ISID(b[8:]),
		TSIH:          b.u16(14),
		ITT:           b.ITT(),
		StatSN:        b.StatSN(),
		ExpCmdSN:      b.ExpCmdSN(),
		MaxCmdSN:      b.MaxCmdSN(),
		Status:        LoginStatus(b.u16(36)),
	}
	return nil
}

func (b *BHS) putStages(transit, cont bool, current, next Stage) {
	b[1] = byte(current)&3<<2 | byte(next)&3
	b.setBit(1, bitFinal, transit)
	b.setBit(1, bitContinue, cont)
}
