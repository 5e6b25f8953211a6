package iscsi

// Sequence numbers (CmdSN, StatSN, DataSN, R2TSN) wrap at 32 bits and compare
// by the serial number arithmetic of RFC 1982 (RFC 7143, 4.2.2.1). For two
// numbers exactly 2^31 apart RFC 1982 leaves the order open; here neither is
// less than the other.

// SNLess reports whether serial number a comes before b.
func SNLess(a, b uint32) bool { return int32(a-b) < 0 && a-b != 1<<31 }

// SNInWindow reports whether sn lies in first..last, both included. A window
// whose last is first-1 is closed: nothing lies in it.
func SNInWindow(sn, first, last uint32) bool {
	return !SNLess(last, first) && sn-first <= last-first
}
