package scsi

import (
	"encoding/binary"
	"fmt"
)

// CDB is a command descriptor block of up to 16 bytes; the bytes after a shorter
// command's end are zero. It is assignable to and from a [16]byte.
type CDB [16]byte

// Op returns the operation code.
func (c *CDB) Op() OpCode { return OpCode(c[0]) }

// ServiceAction returns the low five bits of byte 1, which in the commands that
// have one is the service action.
func (c *CDB) ServiceAction() uint8 { return c[1] & 0x1f }

// HasServiceAction reports whether the operation code is one that several commands
// share, told apart by a service action in byte 1.
func (c *CDB) HasServiceAction() bool {
	switch c.Op() {
	case OpPersistentReserveIn, OpPersistentReserveOut, OpExtendedCopy, OpReceiveCopyResults, OpSanitize,
		OpServiceActionIn16, OpServiceActionOut16, OpMaintenanceIn, OpMaintenanceOut:
		return true
	}
	return false
}

// Control returns the CDB's last byte (SAM-5, 5.2), 0 where the length of the
// command is not known.
func (c *CDB) Control() byte {
	if n := c.Op().CDBLength(); n > 0 {
		return c[n-1]
	}
	return 0
}

// Name returns the command's name, with the service action taken into account.
func (c *CDB) Name() string {
	if !c.HasServiceAction() {
		return c.Op().String()
	}
	action := c.ServiceAction()
	switch c.Op() {
	case OpServiceActionIn16:
		switch action {
		case ActionReadCapacity16:
			return "READ CAPACITY(16)"
		case ActionGetLBAStatus:
			return "GET LBA STATUS"
		}
	case OpSanitize:
		return "SANITIZE"
	case OpMaintenanceOut:
		if action == ActionSetTargetPortGroups {
			return "SET TARGET PORT GROUPS"
		}
	case OpMaintenanceIn:
		switch action {
		case ActionReportTargetPortGroups:
			return "REPORT TARGET PORT GROUPS"
		case ActionReportSupportedOpcodes:
			return "REPORT SUPPORTED OPERATION CODES"
		case ActionReportSupportedTMFs:
			return "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS"
		}
	}
	return fmt.Sprintf("%v service action 0x%02x", c.Op(), action)
}

// String names the command with what it addresses, for logs.
func (c *CDB) String() string {
	if t, ok := ParseTransfer(c); ok {
		return fmt.Sprintf("%s lba=%d blocks=%d", c.Name(), t.LBA, t.Blocks)
	}
	return c.Name()
}

func (c *CDB) u16(off int) uint16      { return binary.BigEndian.Uint16(c[off:]) }
func (c *CDB) u32(off int) uint32      { return binary.BigEndian.Uint32(c[off:]) }
func (c *CDB) u64(off int) uint64      { return binary.BigEndian.Uint64(c[off:]) }
func (c *CDB) put16(off int, v uint16) { binary.BigEndian.PutUint16(c[off:], v) }
func (c *CDB) put32(off int, v uint32) { binary.BigEndian.PutUint32(c[off:], v) }
func (c *CDB) put64(off int, v uint64) { binary.BigEndian.PutUint64(c[off:], v) }

// bit returns m if on, for building a byte from flags.
func bit(on bool, m byte) byte {
	if on {
		return m
	}
	return 0
}
