// Package iscsi is the wire that an initiator and a target both speak: iSCSI as
// RFC 7143 defines it. It knows no sessions and no disks; those are the packages
// initiator and target.
//
// # PDUs
//
// Every PDU starts with a 48-byte basic header segment, a [BHS]. There is one
// struct for each PDU type, such as [SCSICommand] and [LoginResponse], that
// decodes itself from a BHS and encodes itself to one, without allocation.
//
// A [Conn] frames PDUs on a byte stream. Reading is split, so that the data of a
// PDU can go where its header says it belongs:
//
//	var b iscsi.BHS
//	if err := c.ReadHeader(&b); err != nil {
//		return err
//	}
//	switch b.Opcode() {
//	case iscsi.OpDataIn:
//		var in iscsi.DataIn
//		if err := in.Decode(&b); err != nil {
//			return err
//		}
//		return c.ReadData(buffer[in.BufferOffset:][:c.DataLeft()])
//	...
//
// Writing is queued until Flush, so that several PDUs share a system call.
//
// # Login
//
// [InitiatorLogin] and [TargetLogin] are the two halves of the login phase: text
// keys, stages, CHAP, negotiation. They do no I/O, because their requests travel
// by sockets, by the Linux kernel's netlink, or in a test from one to the other.
// [Login] and [ServeLogin] run them over a Conn. What comes out is [Params], the
// values in force; what goes in is an [Offer], the values wanted.
//
// # Where to start reading
//
// bhs.go and pdu_*.go for the formats, conn.go for framing, text.go and
// negotiate.go for keys, login_initiator.go and login_target.go for the login.
package iscsi
