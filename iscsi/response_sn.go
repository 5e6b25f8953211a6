package iscsi

// SetResponseSN sets the sequence numbers of an encoded PDU from a target. They
// stand in one place in every such PDU, and a target knows them only when it
// puts the PDU in line.
func (b *BHS) SetResponseSN(statSN, expCmdSN, maxCmdSN uint32) {
	b.putResponseSN(statSN, expCmdSN, maxCmdSN)
}
