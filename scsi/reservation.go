package scsi

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ReservationType is the type of a persistent reservation (SPC-4, 6.15.3.4). Its
// zero value is no reservation.
type ReservationType uint8

// Types of persistent reservations.
const (
	WriteExclusive                 ReservationType = 1
	ExclusiveAccess                ReservationType = 3
	WriteExclusiveRegistrantsOnly  ReservationType = 5
	ExclusiveAccessRegistrantsOnly ReservationType = 6
	WriteExclusiveAllRegistrants   ReservationType = 7
	ExclusiveAccessAllRegistrants  ReservationType = 8
)

// Lengths in bytes.
const (
	registerListLength = 24 // of PERSISTENT RESERVE OUT's list without TransportIDs
	fullStatusLength   = 24 // of READ FULL STATUS' descriptor without its TransportID
	minTransportID     = 24
	maxTransportID     = 248
)

// Formats of TransportIDs for iSCSI.
const (
	transportIDName = 0
	transportIDPort = 1
)

// Valid reports whether the type is one that the standard defines.
func (t ReservationType) Valid() bool {
	switch t {
	case WriteExclusive, ExclusiveAccess, WriteExclusiveRegistrantsOnly, ExclusiveAccessRegistrantsOnly,
		WriteExclusiveAllRegistrants, ExclusiveAccessAllRegistrants:
		return true
	}
	return false
}

// AllRegistrants reports whether all that are registered hold the reservation.
func (t ReservationType) AllRegistrants() bool {
	return t == WriteExclusiveAllRegistrants || t == ExclusiveAccessAllRegistrants
}

// Registrants reports whether all that are registered have the holder's access.
func (t ReservationType) Registrants() bool { return t >= WriteExclusiveRegistrantsOnly }

// WriteOnly reports whether what does not write is open to everybody.
func (t ReservationType) WriteOnly() bool {
	return t == WriteExclusive || t == WriteExclusiveRegistrantsOnly || t == WriteExclusiveAllRegistrants
}

// String returns the type's name in the standard.
func (t ReservationType) String() string {
	switch t {
	case 0:
		return "none"
	case WriteExclusive:
		return "Write Exclusive"
	case ExclusiveAccess:
		return "Exclusive Access"
	case WriteExclusiveRegistrantsOnly:
		return "Write Exclusive - Registrants Only"
	case ExclusiveAccessRegistrantsOnly:
		return "Exclusive Access - Registrants Only"
	case WriteExclusiveAllRegistrants:
		return "Write Exclusive - All Registrants"
	case ExclusiveAccessAllRegistrants:
		return "Exclusive Access - All Registrants"
	}
	return fmt.Sprintf("reservation type %d", uint8(t))
}

// TransportID names an initiator port of iSCSI (SPC-4, 7.6.4.6): an initiator and
// the ISID of its session. Without HasISID it is all ports of the initiator.
type TransportID struct {
	Initiator string
	HasISID   bool
	ISID      [6]byte
}

// String returns the SCSI name of the port, or of the initiator.
func (t TransportID) String() string {
	if !t.HasISID {
		return t.Initiator
	}
	return t.Initiator + ",i,0x" + hex.EncodeToString(t.ISID[:])
}

// Append appends the TransportID. A name that is longer than iSCSI allows is cut.
func (t TransportID) Append(dst []byte) []byte {
	format := byte(transportIDName)
	if t.HasISID {
		format = transportIDPort
	}
	name := t.String()
	name = name[:min(len(name), maxTransportID-5)]
	n := max(minTransportID, (4+len(name)+1+3)/4*4) // NUL-terminated, padded
	dst = append(dst, format<<6|ProtocolISCSI, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(n-4))
	dst = append(dst, name...)
	return append(dst, make([]byte, n-4-len(name))...)
}

// ParseTransportID reads a TransportID and returns what follows it.
func ParseTransportID(b []byte) (t TransportID, rest []byte, err error) {
	if len(b) < minTransportID {
		return t, nil, fmt.Errorf("scsi: TransportID of %d bytes, want at least %d", len(b), minTransportID)
	}
	n := 4 + int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case b[0]&0x0f != ProtocolISCSI:
		return t, nil, fmt.Errorf("scsi: TransportID of protocol %d, want iSCSI's", b[0]&0x0f)
	case n < minTransportID || n > maxTransportID || n%4 != 0 || n > len(b):
		return t, nil, fmt.Errorf("scsi: TransportID says that it has %d bytes", n)
	}
	name, _, terminated := strings.Cut(string(b[4:n]), "\x00")
	if !terminated || name == "" {
		return t, nil, errors.New("scsi: TransportID without a terminated name")
	}
	switch b[0] >> 6 {
	case transportIDName:
		t.Initiator = name
	case transportIDPort:
		isid := ""
		t.Initiator, isid, t.HasISID = strings.Cut(name, ",i,0x")
		if n, err := hex.Decode(t.ISID[:], fit(isid, 2*len(t.ISID))); !t.HasISID || err != nil || n != len(t.ISID) {
			return TransportID{}, nil, fmt.Errorf("scsi: TransportID %q has no ISID", name)
		}
	default:
		return t, nil, fmt.Errorf("scsi: TransportID of format %d", b[0]>>6)
	}
	return t, b[n:], nil
}

// fit returns the bytes of s if it has n, else none.
func fit(s string, n int) []byte {
	if len(s) != n {
		return nil
	}
	return []byte(s)
}

// ReserveOutList is the parameter list of PERSISTENT RESERVE OUT (SPC-4, 6.16.3)
// for every service action but REGISTER AND MOVE.
type ReserveOutList struct {
	Key       uint64 // RESERVATION KEY
	ActionKey uint64 // SERVICE ACTION RESERVATION KEY
	SpecIPT   bool   // SPEC_I_PT: register Initiators too
	AllPorts  bool   // ALL_TG_PT
	Persist   bool   // APTPL
	// Initiators are named by TransportIDs, with SpecIPT set.
	Initiators []TransportID
}

// Append appends the list.
func (l *ReserveOutList) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, l.Key)
	dst = binary.BigEndian.AppendUint64(dst, l.ActionKey)
	dst = append(dst, 0, 0, 0, 0, bit(l.SpecIPT, 0x08)|bit(l.AllPorts, 0x04)|bit(l.Persist, 0x01), 0, 0, 0)
	if !l.SpecIPT {
		return dst
	}
	var ids []byte
	for _, id := range l.Initiators {
		ids = id.Append(ids)
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(ids))), ids...)
}

// ParseReserveOutList reads a list that has the length which the CDB says. The
// error is an [Error] for the initiator.
func ParseReserveOutList(b []byte) (l ReserveOutList, err error) {
	if len(b) < registerListLength {
		return l, CheckCondition(KeyIllegalRequest, ASCParameterListLength)
	}
	l = ReserveOutList{
		Key: binary.BigEndian.Uint64(b), ActionKey: binary.BigEndian.Uint64(b[8:]),
		SpecIPT: b[20]&0x08 != 0, AllPorts: b[20]&0x04 != 0, Persist: b[20]&0x01 != 0,
	}
	if !l.SpecIPT {
		if len(b) != registerListLength {
			return l, CheckCondition(KeyIllegalRequest, ASCParameterListLength)
		}
		return l, nil
	}
	const header = registerListLength + 4
	if len(b) < header || uint64(binary.BigEndian.Uint32(b[registerListLength:])) != uint64(len(b)-header) {
		return l, CheckCondition(KeyIllegalRequest, ASCParameterListLength)
	}
	for rest := b[header:]; len(rest) > 0; {
		at := len(b) - len(rest)
		var id TransportID
		if id, rest, err = ParseTransportID(rest); err != nil {
			return l, InvalidParameterField(at, -1)
		}
		l.Initiators = append(l.Initiators, id)
	}
	return l, nil
}

// RegisterAndMoveList is the parameter list of PERSISTENT RESERVE OUT with service
// action REGISTER AND MOVE (SPC-4, 6.16.4).
type RegisterAndMoveList struct {
	Key        uint64 // RESERVATION KEY
	ActionKey  uint64 // SERVICE ACTION RESERVATION KEY
	Unregister bool   // UNREG: the sender
	Persist    bool   // APTPL
	Port       uint16 // relative identifier of the target port
	Initiator  TransportID
}

// Append appends the list.
func (l *RegisterAndMoveList) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, l.Key)
	dst = binary.BigEndian.AppendUint64(dst, l.ActionKey)
	dst = append(dst, 0, bit(l.Unregister, 0x02)|bit(l.Persist, 0x01))
	dst = binary.BigEndian.AppendUint16(dst, l.Port)
	id := l.Initiator.Append(nil)
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(id))), id...)
}

// ParseRegisterAndMoveList reads a list, like ParseReserveOutList.
func ParseRegisterAndMoveList(b []byte) (l RegisterAndMoveList, err error) {
	const header = registerListLength
	if len(b) < header || uint64(binary.BigEndian.Uint32(b[20:])) != uint64(len(b)-header) {
		return l, CheckCondition(KeyIllegalRequest, ASCParameterListLength)
	}
	l = RegisterAndMoveList{
		Key: binary.BigEndian.Uint64(b), ActionKey: binary.BigEndian.Uint64(b[8:]),
		Unregister: b[17]&0x02 != 0, Persist: b[17]&0x01 != 0, Port: binary.BigEndian.Uint16(b[18:]),
	}
	var rest []byte
	if l.Initiator, rest, err = ParseTransportID(b[header:]); err != nil || len(rest) > 0 {
		return l, InvalidParameterField(header, -1)
	}
	return l, nil
}

// AppendReservationKeys appends the data of READ KEYS (SPC-4, 6.15.2).
func AppendReservationKeys(dst []byte, generation uint32, keys []uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, generation)
	dst = binary.BigEndian.AppendUint32(dst, uint32(8*len(keys)))
	for _, k := range keys {
		dst = binary.BigEndian.AppendUint64(dst, k)
	}
	return dst
}

// ParseReservationKeys reads the data of READ KEYS, as much of it as came.
func ParseReservationKeys(b []byte) (generation uint32, keys []uint64, err error) {
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("scsi: READ KEYS data: %d bytes, want at least 8", len(b))
	}
	n := binary.BigEndian.Uint32(b[4:])
	for rest := b[8:]; len(rest) >= 8 && uint32(len(keys)) < n/8; rest = rest[8:] {
		keys = append(keys, binary.BigEndian.Uint64(rest))
	}
	return binary.BigEndian.Uint32(b), keys, nil
}

// Reservation is the data of READ RESERVATION (SPC-4, 6.15.3). Its Key is zero
// if all registrants hold it.
type Reservation struct {
	Generation uint32
	Type       ReservationType // 0: there is none
	Key        uint64
}

// Append appends the data.
func (r Reservation) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, r.Generation)
	if r.Type == 0 {
		return append(dst, 0, 0, 0, 0)
	}
	dst = append(dst, 0, 0, 0, 16)
	dst = binary.BigEndian.AppendUint64(dst, r.Key)
	return append(dst, 0, 0, 0, 0, 0, byte(r.Type), 0, 0)
}

// ParseReservation reads the data of READ RESERVATION.
func ParseReservation(b []byte) (Reservation, error) {
	if len(b) < 8 {
		return Reservation{}, fmt.Errorf("scsi: READ RESERVATION data: %d bytes, want at least 8", len(b))
	}
	r := Reservation{Generation: binary.BigEndian.Uint32(b)}
	if binary.BigEndian.Uint32(b[4:]) == 0 {
		return r, nil
	}
	if len(b) < 24 {
		return r, fmt.Errorf("scsi: READ RESERVATION data: %d bytes, want 24", len(b))
	}
	r.Key, r.Type = binary.BigEndian.Uint64(b[8:]), ReservationType(b[21]&0x0f)
	return r, nil
}

// AppendReservationCapabilities appends the data of REPORT CAPABILITIES (SPC-4,
// 6.15.4) of a device that can do everything, for restarts (APTPL) if persist is
// set and that is on if active is. It says that RESERVE and RELEASE of the holder
// do nothing (CRH); and, by ALLOW COMMANDS, that TEST UNIT READY is always allowed
// and MODE SENSE and its like through write exclusive reservations.
func AppendReservationCapabilities(dst []byte, persist, active bool) []byte {
	return append(dst, 0, 8,
		0x1c|bit(persist, 0x01),     // CRH, SIP_C, ATP_C, PTPL_C
		0x80|3<<4|bit(active, 0x01), // TMV, ALLOW COMMANDS, PTPL_A
		0xea, 0x01, 0, 0)            // all types
}

// FullStatus describes one registration in the data of READ FULL STATUS (SPC-4,
// 6.15.5).
type FullStatus struct {
	Key       uint64
	AllPorts  bool            // ALL_TG_PT: Port says nothing
	Type      ReservationType // of the reservation that it holds; 0: it does not
	Port      uint16          // relative identifier of the target port
	Initiator TransportID
}

// AppendFullStatus appends the data.
func AppendFullStatus(dst []byte, generation uint32, list []FullStatus) []byte {
	dst = binary.BigEndian.AppendUint32(dst, generation)
	dst = append(dst, 0, 0, 0, 0)
	start := len(dst)
	for _, s := range list {
		dst = binary.BigEndian.AppendUint64(dst, s.Key)
		dst = append(dst, 0, 0, 0, 0, bit(s.AllPorts, 0x02)|bit(s.Type != 0, 0x01), byte(s.Type), 0, 0, 0, 0)
		dst = binary.BigEndian.AppendUint16(dst, s.Port)
		id := s.Initiator.Append(nil)
		dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(id))), id...)
	}
	binary.BigEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
	return dst
}

// ParseFullStatus reads the data of READ FULL STATUS. A last descriptor that is
// cut off is left out.
func ParseFullStatus(b []byte) (generation uint32, list []FullStatus, err error) {
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("scsi: READ FULL STATUS data: %d bytes, want at least 8", len(b))
	}
	generation = binary.BigEndian.Uint32(b)
	b = b[8:min(uint64(len(b)), 8+uint64(binary.BigEndian.Uint32(b[4:])))]
	for len(b) >= fullStatusLength {
		end := fullStatusLength + uint64(binary.BigEndian.Uint32(b[20:]))
		if end > uint64(len(b)) {
			break
		}
		s := FullStatus{Key: binary.BigEndian.Uint64(b), AllPorts: b[12]&0x02 != 0, Port: binary.BigEndian.Uint16(b[18:])}
		if b[12]&0x01 != 0 {
			s.Type = ReservationType(b[13] & 0x0f)
		}
		if s.Initiator, _, err = ParseTransportID(b[fullStatusLength:end]); err != nil {
			return generation, list, err
		}
		list = append(list, s)
		b = b[end:]
	}
	return generation, list, nil
}
