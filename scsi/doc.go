// Package scsi holds the SCSI commands, data and errors that a disk's initiator
// and target both need, in the terms of SPC-4 and SBC-4. It does no I/O.
//
// A [CDB] says what to do. Every command has a struct with its fields: build a
// CDB with the struct's CDB method, take one apart with the Parse function of the
// same name (for UNMAP it is ParseUnmapCDB; ParseUnmap reads its ranges). All the
// commands that address blocks share one, [Transfer], so that where their LBA and
// length are is written down once:
//
//	t := scsi.Transfer{Op: scsi.OpRead16, LBA: 2048, Blocks: 8}
//	cdb, err := t.CDB()
//
//	t, ok := scsi.ParseTransfer(&cdb)
//	err := t.Check(capacity)
//
// What a device answers has a type with an Append method and a Parse function:
// [InquiryData], the VPD pages, [Capacity], [ModeData] and so on. Parse functions
// take what a device sent, cut at any length, and fail rather than panic.
//
// What goes wrong is an [*Error]: a status and, with [StatusCheckCondition], the
// [Sense] that explains it.
package scsi
