package isns

import "fmt"

// DefaultPort is the TCP port of iSNS servers (RFC 4171, 2.9.2).
const DefaultPort = 3205

// Function is what a message is (RFC 4171, 5.1.2). A response has the function
// of its request with the highest bit set.
type Function uint16

// Functions of requests.
const (
	DevAttrReg Function = 0x0001 // register, or change
	DevAttrQry Function = 0x0002 // query
	DevGetNext Function = 0x0003 // the next object
	DevDereg   Function = 0x0004 // deregister
	SCNReg     Function = 0x0005 // want state change notifications
	SCNDereg   Function = 0x0006 // do not want them any more
	SCN        Function = 0x0008 // server: a state change notification
	ESI        Function = 0x000d // server: an entity status inquiry
)

const responseBit Function = 0x8000

// Response is the function of the responses to requests of f.
func (f Function) Response() Function { return f | responseBit }

// IsResponse reports whether f is a response's function.
func (f Function) IsResponse() bool { return f&responseBit != 0 }

var functionNames = map[Function]string{
	DevAttrReg: "DevAttrReg", DevAttrQry: "DevAttrQry", DevGetNext: "DevGetNext", DevDereg: "DevDereg",
	SCNReg: "SCNReg", SCNDereg: "SCNDereg", SCN: "SCN", ESI: "ESI",
}

// String is the function's name in RFC 4171.
func (f Function) String() string {
	name, ok := functionNames[f&^responseBit]
	if !ok {
		return fmt.Sprintf("function %#04x", uint16(f))
	}
	if f.IsResponse() {
		return name + "Rsp"
	}
	return name
}

// Status is what a response says of its request (RFC 4171, 5.4). One that is not
// StatusOK is an error, which errors.Is tells from others.
type Status uint32

// Statuses that callers tell apart.
const (
	StatusOK                    Status = 0
	StatusSourceUnknown         Status = 6
	StatusNoSuchEntry           Status = 9
	StatusMessageNotSupported   Status = 15
	StatusSCNRegistrationReject Status = 17
	StatusESINotAvailable       Status = 21
)

var statusNames = map[Status]string{
	0: "success", 1: "unknown error", 2: "message format error", 3: "invalid registration", 5: "invalid query",
	6: "source unknown", 7: "source absent", 8: "source unauthorized", 9: "no such entry", 10: "version not supported",
	11: "internal error", 12: "busy", 13: "option not understood", 14: "invalid update", 15: "message not supported",
	16: "SCN event rejected", 17: "SCN registration rejected", 18: "attribute not implemented",
	21: "ESI not available", 22: "invalid deregistration", 23: "registration feature not supported",
}

// Error is the status in words.
func (s Status) Error() string {
	if name, ok := statusNames[s]; ok {
		return fmt.Sprintf("%s (iSNS status %d)", name, uint32(s))
	}
	return fmt.Sprintf("iSNS status %d", uint32(s))
}
