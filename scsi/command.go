package scsi

// TestUnitReadyCDB returns TEST UNIT READY (SPC-4, 6.47).
func TestUnitReadyCDB() CDB { return CDB{byte(OpTestUnitReady)} }

// ReadCapacity10CDB returns READ CAPACITY(10) (SBC-4, 5.20).
func ReadCapacity10CDB() CDB { return CDB{byte(OpReadCapacity10)} }

// Inquiry is INQUIRY (SPC-4, 6.6).
type Inquiry struct {
	VPD    bool // ask for the VPD page Page instead of the standard data
	Page   VPDPage
	Length uint16 // allocation length
}

// CDB builds the command.
func (i Inquiry) CDB() CDB {
	c := CDB{byte(OpInquiry), bit(i.VPD, 0x01), byte(i.Page)}
	c.put16(3, i.Length)
	return c
}

// ParseInquiry takes the command apart.
func ParseInquiry(c *CDB) Inquiry {
	return Inquiry{VPD: c[1]&0x01 != 0, Page: VPDPage(c[2]), Length: c.u16(3)}
}

// ReadCapacity16 is READ CAPACITY(16) (SBC-4, 5.21).
type ReadCapacity16 struct {
	Length uint32 // allocation length
}

// CDB builds the command.
func (r ReadCapacity16) CDB() CDB {
	c := CDB{byte(OpServiceActionIn16), ActionReadCapacity16}
	c.put32(10, r.Length)
	return c
}

// ParseReadCapacity16 takes the command apart.
func ParseReadCapacity16(c *CDB) ReadCapacity16 { return ReadCapacity16{Length: c.u32(10)} }

// ReportLUNs is REPORT LUNS (SPC-4, 6.33).
type ReportLUNs struct {
	Select uint8  // SELECT REPORT: 0 the usual, 1 well-known only, 2 all
	Length uint32 // allocation length
}

// CDB builds the command.
func (r ReportLUNs) CDB() CDB {
	c := CDB{byte(OpReportLUNs), 0, r.Select}
	c.put32(6, r.Length)
	return c
}

// ParseReportLUNs takes the command apart.
func ParseReportLUNs(c *CDB) ReportLUNs { return ReportLUNs{Select: c[2], Length: c.u32(6)} }

// RequestSense is REQUEST SENSE (SPC-4, 6.39).
type RequestSense struct {
	Descriptor bool  // wants the descriptor format
	Length     uint8 // allocation length
}

// CDB builds the command.
func (r RequestSense) CDB() CDB {
	return CDB{byte(OpRequestSense), bit(r.Descriptor, 0x01), 0, 0, r.Length}
}

// ParseRequestSense takes the command apart.
func ParseRequestSense(c *CDB) RequestSense {
	return RequestSense{Descriptor: c[1]&0x01 != 0, Length: c[4]}
}

// PageControl says which values of a mode page are meant (SPC-4, 6.11.1).
type PageControl uint8

// Page controls.
const (
	CurrentValues    PageControl = 0
	ChangeableValues PageControl = 1
	DefaultValues    PageControl = 2
	SavedValues      PageControl = 3
)

// ModeSense is MODE SENSE(6) or, with Ten, MODE SENSE(10) (SPC-4, 6.11, 6.12).
type ModeSense struct {
	Ten          bool
	NoDescriptor bool // DBD: leave the block descriptor out
	LongLBA      bool // LLBAA: the block descriptor may be a long one; Ten only
	Control      PageControl
	Page         uint8 // 0x3f: all
	Subpage      uint8 // 0xff: all
	Length       uint16
}

// CDB builds the command; the 6-byte form keeps only the low byte of Length.
func (m ModeSense) CDB() CDB {
	c := CDB{byte(OpModeSense6), bit(m.NoDescriptor, 0x08), byte(m.Control)<<6 | m.Page&0x3f, m.Subpage}
	if !m.Ten {
		c[4] = byte(m.Length)
		return c
	}
	c[0] = byte(OpModeSense10)
	c[1] |= bit(m.LongLBA, 0x10)
	c.put16(7, m.Length)
	return c
}

// ParseModeSense takes either form apart.
func ParseModeSense(c *CDB) ModeSense {
	m := ModeSense{
		Ten:          c.Op() == OpModeSense10,
		NoDescriptor: c[1]&0x08 != 0,
		Control:      PageControl(c[2] >> 6),
		Page:         c[2] & 0x3f,
		Subpage:      c[3],
		Length:       uint16(c[4]),
	}
	if m.Ten {
		m.LongLBA, m.Length = c[1]&0x10 != 0, c.u16(7)
	}
	return m
}

// ModeSelect is MODE SELECT(6) or, with Ten, MODE SELECT(10) (SPC-4, 6.9, 6.10).
type ModeSelect struct {
	Ten        bool
	PageFormat bool   // PF
	Save       bool   // SP
	Length     uint16 // parameter list length
}

// CDB builds the command; the 6-byte form keeps only the low byte of Length.
func (m ModeSelect) CDB() CDB {
	c := CDB{byte(OpModeSelect6), bit(m.PageFormat, 0x10) | bit(m.Save, 0x01)}
	if !m.Ten {
		c[4] = byte(m.Length)
		return c
	}
	c[0] = byte(OpModeSelect10)
	c.put16(7, m.Length)
	return c
}

// ParseModeSelect takes either form apart.
func ParseModeSelect(c *CDB) ModeSelect {
	m := ModeSelect{
		Ten:        c.Op() == OpModeSelect10,
		PageFormat: c[1]&0x10 != 0,
		Save:       c[1]&0x01 != 0,
		Length:     uint16(c[4]),
	}
	if m.Ten {
		m.Length = c.u16(7)
	}
	return m
}

// StartStopUnit is START STOP UNIT (SBC-4, 5.31).
type StartStopUnit struct {
	Immediate      bool
	PowerCondition uint8
	NoFlush        bool
	Eject          bool // LOEJ: with Start load the medium, without eject it
	Start          bool
}

// CDB builds the command.
func (s StartStopUnit) CDB() CDB {
	return CDB{
		byte(OpStartStopUnit), bit(s.Immediate, 0x01), 0, 0,
		s.PowerCondition<<4 | bit(s.NoFlush, 0x04) | bit(s.Eject, 0x02) | bit(s.Start, 0x01),
	}
}

// ParseStartStopUnit takes the command apart.
func ParseStartStopUnit(c *CDB) StartStopUnit {
	return StartStopUnit{
		Immediate:      c[1]&0x01 != 0,
		PowerCondition: c[4] >> 4,
		NoFlush:        c[4]&0x04 != 0,
		Eject:          c[4]&0x02 != 0,
		Start:          c[4]&0x01 != 0,
	}
}

// PreventAllowRemoval is PREVENT ALLOW MEDIUM REMOVAL (SBC-4, 5.15).
type PreventAllowRemoval struct {
	Prevent bool
}

// CDB builds the command.
func (p PreventAllowRemoval) CDB() CDB {
	return CDB{byte(OpPreventAllowRemoval), 0, 0, 0, bit(p.Prevent, 0x01)}
}

// ParsePreventAllowRemoval takes the command apart.
func ParsePreventAllowRemoval(c *CDB) PreventAllowRemoval {
	return PreventAllowRemoval{Prevent: c[4]&0x01 != 0}
}

// Unmap is UNMAP (SBC-4, 5.35). Its ranges are in the parameter list: see
// AppendUnmap.
type Unmap struct {
	Anchor bool
	Group  uint8
	Length uint16 // parameter list length
}

// CDB builds the command.
func (u Unmap) CDB() CDB {
	c := CDB{byte(OpUnmap), bit(u.Anchor, 0x01)}
	c[6] = u.Group & 0x1f
	c.put16(7, u.Length)
	return c
}

// ParseUnmapCDB takes the command apart.
func ParseUnmapCDB(c *CDB) Unmap {
	return Unmap{Anchor: c[1]&0x01 != 0, Group: c[6] & 0x1f, Length: c.u16(7)}
}

// GetLBAStatus is GET LBA STATUS (SBC-4, 5.6).
type GetLBAStatus struct {
	LBA        uint64
	Length     uint32 // allocation length
	ReportType uint8
}

// CDB builds the command.
func (g GetLBAStatus) CDB() CDB {
	c := CDB{byte(OpServiceActionIn16), ActionGetLBAStatus}
	c.put64(2, g.LBA)
	c.put32(10, g.Length)
	c[14] = g.ReportType
	return c
}

// ParseGetLBAStatus takes the command apart.
func ParseGetLBAStatus(c *CDB) GetLBAStatus {
	return GetLBAStatus{LBA: c.u64(2), Length: c.u32(10), ReportType: c[14]}
}

// ReadDefectData is READ DEFECT DATA(10) or, with Twelve, READ DEFECT DATA(12)
// (SBC-4, 5.18 and 5.19).
type ReadDefectData struct {
	Twelve bool
	Lists  uint8  // REQ_PLIST 0x10, REQ_GLIST 0x08, and the format of the list
	Length uint32 // allocation length
}

// CDB builds the command; the 10-byte form keeps only the low half of Length.
func (r ReadDefectData) CDB() CDB {
	c := CDB{byte(OpReadDefectData10)}
	if r.Twelve {
		c[0], c[1] = byte(OpReadDefectData12), r.Lists&0x1f
		c.put32(6, r.Length)
		return c
	}
	c[2] = r.Lists & 0x1f
	c.put16(7, uint16(r.Length))
	return c
}

// ParseReadDefectData takes either form apart.
func ParseReadDefectData(c *CDB) ReadDefectData {
	if c.Op() == OpReadDefectData12 {
		return ReadDefectData{Twelve: true, Lists: c[1] & 0x1f, Length: c.u32(6)}
	}
	return ReadDefectData{Lists: c[2] & 0x1f, Length: uint32(c.u16(7))}
}

// AppendNone appends the answer of a disk without defects: the lists asked for,
// empty.
func (r ReadDefectData) AppendNone(dst []byte) []byte {
	if r.Twelve {
		return append(dst, 0, r.Lists, 0, 0, 0, 0, 0, 0)
	}
	return append(dst, 0, r.Lists, 0, 0)
}

// ReportSupportedOpcodes is REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35).
type ReportSupportedOpcodes struct {
	Timeouts bool // RCTD: wants timeouts descriptors
	// Options is REPORTING OPTIONS: 0 all commands, 1 one without a service
	// action, 2 one with, 3 one either way.
	Options       uint8
	Op            OpCode
	ServiceAction uint16
	Length        uint32 // allocation length
}

// CDB builds the command.
func (r ReportSupportedOpcodes) CDB() CDB {
	c := CDB{byte(OpMaintenanceIn), ActionReportSupportedOpcodes, bit(r.Timeouts, 0x80) | r.Options&7, byte(r.Op)}
	c.put16(4, r.ServiceAction)
	c.put32(6, r.Length)
	return c
}

// ParseReportSupportedOpcodes takes the command apart.
func ParseReportSupportedOpcodes(c *CDB) ReportSupportedOpcodes {
	return ReportSupportedOpcodes{
		Timeouts:      c[2]&0x80 != 0,
		Options:       c[2] & 7,
		Op:            OpCode(c[3]),
		ServiceAction: c.u16(4),
		Length:        c.u32(6),
	}
}

// ReportSupportedTMFs is REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4, 6.36).
type ReportSupportedTMFs struct {
	Extended bool   // REPD: wants timeouts
	Length   uint32 // allocation length
}

// CDB builds the command.
func (r ReportSupportedTMFs) CDB() CDB {
	c := CDB{byte(OpMaintenanceIn), ActionReportSupportedTMFs, bit(r.Extended, 0x80)}
	c.put32(6, r.Length)
	return c
}

// ParseReportSupportedTMFs takes the command apart.
func ParseReportSupportedTMFs(c *CDB) ReportSupportedTMFs {
	return ReportSupportedTMFs{Extended: c[2]&0x80 != 0, Length: c.u32(6)}
}

// PersistentReserveIn is PERSISTENT RESERVE IN (SPC-4, 6.15).
type PersistentReserveIn struct {
	Action uint8 // one of ActionPRIn...
	Length uint16
}

// CDB builds the command.
func (p PersistentReserveIn) CDB() CDB {
	c := CDB{byte(OpPersistentReserveIn), p.Action & 0x1f}
	c.put16(7, p.Length)
	return c
}

// ParsePersistentReserveIn takes the command apart.
func ParsePersistentReserveIn(c *CDB) PersistentReserveIn {
	return PersistentReserveIn{Action: c.ServiceAction(), Length: c.u16(7)}
}

// PersistentReserveOut is PERSISTENT RESERVE OUT (SPC-4, 6.16).
type PersistentReserveOut struct {
	Action uint8 // one of ActionPROut...
	Scope  uint8
	Type   uint8
	Length uint32 // parameter list length
}

// CDB builds the command.
func (p PersistentReserveOut) CDB() CDB {
	c := CDB{byte(OpPersistentReserveOut), p.Action & 0x1f, p.Scope<<4 | p.Type&0x0f}
	c.put32(5, p.Length)
	return c
}

// ParsePersistentReserveOut takes the command apart.
func ParsePersistentReserveOut(c *CDB) PersistentReserveOut {
	return PersistentReserveOut{Action: c.ServiceAction(), Scope: c[2] >> 4, Type: c[2] & 0x0f, Length: c.u32(5)}
}
