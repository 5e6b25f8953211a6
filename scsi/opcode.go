package scsi

import "fmt"

// OpCode is the first byte of a CDB (SPC-4, annex F.3.1).
type OpCode uint8

// Operation codes.
const (
	OpTestUnitReady        OpCode = 0x00
	OpRequestSense         OpCode = 0x03
	OpFormatUnit           OpCode = 0x04
	OpRead6                OpCode = 0x08
	OpWrite6               OpCode = 0x0a
	OpInquiry              OpCode = 0x12
	OpModeSelect6          OpCode = 0x15
	OpReserve6             OpCode = 0x16
	OpRelease6             OpCode = 0x17
	OpModeSense6           OpCode = 0x1a
	OpStartStopUnit        OpCode = 0x1b
	OpReceiveDiagnostic    OpCode = 0x1c
	OpSendDiagnostic       OpCode = 0x1d
	OpPreventAllowRemoval  OpCode = 0x1e
	OpReadCapacity10       OpCode = 0x25
	OpRead10               OpCode = 0x28
	OpWrite10              OpCode = 0x2a
	OpWriteAndVerify10     OpCode = 0x2e
	OpVerify10             OpCode = 0x2f
	OpPreFetch10           OpCode = 0x34
	OpSynchronizeCache10   OpCode = 0x35
	OpReadDefectData10     OpCode = 0x37
	OpWriteBuffer          OpCode = 0x3b
	OpReadBuffer           OpCode = 0x3c
	OpWriteSame10          OpCode = 0x41
	OpUnmap                OpCode = 0x42
	OpReadTOC              OpCode = 0x43
	OpGetConfiguration     OpCode = 0x46
	OpSanitize             OpCode = 0x48
	OpGetEventStatus       OpCode = 0x4a
	OpLogSelect            OpCode = 0x4c
	OpLogSense             OpCode = 0x4d
	OpReadDiscInformation  OpCode = 0x51
	OpReadTrackInformation OpCode = 0x52
	OpModeSelect10         OpCode = 0x55
	OpReserve10            OpCode = 0x56
	OpRelease10            OpCode = 0x57
	OpModeSense10          OpCode = 0x5a
	OpPersistentReserveIn  OpCode = 0x5e
	OpPersistentReserveOut OpCode = 0x5f
	OpVariableLength       OpCode = 0x7f
	OpExtendedCopy         OpCode = 0x83
	OpReceiveCopyResults   OpCode = 0x84
	OpATAPassThrough16     OpCode = 0x85
	OpRead16               OpCode = 0x88
	OpCompareAndWrite      OpCode = 0x89
	OpWrite16              OpCode = 0x8a
	OpOrWrite16            OpCode = 0x8b
	OpWriteAndVerify16     OpCode = 0x8e
	OpVerify16             OpCode = 0x8f
	OpPreFetch16           OpCode = 0x90
	OpSynchronizeCache16   OpCode = 0x91
	OpWriteSame16          OpCode = 0x93
	OpWriteAtomic16        OpCode = 0x9c
	OpServiceActionIn16    OpCode = 0x9e
	OpServiceActionOut16   OpCode = 0x9f
	OpReportLUNs           OpCode = 0xa0
	OpATAPassThrough12     OpCode = 0xa1
	OpMaintenanceIn        OpCode = 0xa3
	OpMaintenanceOut       OpCode = 0xa4
	OpRead12               OpCode = 0xa8
	OpWrite12              OpCode = 0xaa
	OpWriteAndVerify12     OpCode = 0xae
	OpVerify12             OpCode = 0xaf
	OpReadDiscStructure    OpCode = 0xad
	OpReadDefectData12     OpCode = 0xb7
	OpSetCDSpeed           OpCode = 0xbb
	OpMechanismStatus      OpCode = 0xbd
)

// Service actions, the second part of the operation code of some commands.
const (
	ActionReadCapacity16 = 0x10 // of OpServiceActionIn16
	ActionGetLBAStatus   = 0x12

	ActionReportTargetPortGroups = 0x0a // of OpMaintenanceIn
	ActionReportSupportedOpcodes = 0x0c
	ActionReportSupportedTMFs    = 0x0d

	ActionSetTargetPortGroups = 0x0a // of OpMaintenanceOut

	ActionSanitizeOverwrite   = 0x01 // of OpSanitize
	ActionSanitizeBlockErase  = 0x02
	ActionSanitizeCryptoErase = 0x03
	ActionSanitizeExitFailure = 0x1f

	ActionExtendedCopy   = 0x00 // of OpExtendedCopy
	ActionCopyStatus     = 0x00 // of OpReceiveCopyResults
	ActionCopyData       = 0x01
	ActionCopyParameters = 0x03
	ActionCopyFailed     = 0x04

	ActionPRInReadKeys           = 0x00 // of OpPersistentReserveIn
	ActionPRInReadReservation    = 0x01
	ActionPRInReportCapabilities = 0x02
	ActionPRInReadFullStatus     = 0x03

	ActionPROutRegister        = 0x00 // of OpPersistentReserveOut
	ActionPROutReserve         = 0x01
	ActionPROutRelease         = 0x02
	ActionPROutClear           = 0x03
	ActionPROutPreempt         = 0x04
	ActionPROutPreemptAbort    = 0x05
	ActionPROutRegisterIgnore  = 0x06
	ActionPROutRegisterAndMove = 0x07
)

var opcodeNames = map[OpCode]string{
	OpTestUnitReady:        "TEST UNIT READY",
	OpRequestSense:         "REQUEST SENSE",
	OpFormatUnit:           "FORMAT UNIT",
	OpRead6:                "READ(6)",
	OpWrite6:               "WRITE(6)",
	OpInquiry:              "INQUIRY",
	OpModeSelect6:          "MODE SELECT(6)",
	OpReserve6:             "RESERVE(6)",
	OpRelease6:             "RELEASE(6)",
	OpModeSense6:           "MODE SENSE(6)",
	OpStartStopUnit:        "START STOP UNIT",
	OpReceiveDiagnostic:    "RECEIVE DIAGNOSTIC RESULTS",
	OpSendDiagnostic:       "SEND DIAGNOSTIC",
	OpPreventAllowRemoval:  "PREVENT ALLOW MEDIUM REMOVAL",
	OpReadCapacity10:       "READ CAPACITY(10)",
	OpRead10:               "READ(10)",
	OpWrite10:              "WRITE(10)",
	OpWriteAndVerify10:     "WRITE AND VERIFY(10)",
	OpVerify10:             "VERIFY(10)",
	OpPreFetch10:           "PRE-FETCH(10)",
	OpSynchronizeCache10:   "SYNCHRONIZE CACHE(10)",
	OpReadDefectData10:     "READ DEFECT DATA(10)",
	OpWriteBuffer:          "WRITE BUFFER",
	OpReadBuffer:           "READ BUFFER",
	OpWriteSame10:          "WRITE SAME(10)",
	OpUnmap:                "UNMAP",
	OpReadTOC:              "READ TOC/PMA/ATIP",
	OpGetConfiguration:     "GET CONFIGURATION",
	OpSanitize:             "SANITIZE",
	OpGetEventStatus:       "GET EVENT STATUS NOTIFICATION",
	OpLogSelect:            "LOG SELECT",
	OpLogSense:             "LOG SENSE",
	OpReadDiscInformation:  "READ DISC INFORMATION",
	OpReadTrackInformation: "READ TRACK INFORMATION",
	OpModeSelect10:         "MODE SELECT(10)",
	OpReserve10:            "RESERVE(10)",
	OpRelease10:            "RELEASE(10)",
	OpModeSense10:          "MODE SENSE(10)",
	OpPersistentReserveIn:  "PERSISTENT RESERVE IN",
	OpPersistentReserveOut: "PERSISTENT RESERVE OUT",
	OpVariableLength:       "variable length CDB",
	OpExtendedCopy:         "EXTENDED COPY",
	OpReceiveCopyResults:   "RECEIVE COPY RESULTS",
	OpATAPassThrough16:     "ATA PASS-THROUGH(16)",
	OpRead16:               "READ(16)",
	OpCompareAndWrite:      "COMPARE AND WRITE",
	OpWrite16:              "WRITE(16)",
	OpOrWrite16:            "ORWRITE(16)",
	OpWriteAndVerify16:     "WRITE AND VERIFY(16)",
	OpVerify16:             "VERIFY(16)",
	OpPreFetch16:           "PRE-FETCH(16)",
	OpSynchronizeCache16:   "SYNCHRONIZE CACHE(16)",
	OpWriteSame16:          "WRITE SAME(16)",
	OpWriteAtomic16:        "WRITE ATOMIC(16)",
	OpServiceActionIn16:    "SERVICE ACTION IN(16)",
	OpServiceActionOut16:   "SERVICE ACTION OUT(16)",
	OpReportLUNs:           "REPORT LUNS",
	OpATAPassThrough12:     "ATA PASS-THROUGH(12)",
	OpMaintenanceIn:        "MAINTENANCE IN",
	OpMaintenanceOut:       "MAINTENANCE OUT",
	OpRead12:               "READ(12)",
	OpWrite12:              "WRITE(12)",
	OpWriteAndVerify12:     "WRITE AND VERIFY(12)",
	OpVerify12:             "VERIFY(12)",
	OpReadDiscStructure:    "READ DISC STRUCTURE",
	OpReadDefectData12:     "READ DEFECT DATA(12)",
	OpSetCDSpeed:           "SET CD SPEED",
	OpMechanismStatus:      "MECHANISM STATUS",
}

// String returns the command's name in the standards.
func (o OpCode) String() string {
	if name := opcodeNames[o]; name != "" {
		return name
	}
	return fmt.Sprintf("operation code 0x%02x", uint8(o))
}

// CDBLength returns the length of a command's CDB in bytes, which the code's top
// three bits tell (SPC-4, 4.2.5.1); 0 if they do not.
func (o OpCode) CDBLength() int {
	return [8]int{6, 10, 10, 0, 16, 12, 0, 0}[o>>5]
}
