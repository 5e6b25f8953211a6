package iscsi

import "fmt"

// TaskAttribute says how a command is ordered among its LUN's commands
// (RFC 7143, 11.3.1).
type TaskAttribute uint8

// Task attributes.
const (
	Untagged    TaskAttribute = 0
	Simple      TaskAttribute = 1
	Ordered     TaskAttribute = 2
	HeadOfQueue TaskAttribute = 3
	ACA         TaskAttribute = 4
)

// CommandResponse is the iSCSI part of a command's outcome, beside its SCSI
// status (RFC 7143, 11.4.3).
type CommandResponse uint8

// Command responses.
const (
	CommandCompleted     CommandResponse = 0x00
	CommandTargetFailure CommandResponse = 0x01
)

// String names the response.
func (r CommandResponse) String() string {
	switch r {
	case CommandCompleted:
		return "command completed at target"
	case CommandTargetFailure:
		return "target failure"
	}
	return fmt.Sprintf("response 0x%02x", uint8(r))
}

// TaskFunction is what a task management request asks for (RFC 7143, 11.5.1;
// from QueryTask on RFC 7144, 5).
type TaskFunction uint8

// Task management functions.
const (
	AbortTask        TaskFunction = 1
	AbortTaskSet     TaskFunction = 2
	ClearACA         TaskFunction = 3
	ClearTaskSet     TaskFunction = 4
	LogicalUnitReset TaskFunction = 5
	TargetWarmReset  TaskFunction = 6
	TargetColdReset  TaskFunction = 7
	TaskReassign     TaskFunction = 8
	QueryTask        TaskFunction = 9
	QueryTaskSet     TaskFunction = 10
	ITNexusReset     TaskFunction = 11
	QueryAsyncEvent  TaskFunction = 12
)

// String names the function.
func (f TaskFunction) String() string {
	names := [...]string{
		AbortTask: "ABORT TASK", AbortTaskSet: "ABORT TASK SET", ClearACA: "CLEAR ACA",
		ClearTaskSet: "CLEAR TASK SET", LogicalUnitReset: "LOGICAL UNIT RESET",
		TargetWarmReset: "TARGET WARM RESET", TargetColdReset: "TARGET COLD RESET",
		TaskReassign: "TASK REASSIGN", QueryTask: "QUERY TASK", QueryTaskSet: "QUERY TASK SET",
		ITNexusReset: "I_T NEXUS RESET", QueryAsyncEvent: "QUERY ASYNCHRONOUS EVENT",
	}
	return nameOr(names[:], uint8(f), "task management function")
}

// TaskResponse answers a task management request (RFC 7143, 11.6.1; RFC 7144,
// 4).
type TaskResponse uint8

// Task management responses.
const (
	TaskFunctionComplete      TaskResponse = 0
	TaskDoesNotExist          TaskResponse = 1
	TaskLUNDoesNotExist       TaskResponse = 2
	TaskStillAllegiant        TaskResponse = 3
	TaskReassignNotSupported  TaskResponse = 4
	TaskFunctionNotSupported  TaskResponse = 5
	TaskFunctionNotAuthorized TaskResponse = 6
	TaskFunctionSucceeded     TaskResponse = 7
	TaskFunctionRejected      TaskResponse = 255
)

// String names the response.
func (r TaskResponse) String() string {
	if r == TaskFunctionRejected {
		return "function rejected"
	}
	names := [...]string{
		TaskFunctionComplete: "function complete", TaskDoesNotExist: "task does not exist",
		TaskLUNDoesNotExist: "LUN does not exist", TaskStillAllegiant: "task still allegiant",
		TaskReassignNotSupported:  "task allegiance reassignment not supported",
		TaskFunctionNotSupported:  "task management function not supported",
		TaskFunctionNotAuthorized: "function authorization failed",
		TaskFunctionSucceeded:     "function succeeded",
	}
	return nameOr(names[:], uint8(r), "task management response")
}

// AsyncEvent says what an asynchronous message is about (RFC 7143, 11.9.1).
type AsyncEvent uint8

// Asynchronous events. The comments say what Param1, Param2 and Param3 hold.
const (
	AsyncSCSI               AsyncEvent = 0   // the data segment holds sense data
	AsyncLogout             AsyncEvent = 1   // Param3: seconds within which to log out
	AsyncDropConnection     AsyncEvent = 2   // Param1: CID; Param2, Param3: Time2Wait, Time2Retain
	AsyncDropAllConnections AsyncEvent = 3   // Param2, Param3: Time2Wait, Time2Retain
	AsyncNegotiate          AsyncEvent = 4   // Param3: seconds within which to send a text request
	AsyncTasksTerminated    AsyncEvent = 5   // all tasks of the LUN are being terminated
	AsyncVendor             AsyncEvent = 255 // AsyncVCode and the data segment say what
)

// String names the event.
func (e AsyncEvent) String() string {
	if e == AsyncVendor {
		return "vendor-specific event"
	}
	names := [...]string{
		AsyncSCSI: "SCSI event", AsyncLogout: "target asks for logout",
		AsyncDropConnection:     "target will drop a connection",
		AsyncDropAllConnections: "target will drop all connections of the session",
		AsyncNegotiate:          "target asks for parameter negotiation",
		AsyncTasksTerminated:    "tasks of the LUN are being terminated",
	}
	return nameOr(names[:], uint8(e), "asynchronous event")
}

// LogoutReason says what a logout request closes (RFC 7143, 11.14.1).
type LogoutReason uint8

// Logout reasons.
const (
	LogoutSession    LogoutReason = 0 // close the whole session
	LogoutConnection LogoutReason = 1 // close the connection named by CID
	LogoutRecovery   LogoutReason = 2 // remove that connection for recovery
)

// String names the reason.
func (r LogoutReason) String() string {
	names := [...]string{"close the session", "close the connection", "remove the connection for recovery"}
	return nameOr(names[:], uint8(r), "logout reason")
}

// LogoutResult answers a logout request (RFC 7143, 11.15.1).
type LogoutResult uint8

// Logout results.
const (
	LogoutClosed               LogoutResult = 0
	LogoutCIDNotFound          LogoutResult = 1
	LogoutRecoveryNotSupported LogoutResult = 2
	LogoutCleanupFailed        LogoutResult = 3
)

// String names the result.
func (r LogoutResult) String() string {
	names := [...]string{
		"connection or session closed", "CID not found",
		"connection recovery is not supported", "cleanup failed",
	}
	return nameOr(names[:], uint8(r), "logout response")
}

// SNACKType says what a SNACK asks for (RFC 7143, 11.16.1).
type SNACKType uint8

// SNACK types.
const (
	SNACKDataR2T SNACKType = 0
	SNACKStatus  SNACKType = 1
	SNACKDataACK SNACKType = 2
	SNACKRData   SNACKType = 3
)

// RejectReason says why a target refused a PDU (RFC 7143, 11.17.1).
type RejectReason uint8

// Reject reasons.
const (
	RejectDataDigest       RejectReason = 0x02
	RejectSNACK            RejectReason = 0x03
	RejectProtocolError    RejectReason = 0x04
	RejectNotSupported     RejectReason = 0x05
	RejectTooManyImmediate RejectReason = 0x06
	RejectTaskInProgress   RejectReason = 0x07
	RejectInvalidDataACK   RejectReason = 0x08
	RejectInvalidField     RejectReason = 0x09
	RejectOutOfResources   RejectReason = 0x0a
	RejectNegotiationReset RejectReason = 0x0b
	RejectWaitingForLogout RejectReason = 0x0c
)

// String names the reason.
func (r RejectReason) String() string {
	names := [...]string{
		RejectDataDigest: "data digest error", RejectSNACK: "SNACK reject",
		RejectProtocolError: "protocol error", RejectNotSupported: "command not supported",
		RejectTooManyImmediate: "too many immediate commands", RejectTaskInProgress: "task in progress",
		RejectInvalidDataACK: "invalid data ACK", RejectInvalidField: "invalid PDU field",
		RejectOutOfResources:   "out of resources for a long operation",
		RejectNegotiationReset: "negotiation reset", RejectWaitingForLogout: "waiting for logout",
	}
	return nameOr(names[:], uint8(r), "reject reason")
}

// nameOr returns names[v], or the number where the table has no name for it.
func nameOr(names []string, v uint8, what string) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("%s 0x%02x", what, v)
}
