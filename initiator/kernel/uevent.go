//go:build linux && !386

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bootlun/bootlun/iscsi"
)

// The messages of NETLINK_ISCSI, from Linux's include/scsi/iscsi_if.h. A message is a netlink header, a fixed block (struct
// iscsi_uevent) in the machine's byte order, and what belongs to its type: a parameter's value or a PDU.
//
// The fixed block, by offset:
//
//	 0  type        u32
//	 4  iferror     u32, a negative errno in answers of type evIfError
//	 8  transport   u64, the driver's handle from sysfs
//	16  request     24 bytes: what the program asks, by type
//	40  answer      16 bytes: what the kernel says, by type

const (
	netlinkHeaderLength = 16
	ueventLength        = 56
	requestOffset       = 16
	answerOffset        = 40
)

// netlinkISCSI is the netlink protocol, and multicastGroup the group in which the kernel sends PDUs and errors.
const (
	netlinkISCSI   = 8
	multicastGroup = 1
)

// eventType is a message's type.
type eventType uint32

// Requests, and from 101 on what the kernel sends of its own.
const (
	evCreateSession  eventType = 11
	evDestroySession eventType = 12
	evCreateConn     eventType = 13
	evDestroyConn    eventType = 14
	evBindConn       eventType = 15
	evSetParam       eventType = 16
	evStartConn      eventType = 17
	evStopConn       eventType = 18
	evSendPDU        eventType = 19
	evSetHostParam   eventType = 26

	evRecvPDU   eventType = 101
	evConnError eventType = 102
	evIfError   eventType = 103
)

// String is the name that the kernel's header gives the type.
func (t eventType) String() string {
	switch t {
	case evCreateSession:
		return "CREATE_SESSION"
	case evDestroySession:
		return "DESTROY_SESSION"
	case evCreateConn:
		return "CREATE_CONN"
	case evDestroyConn:
		return "DESTROY_CONN"
	case evBindConn:
		return "BIND_CONN"
	case evSetParam:
		return "SET_PARAM"
	case evStartConn:
		return "START_CONN"
	case evStopConn:
		return "STOP_CONN"
	case evSendPDU:
		return "SEND_PDU"
	case evSetHostParam:
		return "SET_HOST_PARAM"
	case evRecvPDU:
		return "RECV_PDU"
	case evConnError:
		return "CONN_ERROR"
	case evIfError:
		return "IF_ERROR"
	}
	return fmt.Sprintf("event %d", uint32(t))
}

// Reasons to stop a connection.
const (
	stopTerminate = 0x1
	stopRecover   = 0x3
)

// native is the byte order of the fixed block.
var native = binary.NativeEndian

// message is one message, encoded or as received: header, fixed block, and the rest.
type message []byte

// newMessage makes a request with its fixed block zero but for type and transport, and room for n bytes after it.
func newMessage(t eventType, transport uint64, n int) message {
	m := make(message, netlinkHeaderLength+ueventLength+n)
	native.PutUint32(m[0:], uint32(len(m)))
	native.PutUint16(m[4:], uint16(t))
	const request = 1 // NLM_F_REQUEST
	native.PutUint16(m[6:], request)
	native.PutUint32(m.block(), uint32(t))
	native.PutUint64(m.block()[8:], transport)
	return m
}

var errShortMessage = errors.New("netlink message is cut short")

// splitMessages parts what one read gave. Messages start at multiples of four bytes.
func splitMessages(b []byte) ([]message, error) {
	var all []message
	for len(b) > 0 {
		if len(b) < netlinkHeaderLength {
			return all, errShortMessage
		}
		n := uint64(native.Uint32(b))
		if n < netlinkHeaderLength+ueventLength || n > uint64(len(b)) {
			return all, errShortMessage
		}
		all = append(all, message(b[:n:n]))
		b = b[min(uint64(len(b)), (n+3)&^3):]
	}
	return all, nil
}

func (m message) block() []byte     { return m[netlinkHeaderLength:] }
func (m message) request() []byte   { return m.block()[requestOffset:answerOffset] }
func (m message) answer() []byte    { return m.block()[answerOffset:ueventLength] }
func (m message) rest() []byte      { return m.block()[ueventLength:] }
func (m message) header() eventType { return eventType(native.Uint16(m[4:])) }
func (m message) kind() eventType   { return eventType(native.Uint32(m.block())) }
func (m message) ifError() int32    { return int32(native.Uint32(m.block()[4:])) }

// retcode is the answer to bindConn, startConn and sendPDU.
func (m message) retcode() int32 { return int32(native.Uint32(m.answer())) }

// ids are the two numbers that answers to createSession (session, host) and createConn (session, connection) start with, and
// events about a connection too.
func (m message) ids() (uint32, uint32) {
	return native.Uint32(m.answer()), native.Uint32(m.answer()[4:])
}

// connError is an evConnError's cause.
func (m message) connError() connError { return connError(native.Uint32(m.answer()[8:])) }

// pdu gives the PDU of an evRecvPDU. The message may have up to three bytes of padding after it.
func (m message) pdu() (iscsi.BHS, []byte, error) {
	rest := m.rest()
	if len(rest) < iscsi.BHSLength {
		return iscsi.BHS{}, nil, errShortMessage
	}
	bhs := iscsi.BHS(rest[:iscsi.BHSLength])
	data := rest[iscsi.BHSLength:]
	n := bhs.DataSegmentLength()
	if n > len(data) {
		return iscsi.BHS{}, nil, errShortMessage
	}
	return bhs, data[:n], nil
}

func encodeCreateSession(transport uint64, cmdSN uint32, commands, queueDepth uint16) message {
	m := newMessage(evCreateSession, transport, 0)
	native.PutUint32(m.request(), cmdSN)
	native.PutUint16(m.request()[4:], commands)
	native.PutUint16(m.request()[6:], queueDepth)
	return m
}

func encodeDestroySession(transport uint64, sid uint32) message {
	m := newMessage(evDestroySession, transport, 0)
	native.PutUint32(m.request(), sid)
	return m
}

// encodeConn makes the requests that name a connection and say no more: createConn, startConn, destroyConn.
func encodeConn(t eventType, transport uint64, sid, cid uint32) message {
	m := newMessage(t, transport, 0)
	native.PutUint32(m.request(), sid)
	native.PutUint32(m.request()[4:], cid)
	return m
}

// encodeBindConn names the socket by a file descriptor of this process.
func encodeBindConn(transport uint64, sid, cid uint32, fd uint64) message {
	m := encodeConn(evBindConn, transport, sid, cid)
	native.PutUint64(m.request()[8:], fd)
	native.PutUint32(m.request()[16:], 1) // the session's leading connection
	return m
}

func encodeStopConn(transport uint64, sid, cid, flag uint32) message {
	m := encodeConn(evStopConn, transport, sid, cid)
	native.PutUint32(m.request()[16:], flag)
	return m
}

func encodeSendPDU(transport uint64, sid, cid uint32, bhs *iscsi.BHS, data []byte) message {
	m := newMessage(evSendPDU, transport, iscsi.BHSLength+len(data))
	r := m.request()
	native.PutUint32(r, sid)
	native.PutUint32(r[4:], cid)
	native.PutUint32(r[8:], iscsi.BHSLength)
	native.PutUint32(r[12:], uint32(len(data)))
	copy(m.rest(), bhs[:])
	copy(m.rest()[iscsi.BHSLength:], data)
	return m
}

// encodeSetParam ends the value with the NUL that the kernel wants.
func encodeSetParam(transport uint64, sid, cid uint32, p param, value string) message {
	m := newMessage(evSetParam, transport, len(value)+1)
	r := m.request()
	native.PutUint32(r, sid)
	native.PutUint32(r[4:], cid)
	native.PutUint32(r[8:], uint32(p))
	native.PutUint32(r[12:], uint32(len(value)+1))
	copy(m.rest(), value)
	return m
}

func encodeSetHostParam(transport uint64, host uint32, p hostParam, value string) message {
	m := newMessage(evSetHostParam, transport, len(value)+1)
	r := m.request()
	native.PutUint32(r, host)
	native.PutUint32(r[4:], uint32(p))
	native.PutUint32(r[8:], uint32(len(value)+1))
	copy(m.rest(), value)
	return m
}
