package scsi

import "fmt"

// ASC is an additional sense code with its qualifier: ASC in the high byte, ASCQ
// in the low one (SPC-4, annex F.2).
type ASC uint16

// Additional sense codes.
const (
	ASCNone                         ASC = 0x0000
	ASCIOProcessTerminated          ASC = 0x0006
	ASCOperationInProgress          ASC = 0x0016
	ASCNoIndex                      ASC = 0x0100
	ASCNotReady                     ASC = 0x0400
	ASCBecomingReady                ASC = 0x0401
	ASCInitializingCommandRequired  ASC = 0x0402
	ASCManualInterventionRequired   ASC = 0x0403
	ASCFormatInProgress             ASC = 0x0404
	ASCSelfTestInProgress           ASC = 0x0409
	ASCAsymmetricAccessTransition   ASC = 0x040a
	ASCTargetPortStandby            ASC = 0x040b
	ASCTargetPortUnavailable        ASC = 0x040c
	ASCSpaceAllocationInProgress    ASC = 0x0414
	ASCSanitizeInProgress           ASC = 0x041b
	ASCNotResponding                ASC = 0x0500
	ASCMultipleDevicesSelected      ASC = 0x0700
	ASCCommunicationFailure         ASC = 0x0800
	ASCCommunicationTimeout         ASC = 0x0801
	ASCUnreachableCopyTarget        ASC = 0x0804
	ASCWarning                      ASC = 0x0b00
	ASCWriteError                   ASC = 0x0c00
	ASCWriteErrorReallocationFailed ASC = 0x0c02
	ASCUnexpectedUnsolicitedData    ASC = 0x0c0c
	ASCNotEnoughUnsolicitedData     ASC = 0x0c0d
	ASCCopyDeviceFailure            ASC = 0x0d01
	ASCCopyTargetNotReachable       ASC = 0x0d02
	ASCInvalidFieldInInfoUnit       ASC = 0x0e03
	ASCCRCError                     ASC = 0x1000
	ASCGuardCheckFailed             ASC = 0x1001
	ASCUnrecoveredReadError         ASC = 0x1100
	ASCReadRetriesExhausted         ASC = 0x1101
	ASCUnrecoveredReadReallocFailed ASC = 0x1104
	ASCParameterListLength          ASC = 0x1a00
	ASCSynchronousTransferError     ASC = 0x1b00
	ASCMiscompareDuringVerify       ASC = 0x1d00
	ASCInvalidCommand               ASC = 0x2000
	ASCAccessDenied                 ASC = 0x2002
	ASCLBAOutOfRange                ASC = 0x2100
	ASCInvalidElementAddress        ASC = 0x2101
	ASCInvalidFieldInCDB            ASC = 0x2400
	ASCCDBDecryptionError           ASC = 0x2401
	ASCLUNNotSupported              ASC = 0x2500
	ASCInvalidFieldInParameters     ASC = 0x2600
	ASCParameterNotSupported        ASC = 0x2601
	ASCParameterValueInvalid        ASC = 0x2602
	ASCInvalidReleaseOfReservation  ASC = 0x2604
	ASCTooManyTargetDescriptors     ASC = 0x2606
	ASCUnsupportedTargetDescriptor  ASC = 0x2607
	ASCTooManySegmentDescriptors    ASC = 0x2608
	ASCUnsupportedSegmentDescriptor ASC = 0x2609
	ASCWriteProtected               ASC = 0x2700
	ASCHardwareWriteProtected       ASC = 0x2701
	ASCSoftwareWriteProtected       ASC = 0x2702
	ASCSpaceAllocationFailed        ASC = 0x2707
	ASCMediumMayHaveChanged         ASC = 0x2800
	ASCPowerOnOrReset               ASC = 0x2900
	ASCPowerOn                      ASC = 0x2901
	ASCBusReset                     ASC = 0x2902
	ASCDeviceReset                  ASC = 0x2903
	ASCDeviceInternalReset          ASC = 0x2904
	ASCNexusLoss                    ASC = 0x2907
	ASCParametersChanged            ASC = 0x2a00
	ASCModeParametersChanged        ASC = 0x2a01
	ASCReservationsPreempted        ASC = 0x2a03
	ASCReservationsReleased         ASC = 0x2a04
	ASCRegistrationsPreempted       ASC = 0x2a05
	ASCAsymmetricAccessChanged      ASC = 0x2a06
	ASCPriorityChanged              ASC = 0x2a08
	ASCCapacityChanged              ASC = 0x2a09
	ASCCommandSequenceError         ASC = 0x2c00
	ASCPreviousReservationConflict  ASC = 0x2c09
	ASCCommandsClearedByOther       ASC = 0x2f00
	ASCCommandsClearedByPower       ASC = 0x2f01
	ASCIncompatibleMedium           ASC = 0x3000
	ASCFormatCorrupted              ASC = 0x3100
	ASCFormatFailed                 ASC = 0x3101
	ASCSanitizeFailed               ASC = 0x3103
	ASCNoDefectSpareLocation        ASC = 0x3200
	ASCThinProvisioningThreshold    ASC = 0x3807
	ASCSavingParametersNotSupported ASC = 0x3900
	ASCMediumNotPresent             ASC = 0x3a00
	ASCMediumNotPresentTrayClosed   ASC = 0x3a01
	ASCMediumNotPresentTrayOpen     ASC = 0x3a02
	ASCInvalidMessageBits           ASC = 0x3d00
	ASCNotSelfConfigured            ASC = 0x3e00
	ASCFailure                      ASC = 0x3e01
	ASCTimeout                      ASC = 0x3e02
	ASCTargetConditionsChanged      ASC = 0x3f00
	ASCMicrocodeChanged             ASC = 0x3f01
	ASCInquiryDataChanged           ASC = 0x3f03
	ASCReportedLUNsChanged          ASC = 0x3f0e
	ASCComponentFailure             ASC = 0x4080
	ASCMessageError                 ASC = 0x4300
	ASCInternalTargetFailure        ASC = 0x4400
	ASCSelectFailure                ASC = 0x4500
	ASCUnsuccessfulSoftReset        ASC = 0x4600
	ASCParityError                  ASC = 0x4700
	ASCProtocolServiceCRCError      ASC = 0x4705
	ASCInitiatorDetectedError       ASC = 0x4800
	ASCInvalidMessage               ASC = 0x4900
	ASCCommandPhaseError            ASC = 0x4a00
	ASCDataPhaseError               ASC = 0x4b00
	ASCInvalidTargetTransferTag     ASC = 0x4b01
	ASCTooMuchWriteData             ASC = 0x4b02
	ASCACKNAKTimeout                ASC = 0x4b03
	ASCDataOffsetError              ASC = 0x4b05
	ASCInitiatorResponseTimeout     ASC = 0x4b06
	ASCSelfConfigurationFailed      ASC = 0x4c00
	ASCOverlappedCommands           ASC = 0x4e00
	ASCMediumLoadOrEjectFailed      ASC = 0x5300
	ASCMediumRemovalPrevented       ASC = 0x5302
	ASCInsufficientResources        ASC = 0x5503
	ASCInsufficientRegistration     ASC = 0x5504
	ASCOperatorMediumRemoval        ASC = 0x5a01
	ASCFailurePredictionExceeded    ASC = 0x5d00
	ASCLowPower                     ASC = 0x5e00
	ASCStandbyByTimer               ASC = 0x5e03
	ASCVoltageFault                 ASC = 0x6500
	ASCConfigurationFailed          ASC = 0x6700
	ASCLUNNotConfigured             ASC = 0x6800
)

var ascNames = map[ASC]string{
	ASCNone:                         "No additional sense information",
	ASCIOProcessTerminated:          "I/O process terminated",
	ASCOperationInProgress:          "Operation in progress",
	ASCNoIndex:                      "No index/sector signal",
	ASCNotReady:                     "Logical unit not ready, cause not reportable",
	ASCBecomingReady:                "Logical unit is in process of becoming ready",
	ASCInitializingCommandRequired:  "Logical unit not ready, initializing command required",
	ASCManualInterventionRequired:   "Logical unit not ready, manual intervention required",
	ASCFormatInProgress:             "Logical unit not ready, format in progress",
	ASCSelfTestInProgress:           "Logical unit not ready, self-test in progress",
	ASCAsymmetricAccessTransition:   "Logical unit not accessible, asymmetric access state transition",
	ASCTargetPortStandby:            "Logical unit not accessible, target port in standby state",
	ASCTargetPortUnavailable:        "Logical unit not accessible, target port in unavailable state",
	ASCSpaceAllocationInProgress:    "Logical unit not ready, space allocation in progress",
	ASCSanitizeInProgress:           "Logical unit not ready, sanitize in progress",
	ASCNotResponding:                "Logical unit does not respond to selection",
	ASCMultipleDevicesSelected:      "Multiple peripheral devices selected",
	ASCCommunicationFailure:         "Logical unit communication failure",
	ASCCommunicationTimeout:         "Logical unit communication time-out",
	ASCUnreachableCopyTarget:        "Unreachable copy target",
	ASCWarning:                      "Warning",
	ASCWriteError:                   "Write error",
	ASCWriteErrorReallocationFailed: "Write error, auto reallocation failed",
	ASCUnexpectedUnsolicitedData:    "Write error, unexpected unsolicited data",
	ASCNotEnoughUnsolicitedData:     "Write error, not enough unsolicited data",
	ASCCopyDeviceFailure:            "Third party device failure",
	ASCCopyTargetNotReachable:       "Copy target device not reachable",
	ASCInvalidFieldInInfoUnit:       "Invalid field in command information unit",
	ASCCRCError:                     "ID CRC or ECC error",
	ASCGuardCheckFailed:             "Logical block guard check failed",
	ASCUnrecoveredReadError:         "Unrecovered read error",
	ASCReadRetriesExhausted:         "Read retries exhausted",
	ASCUnrecoveredReadReallocFailed: "Unrecovered read error, auto reallocate failed",
	ASCParameterListLength:          "Parameter list length error",
	ASCSynchronousTransferError:     "Synchronous data transfer error",
	ASCMiscompareDuringVerify:       "Miscompare during verify operation",
	ASCInvalidCommand:               "Invalid command operation code",
	ASCAccessDenied:                 "Access denied, no access rights",
	ASCLBAOutOfRange:                "Logical block address out of range",
	ASCInvalidElementAddress:        "Invalid element address",
	ASCInvalidFieldInCDB:            "Invalid field in CDB",
	ASCCDBDecryptionError:           "CDB decryption error",
	ASCLUNNotSupported:              "Logical unit not supported",
	ASCInvalidFieldInParameters:     "Invalid field in parameter list",
	ASCParameterNotSupported:        "Parameter not supported",
	ASCParameterValueInvalid:        "Parameter value invalid",
	ASCInvalidReleaseOfReservation:  "Invalid release of persistent reservation",
	ASCTooManyTargetDescriptors:     "Too many target descriptors",
	ASCUnsupportedTargetDescriptor:  "Unsupported target descriptor type code",
	ASCTooManySegmentDescriptors:    "Too many segment descriptors",
	ASCUnsupportedSegmentDescriptor: "Unsupported segment descriptor type code",
	ASCWriteProtected:               "Write protected",
	ASCHardwareWriteProtected:       "Hardware write protected",
	ASCSoftwareWriteProtected:       "Logical unit software write protected",
	ASCSpaceAllocationFailed:        "Space allocation failed write protect",
	ASCMediumMayHaveChanged:         "Not ready to ready change, medium may have changed",
	ASCPowerOnOrReset:               "Power on, reset, or bus device reset occurred",
	ASCPowerOn:                      "Power on occurred",
	ASCBusReset:                     "SCSI bus reset occurred",
	ASCDeviceReset:                  "Bus device reset function occurred",
	ASCDeviceInternalReset:          "Device internal reset",
	ASCNexusLoss:                    "I_T nexus loss occurred",
	ASCParametersChanged:            "Parameters changed",
	ASCModeParametersChanged:        "Mode parameters changed",
	ASCReservationsPreempted:        "Reservations preempted",
	ASCReservationsReleased:         "Reservations released",
	ASCRegistrationsPreempted:       "Registrations preempted",
	ASCAsymmetricAccessChanged:      "Asymmetric access state changed",
	ASCPriorityChanged:              "Priority changed",
	ASCCapacityChanged:              "Capacity data has changed",
	ASCCommandSequenceError:         "Command sequence error",
	ASCPreviousReservationConflict:  "Previous reservation conflict status",
	ASCCommandsClearedByOther:       "Commands cleared by another initiator",
	ASCCommandsClearedByPower:       "Commands cleared by power loss notification",
	ASCIncompatibleMedium:           "Incompatible medium installed",
	ASCFormatCorrupted:              "Medium format corrupted",
	ASCFormatFailed:                 "Format command failed",
	ASCSanitizeFailed:               "Sanitize command failed",
	ASCNoDefectSpareLocation:        "No defect spare location available",
	ASCThinProvisioningThreshold:    "Thin provisioning soft threshold reached",
	ASCSavingParametersNotSupported: "Saving parameters not supported",
	ASCMediumNotPresent:             "Medium not present",
	ASCMediumNotPresentTrayClosed:   "Medium not present, tray closed",
	ASCMediumNotPresentTrayOpen:     "Medium not present, tray open",
	ASCInvalidMessageBits:           "Invalid bits in identify message",
	ASCNotSelfConfigured:            "Logical unit has not self-configured yet",
	ASCFailure:                      "Logical unit failure",
	ASCTimeout:                      "Timeout on logical unit",
	ASCTargetConditionsChanged:      "Target operating conditions have changed",
	ASCMicrocodeChanged:             "Microcode has been changed",
	ASCInquiryDataChanged:           "Inquiry data has changed",
	ASCReportedLUNsChanged:          "Reported LUNs data has changed",
	ASCComponentFailure:             "Diagnostic failure on component",
	ASCMessageError:                 "Message error",
	ASCInternalTargetFailure:        "Internal target failure",
	ASCSelectFailure:                "Select or reselect failure",
	ASCUnsuccessfulSoftReset:        "Unsuccessful soft reset",
	ASCParityError:                  "SCSI parity error",
	ASCProtocolServiceCRCError:      "Protocol service CRC error",
	ASCInitiatorDetectedError:       "Initiator detected error message received",
	ASCInvalidMessage:               "Invalid message error",
	ASCCommandPhaseError:            "Command phase error",
	ASCDataPhaseError:               "Data phase error",
	ASCInvalidTargetTransferTag:     "Invalid target port transfer tag received",
	ASCTooMuchWriteData:             "Too much write data",
	ASCACKNAKTimeout:                "ACK/NAK timeout",
	ASCDataOffsetError:              "Data offset error",
	ASCInitiatorResponseTimeout:     "Initiator response timeout",
	ASCSelfConfigurationFailed:      "Logical unit failed self-configuration",
	ASCOverlappedCommands:           "Overlapped commands attempted",
	ASCMediumLoadOrEjectFailed:      "Media load or eject failed",
	ASCMediumRemovalPrevented:       "Medium removal prevented",
	ASCInsufficientResources:        "Insufficient resources",
	ASCInsufficientRegistration:     "Insufficient registration resources",
	ASCOperatorMediumRemoval:        "Operator medium removal request",
	ASCFailurePredictionExceeded:    "Failure prediction threshold exceeded",
	ASCLowPower:                     "Low power condition on",
	ASCStandbyByTimer:               "Standby condition activated by timer",
	ASCVoltageFault:                 "Voltage fault",
	ASCConfigurationFailed:          "Configuration failure",
	ASCLUNNotConfigured:             "Logical unit not configured",
}

// String describes the code. A qualifier without an entry of its own has its
// code's general description.
func (a ASC) String() string {
	if name := ascNames[a]; name != "" {
		return name
	}
	if name := ascNames[a&0xff00]; name != "" && a>>8 != 0 {
		return fmt.Sprintf("%s (qualifier 0x%02x)", name, uint8(a))
	}
	return fmt.Sprintf("Additional sense code 0x%02x/0x%02x", uint8(a>>8), uint8(a))
}
