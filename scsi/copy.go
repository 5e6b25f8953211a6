package scsi

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// CopyCDB returns EXTENDED COPY(LID1) (SPC-4, 6.4).
func CopyCDB(length uint32) CDB {
	c := CDB{byte(OpExtendedCopy)}
	c.put32(10, length)
	return c
}

// ParseCopyCDB returns the length of EXTENDED COPY's parameter list.
func ParseCopyCDB(c *CDB) (length uint32) { return c.u32(10) }

// CopyResults is RECEIVE COPY RESULTS (SPC-4, 6.24 to 6.27).
type CopyResults struct {
	Action uint8 // one of ActionCopy...
	ListID uint8
	Length uint32 // allocation length
}

// CDB builds the command.
func (r CopyResults) CDB() CDB {
	c := CDB{byte(OpReceiveCopyResults), r.Action & 0x1f, r.ListID}
	c.put32(10, r.Length)
	return c
}

// ParseCopyResults takes the command apart.
func ParseCopyResults(c *CDB) CopyResults {
	return CopyResults{Action: c.ServiceAction(), ListID: c[2], Length: c.u32(10)}
}

// Types of descriptors in EXTENDED COPY's parameter list (SPC-4, 6.4.5 and
// 6.4.6).
const (
	CopyBlocks     = 0x02 // segment: blocks to blocks
	CopyBytes      = 0x0a // segment: blocks to blocks with byte offsets
	CopyIdentified = 0xe4 // target: by a designator
)

// Values of LIST ID USAGE (SPC-4, 6.4.3.2).
const (
	CopyHold    = 0 // results are kept for RECEIVE COPY RESULTS
	CopyDiscard = 2 // held data is not kept
	CopyNoID    = 3 // the list has no identifier
)

const (
	copyHeaderLength  = 16
	CopyTargetLength  = 32 // of a target descriptor
	copyBlocksLength  = 28
	copyBytesLength   = 32
	maxCopyDesignator = 20
)

// CopyTarget is a target descriptor: a unit that a copy reads or writes.
type CopyTarget struct {
	Designator  Designator // of up to 20 bytes
	BlockLength uint32
}

// CopySegment is a segment descriptor: what to copy.
type CopySegment struct {
	Source, Destination       uint16 // indices of target descriptors
	SourceLBA, DestinationLBA uint64
	// Blocks is how many blocks to copy: of the source or, with
	// DestinationCount, of the destination.
	Blocks           uint16
	DestinationCount bool
	// Bytes is what to copy instead if HasBytes is set, from and to a byte offset
	// in the first block.
	HasBytes                            bool
	Bytes                               uint32
	SourceByteOffset, DestinationOffset uint16
}

// CopyList is EXTENDED COPY's parameter list.
type CopyList struct {
	ListID   uint8
	Usage    uint8
	Priority uint8
	Targets  []CopyTarget
	Segments []CopySegment
}

// CopyLimits bounds a CopyList.
type CopyLimits struct {
	Targets, Segments int
	Length            int // of all descriptors
}

// Append appends the list.
func (l *CopyList) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, copyHeaderLength)...)
	for _, t := range l.Targets {
		dst = t.append(dst)
	}
	targets := len(dst) - start - copyHeaderLength
	for _, s := range l.Segments {
		dst = s.append(dst)
	}
	h := dst[start:]
	h[0], h[1] = l.ListID, l.Usage&3<<3|l.Priority&7
	binary.BigEndian.PutUint16(h[2:], uint16(targets))
	binary.BigEndian.PutUint32(h[8:], uint32(len(h)-copyHeaderLength-targets))
	return dst
}

func (t *CopyTarget) append(dst []byte) []byte {
	var b [CopyTargetLength]byte
	d := &t.Designator
	b[0] = CopyIdentified
	b[4], b[5] = d.CodeSet&0xf, byte(d.Association)&3<<4|byte(d.Type)&0xf
	b[7] = byte(copy(b[8:8+maxCopyDesignator], d.Value))
	binary.BigEndian.PutUint32(b[28:], t.BlockLength&0xffffff)
	return append(dst, b[:]...)
}

func (s *CopySegment) append(dst []byte) []byte {
	var b [copyBytesLength]byte
	b[0], b[3] = CopyBlocks, copyBlocksLength-4
	b[1] = bit(s.DestinationCount, 0x02)
	binary.BigEndian.PutUint16(b[4:], s.Source)
	binary.BigEndian.PutUint16(b[6:], s.Destination)
	binary.BigEndian.PutUint16(b[10:], s.Blocks)
	binary.BigEndian.PutUint64(b[12:], s.SourceLBA)
	binary.BigEndian.PutUint64(b[20:], s.DestinationLBA)
	if !s.HasBytes {
		return append(dst, b[:copyBlocksLength]...)
	}
	b[0], b[3] = CopyBytes, copyBytesLength-4
	binary.BigEndian.PutUint32(b[8:], s.Bytes)
	binary.BigEndian.PutUint16(b[28:], s.SourceByteOffset)
	binary.BigEndian.PutUint16(b[30:], s.DestinationOffset)
	return append(dst, b[:]...)
}

// ParseCopyList reads the list. Its errors are what a target answers, an *Error.
// Designators share memory with b.
func ParseCopyList(b []byte, limits CopyLimits) (CopyList, error) {
	if len(b) < copyHeaderLength {
		return CopyList{}, CheckCondition(KeyIllegalRequest, ASCParameterListLength)
	}
	l := CopyList{ListID: b[0], Usage: b[1] >> 3 & 3, Priority: b[1] & 7}
	targets, segments := int64(binary.BigEndian.Uint16(b[2:])), int64(binary.BigEndian.Uint32(b[8:]))
	inline := int64(binary.BigEndian.Uint32(b[12:]))
	switch all := targets + segments; {
	case copyHeaderLength+all+inline > int64(len(b)), all > int64(limits.Length), targets%CopyTargetLength != 0:
		return l, CheckCondition(KeyIllegalRequest, ASCParameterListLength)
	case inline > 0: // no segment of the supported types has any
		return l, InvalidParameterField(12, 7)
	case targets > int64(limits.Targets*CopyTargetLength):
		return l, CheckCondition(KeyIllegalRequest, ASCTooManyTargetDescriptors)
	}
	for at := copyHeaderLength; at < copyHeaderLength+int(targets); at += CopyTargetLength {
		t, err := parseCopyTarget(b[at:at+CopyTargetLength], at)
		if err != nil {
			return l, err
		}
		l.Targets = append(l.Targets, t)
	}
	err := l.parseSegments(b[:copyHeaderLength+targets+segments], copyHeaderLength+int(targets), limits.Segments)
	return l, err
}

func parseCopyTarget(b []byte, at int) (CopyTarget, error) {
	switch {
	case b[0] != CopyIdentified:
		return CopyTarget{}, CheckCondition(KeyIllegalRequest, ASCUnsupportedTargetDescriptor)
	case b[7] > maxCopyDesignator:
		return CopyTarget{}, InvalidParameterField(at+7, 7)
	}
	return CopyTarget{
		Designator: Designator{
			Type: DesignatorType(b[5] & 0xf), Association: Association(b[5] >> 4 & 3), CodeSet: b[4] & 0xf, Value: b[8 : 8+b[7]],
		},
		BlockLength: binary.BigEndian.Uint32(b[28:]) & 0xffffff,
	}, nil
}

func (l *CopyList) parseSegments(b []byte, at, most int) error {
	for at < len(b) {
		var s CopySegment
		d := b[at:]
		size := map[byte]int{CopyBlocks: copyBlocksLength, CopyBytes: copyBytesLength}[d[0]]
		switch {
		case size == 0:
			return CheckCondition(KeyIllegalRequest, ASCUnsupportedSegmentDescriptor)
		case len(l.Segments) == most:
			return CheckCondition(KeyIllegalRequest, ASCTooManySegmentDescriptors)
		case len(d) < size:
			return CheckCondition(KeyIllegalRequest, ASCParameterListLength)
		case int(binary.BigEndian.Uint16(d[2:])) != size-4:
			return InvalidParameterField(at+2, 7)
		}
		s.parse(d)
		l.Segments = append(l.Segments, s)
		at += size
	}
	return nil
}

func (s *CopySegment) parse(d []byte) {
	*s = CopySegment{
		Source: binary.BigEndian.Uint16(d[4:]), Destination: binary.BigEndian.Uint16(d[6:]),
		SourceLBA: binary.BigEndian.Uint64(d[12:]), DestinationLBA: binary.BigEndian.Uint64(d[20:]),
	}
	if s.HasBytes = d[0] == CopyBytes; !s.HasBytes {
		s.Blocks, s.DestinationCount = binary.BigEndian.Uint16(d[10:]), d[1]&0x02 != 0
		return
	}
	s.Bytes = binary.BigEndian.Uint32(d[8:])
	s.SourceByteOffset, s.DestinationOffset = binary.BigEndian.Uint16(d[28:]), binary.BigEndian.Uint16(d[30:])
}

// States of a copy.
const (
	CopyRunning = 0
	CopyDone    = 1
	CopyFailed  = 2
)

// CopyStatus is what RECEIVE COPY RESULTS(COPY STATUS) tells (SPC-4, 6.24).
type CopyStatus struct {
	State    uint8
	Segments uint16 // processed
	Bytes    uint64 // copied
}

// Append appends the data. Bytes are told in KiB.
func (s *CopyStatus) Append(dst []byte) []byte {
	dst = append(dst, 0, 0, 0, 8, s.State&0x7f, byte(s.Segments>>8), byte(s.Segments), 1)
	return binary.BigEndian.AppendUint32(dst, uint32(min(s.Bytes>>10, 1<<32-1)))
}

// ParseCopyStatus reads the data.
func ParseCopyStatus(b []byte) (CopyStatus, error) {
	if len(b) < 12 {
		return CopyStatus{}, fmt.Errorf("scsi: copy status: %d bytes, want 12", len(b))
	}
	return CopyStatus{
		State: b[4] & 0x7f, Segments: binary.BigEndian.Uint16(b[5:]),
		Bytes: uint64(binary.BigEndian.Uint32(b[8:])) << (10 * min(b[7], 4)),
	}, nil
}

// AppendFailedSegment appends the data of RECEIVE COPY RESULTS(FAILED SEGMENT
// DETAILS) (SPC-4, 6.27): the copy's status and sense data, or nothing if none is
// told of.
func AppendFailedSegment(dst []byte, status Status, sense []byte) []byte {
	if status == StatusGood {
		return append(dst, 0, 0, 0, 0)
	}
	var b [60]byte
	binary.BigEndian.PutUint32(b[:], uint32(len(b)-4+len(sense)))
	b[56] = byte(status)
	binary.BigEndian.PutUint16(b[58:], uint16(len(sense)))
	return append(append(dst, b[:]...), sense...)
}

// CopyAbilities is what a target can copy (SPC-4, 6.26 and 7.8.17).
type CopyAbilities struct {
	Limits           CopyLimits
	MaxSegment       uint32 // bytes
	Concurrent       uint16 // copies at one time
	GranularityShift uint8  // log2 of bytes
	Types            []byte // of descriptors, ascending
}

// Append appends the data of RECEIVE COPY RESULTS(OPERATING PARAMETERS).
func (a *CopyAbilities) Append(dst []byte) []byte {
	var b [44]byte
	binary.BigEndian.PutUint32(b[:], uint32(len(b)-4+len(a.Types)))
	b[4] = 0x01 // SNLID: lists without an identifier are taken
	binary.BigEndian.PutUint16(b[8:], uint16(a.Limits.Targets))
	binary.BigEndian.PutUint16(b[10:], uint16(a.Limits.Segments))
	binary.BigEndian.PutUint32(b[12:], uint32(a.Limits.Length))
	binary.BigEndian.PutUint32(b[16:], a.MaxSegment)
	binary.BigEndian.PutUint16(b[34:], a.Concurrent)
	b[36] = byte(min(a.Concurrent, 255))
	b[37] = a.GranularityShift
	b[43] = byte(len(a.Types))
	return append(append(dst, b[:]...), a.Types...)
}

// AppendVPD appends the body of the Third-Party Copy page.
func (a *CopyAbilities) AppendVPD(dst []byte) []byte {
	commands := []byte{
		byte(OpExtendedCopy), 1, 0,
		byte(OpReceiveCopyResults), 4, ActionCopyStatus, ActionCopyData, ActionCopyParameters, ActionCopyFailed,
	}
	dst = appendCopyDescriptor(dst, 0x0001, append([]byte{byte(len(commands))}, commands...))
	parameters := make([]byte, 28)
	binary.BigEndian.PutUint16(parameters[4:], uint16(a.Limits.Targets))
	binary.BigEndian.PutUint16(parameters[6:], uint16(a.Limits.Segments))
	binary.BigEndian.PutUint32(parameters[8:], uint32(a.Limits.Length))
	dst = appendCopyDescriptor(dst, 0x0004, parameters)
	dst = appendCopyDescriptor(dst, 0x0008, append([]byte{byte(len(a.Types))}, a.Types...))
	dst = appendCopyDescriptor(dst, 0x000c, []byte{0, 0}) // no unit has a well-known identifier
	general := make([]byte, 32)
	binary.BigEndian.PutUint32(general, uint32(a.Concurrent))
	binary.BigEndian.PutUint32(general[4:], uint32(a.Concurrent))
	binary.BigEndian.PutUint32(general[8:], a.MaxSegment)
	general[12] = a.GranularityShift
	return appendCopyDescriptor(dst, 0x8001, general)
}

// appendCopyDescriptor appends a third-party copy descriptor, padded to a multiple
// of four bytes.
func appendCopyDescriptor(dst []byte, kind uint16, body []byte) []byte {
	body = append(body, bytes.Repeat([]byte{0}, -len(body)&3)...)
	dst = binary.BigEndian.AppendUint16(dst, kind)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(body)))
	return append(dst, body...)
}
