package ibft

// ruleID indexes the rules.
type ruleID uint8

// The rules: the specification's, then the consumers'.
const (
	tableShort ruleID = iota
	headerSignature
	headerSignatureBroadcom
	headerLengthShort
	headerLengthBeyond
	headerRevision
	headerChecksum
	headerReserved
	trailingData
	tableUnreachable
	tableSize

	controlID
	controlVersion
	controlLength
	controlLengthOdd
	controlIndex
	controlFlags
	controlSingleLogin
	slotRange
	slotDuplicate

	structureID
	structureVersion
	structureLengthRange
	structureOverlap
	structureAlignment
	extensionsUnread
	initiatorLength
	nicLength
	targetLength
	indexDuplicate
	initiatorMissing
	initiatorDuplicate
	nicMissing
	targetMissing
	flagsReserved
	flagsNotValid
	bootSelectedNotValid
	bootSelectedNone
	bootSelectedSeveral
	targetNotSelected

	stringRange
	stringOverlap
	stringTooLong
	stringNULMissing
	stringNULInside
	stringOffsetUnused
	stringUnprintable

	addressMappedNone
	addressUnmapped
	addressNotUnicast

	initiatorNameMissing
	initiatorNameForm
	radiusServerMissing

	nicAddressMissing
	nicPrefixZero
	nicPrefixRange
	nicOriginUnknown
	nicOriginUnchanged
	nicGatewayOffLink
	nicVLANRange
	nicMACForm
	nicGlobalFlag
	nicHostnameForm

	targetAddressMissing
	targetPortZero
	targetLUNByteOrder
	targetCHAPType
	targetCHAPIncomplete
	targetReverseCHAPIncomplete
	targetCHAPUnused
	targetCHAPSameSecret
	targetCHAPSecretShort
	targetNICAssociation
	targetNICNotValid
	targetFamily
	targetNameMissing
	targetNameForm

	linuxRefuses
	linuxIndexClash
	linuxSkips
	linuxSlotRange
	linuxSlotTail
	linuxStringBeyond
	linuxSecretHidden
	linuxScanSignature
	linuxLUN
	linuxExpansion
	openISCSINoInitiator
	openISCSINoBootEntry
	openISCSIFlagsZero
	openISCSIAssociation
	openISCSITargetName
	dracutNICFlags
	dracutDHCPServer
	dracutStatic
	dracutNoAddress
	dracutVLAN
	freeBSDRefuses
	freeBSDSignature
	freeBSDSlots
	freeBSDExpansion
	windowsSecretLength
	windowsGateway
	esxiFailover
	esxiIPv6
	xenLength
	xenChecksum
	xenTrailing
	xenSize
	qemuSize
	qemuChecksum
	earlyCPIOSignature
	earlyCPIOLength
	earlyCPIOChecksum

	ruleCount
)

// Where rules come from.
const (
	secAddress   = "iBFT, 1.3.1"
	secStrings   = "iBFT, 1.3.5"
	secOrigins   = "iBFT, 1.3.6"
	secStructure = "iBFT, 1.4.2"
	secHeader    = "iBFT, 1.4.3"
	secControl   = "iBFT, 1.4.4"
	secTypes     = "iBFT, 1.4.4.1"
	secSlots     = "iBFT, 1.4.4.2"
	secAlign     = "iBFT, 1.4.4.4"
	secInitiator = "iBFT, 1.4.5"
	secNIC       = "iBFT, 1.4.6"
	secTarget    = "iBFT, 1.4.7"
	secNames     = "RFC 7143, 4.2.7"
	secCHAP      = "RFC 7143, 9.2.1"

	srcLinux     = "Linux, drivers/firmware/iscsi_ibft.c"
	srcOpenISCSI = "open-iscsi, utils/fwparam_ibft/fwparam_sysfs.c"
	srcDracut    = "dracut, net-lib.sh, ibft_to_cmdline"
	srcFreeBSD   = "isboot, ibft.c"
	srcWindows   = "Microsoft iSCSI initiator, CHAP secret"
	srcGateway   = "ipxe#132, ipxe#1599"
	srcVLAN      = "xcp-ng/xcp#563, dracut#304"
	srcESXi      = "VMware vSphere Storage, iBFT iSCSI Boot Considerations"
	srcXen       = "Xen 4.17, hvmloader and libxl"
	srcQEMU      = "QEMU, hw/acpi/core.c"
	srcCPIO      = "Linux, drivers/acpi/tables.c, acpi_table_upgrade"
)

func allRules() [ruleCount]Rule {
	var rules [ruleCount]Rule
	tableRules(&rules)
	structureRules(&rules)
	fieldRules(&rules)
	linuxRules(&rules)
	consumerRules(&rules)
	return rules
}
