package scsi

import "fmt"

// Transfer is a command that addresses a range of blocks: every form of READ,
// WRITE, VERIFY, WRITE AND VERIFY, WRITE SAME, PRE-FETCH, SYNCHRONIZE CACHE,
// COMPARE AND WRITE, ORWRITE and WRITE ATOMIC (SBC-4, 5). Fields that a command
// does not have are zero.
type Transfer struct {
	Op  OpCode
	LBA uint64
	// Blocks is the number of blocks. Zero means none for most commands; for
	// WRITE SAME, PRE-FETCH and SYNCHRONIZE CACHE it means all to the end.
	Blocks    uint32
	Protect   uint8 // RDPROTECT, WRPROTECT, VRPROTECT or ORPROTECT
	DPO       bool
	FUA       bool
	ByteCheck uint8 // BYTCHK of VERIFY and WRITE AND VERIFY
	Anchor    bool  // WRITE SAME
	Unmap     bool  // WRITE SAME
	NoData    bool  // NDOB of WRITE SAME(16): no data-out buffer, write zeros
	Immediate bool  // IMMED of SYNCHRONIZE CACHE and PRE-FETCH
	Group     uint8
	Boundary  uint16 // ATOMIC BOUNDARY of WRITE ATOMIC(16)
}

// layout says where a block command has its fields.
type layout struct {
	kind   byte // what byte 1 means
	length int  // of the CDB
}

const (
	plain6      = iota + 1 // READ(6), WRITE(6): byte 1 is part of the LBA
	readWrite              // PROTECT, DPO, FUA
	verify                 // PROTECT, DPO, BYTCHK
	writeSame              // WRPROTECT, ANCHOR, UNMAP, NDOB
	cache                  // IMMED
	compare                // like readWrite, with a one-byte length
	writeAtomic            // like readWrite, with a two-byte length
)

func transferLayout(o OpCode) (layout, bool) {
	l := layout{length: o.CDBLength()}
	switch o {
	case OpRead6, OpWrite6:
		l.kind = plain6
	case OpRead10, OpRead12, OpRead16, OpWrite10, OpWrite12, OpWrite16, OpOrWrite16:
		l.kind = readWrite
	case OpVerify10, OpVerify12, OpVerify16, OpWriteAndVerify10, OpWriteAndVerify12, OpWriteAndVerify16:
		l.kind = verify
	case OpWriteSame10, OpWriteSame16:
		l.kind = writeSame
	case OpSynchronizeCache10, OpSynchronizeCache16, OpPreFetch10, OpPreFetch16:
		l.kind = cache
	case OpCompareAndWrite:
		l.kind = compare
	case OpWriteAtomic16:
		l.kind = writeAtomic
	}
	return l, l.kind != 0
}

// ParseTransfer takes a block command apart; ok is false for every other command.
func ParseTransfer(c *CDB) (t Transfer, ok bool) {
	l, ok := transferLayout(c.Op())
	if !ok {
		return Transfer{}, false
	}
	t.Op = c.Op()
	switch {
	case l.kind == plain6: // SBC-4, 5.15: zero blocks means 256
		t.LBA, t.Blocks = uint64(c.u32(0)&0x1fffff), uint32(c[4])
		if t.Blocks == 0 {
			t.Blocks = 256
		}
		return t, true
	case l.length == 10:
		t.LBA, t.Blocks, t.Group = uint64(c.u32(2)), uint32(c.u16(7)), c[6]&0x1f
	case l.length == 12:
		t.LBA, t.Blocks, t.Group = uint64(c.u32(2)), c.u32(6), c[10]&0x1f
	default:
		t.LBA, t.Blocks, t.Group = c.u64(2), c.u32(10), c[14]&0x1f
	}
	switch l.kind {
	case compare:
		t.Blocks = uint32(c[13])
	case writeAtomic:
		t.Boundary, t.Blocks = c.u16(10), uint32(c.u16(12))
	}
	t.parseFlags(l.kind, c[1])
	return t, true
}

func (t *Transfer) parseFlags(kind, b byte) {
	if kind == cache {
		t.Immediate = b&0x02 != 0
		return
	}
	t.Protect = b >> 5
	switch kind {
	case verify:
		t.DPO, t.ByteCheck = b&0x10 != 0, b>>1&3
	case writeSame:
		t.Anchor, t.Unmap, t.NoData = b&0x10 != 0, b&0x08 != 0, b&0x01 != 0
	default:
		t.DPO, t.FUA = b&0x10 != 0, b&0x08 != 0
	}
}

// CDB builds the command. It fails if the LBA or the number of blocks does not fit
// the command's form.
func (t Transfer) CDB() (CDB, error) {
	l, ok := transferLayout(t.Op)
	if !ok {
		return CDB{}, fmt.Errorf("scsi: %v does not address blocks", t.Op)
	}
	maxLBA, maxBlocks := l.limits()
	if t.LBA > maxLBA || t.Blocks > maxBlocks || l.kind == plain6 && t.Blocks == 0 {
		return CDB{}, fmt.Errorf("scsi: LBA %d, %d blocks do not fit %v", t.LBA, t.Blocks, t.Op)
	}
	c := CDB{byte(t.Op)}
	switch {
	case l.kind == plain6:
		c.put32(0, uint32(t.Op)<<24|uint32(t.LBA))
		c[4] = byte(t.Blocks) // 256 becomes 0
		return c, nil
	case l.length == 10:
		c.put32(2, uint32(t.LBA))
		c.put16(7, uint16(t.Blocks))
		c[6] = t.Group & 0x1f
	case l.length == 12:
		c.put32(2, uint32(t.LBA))
		c.put32(6, t.Blocks)
		c[10] = t.Group & 0x1f
	default:
		c.put64(2, t.LBA)
		c.put32(10, t.Blocks) // the one- and two-byte lengths end there too
		c[14] = t.Group & 0x1f
		if l.kind == writeAtomic {
			c.put16(10, t.Boundary)
		}
	}
	c[1] = t.flags(l.kind)
	return c, nil
}

func (t *Transfer) flags(kind byte) byte {
	b := t.Protect << 5
	switch kind {
	case cache:
		return bit(t.Immediate, 0x02)
	case verify:
		return b | bit(t.DPO, 0x10) | t.ByteCheck&3<<1
	case writeSame:
		return b | bit(t.Anchor, 0x10) | bit(t.Unmap, 0x08) | bit(t.NoData, 0x01)
	}
	return b | bit(t.DPO, 0x10) | bit(t.FUA, 0x08)
}

// limits returns the largest LBA and number of blocks that fit the form.
func (l layout) limits() (lba uint64, blocks uint32) {
	switch {
	case l.kind == plain6:
		return 1<<21 - 1, 256
	case l.kind == compare:
		return 1<<64 - 1, 255
	case l.kind == writeAtomic:
		return 1<<64 - 1, 1<<16 - 1
	case l.length == 10:
		return 1<<32 - 1, 1<<16 - 1
	case l.length == 12:
		return 1<<32 - 1, 1<<32 - 1
	}
	return 1<<64 - 1, 1<<32 - 1
}

// Check returns an *Error for LOGICAL BLOCK ADDRESS OUT OF RANGE if the range does
// not lie within a disk of so many blocks.
func (t Transfer) Check(capacity uint64) error {
	if t.LBA > capacity || uint64(t.Blocks) > capacity-t.LBA {
		return CheckCondition(KeyIllegalRequest, ASCLBAOutOfRange)
	}
	return nil
}

// ReadCDB returns READ(10) where the range fits it, else READ(16).
func ReadCDB(lba uint64, blocks uint32) CDB { return shortest(OpRead10, OpRead16, lba, blocks) }

// WriteCDB returns WRITE(10) where the range fits it, else WRITE(16).
func WriteCDB(lba uint64, blocks uint32) CDB { return shortest(OpWrite10, OpWrite16, lba, blocks) }

// SynchronizeCacheCDB returns the shortest SYNCHRONIZE CACHE for the range; zero
// blocks means to the end of the disk.
func SynchronizeCacheCDB(lba uint64, blocks uint32) CDB {
	return shortest(OpSynchronizeCache10, OpSynchronizeCache16, lba, blocks)
}

func shortest(short, long OpCode, lba uint64, blocks uint32) CDB {
	t := Transfer{Op: short, LBA: lba, Blocks: blocks}
	c, err := t.CDB()
	if err != nil {
		t.Op = long
		c, _ = t.CDB() // every range fits the 16-byte form
	}
	return c
}
