package target

import (
	"errors"
	"slices"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
)

// Commands that set many blocks at once, or give up what they hold (SBC-4, 5).
var provisionOperations = []operation{
	{
		op: scsi.OpWriteSame10, action: noAction, flags: needsMedium | writes | exactData,
		usage: []byte{0x41, 0xf8, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, naca},
		check: checkWriteSame, run: runWriteSame,
	},
	{
		op: scsi.OpWriteSame16, action: noAction, flags: needsMedium | writes | exactData,
		usage: []byte{0x93, 0xf9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkWriteSame, run: runWriteSame,
	},
	{
		op: scsi.OpUnmap, action: noAction, flags: needsMedium | writes | needsThin,
		usage: []byte{0x42, 0x01, 0, 0, 0, 0, 0, 0xff, 0xff, naca},
		check: checkUnmap, run: runUnmap,
	},
	{
		op: scsi.OpServiceActionIn16, action: scsi.ActionGetLBAStatus, flags: needsMedium,
		usage: []byte{0x9e, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkNothing, run: runGetLBAStatus,
	},
}

// checkWriteSame refuses what the unit cannot do: anchored blocks, and in the
// 10-byte form a missing block.
func checkWriteSame(t *task) error {
	if err := checkToEnd(t); err != nil {
		return err
	}
	x, _ := scsi.ParseTransfer((*scsi.CDB)(&t.cdb))
	switch {
	case x.Anchor:
		return scsi.InvalidCDBField(1, 4)
	case x.Unmap && !t.unit().thin:
		return scsi.InvalidCDBField(1, 3)
	case t.cdb[1]&0x06 != 0: // PBDATA and LBDATA of older standards
		return scsi.InvalidCDBField(1, 2)
	case x.NoData && x.Op == scsi.OpWriteSame10:
		return scsi.InvalidCDBField(1, 0)
	}
	if !x.NoData {
		t.want = t.unit().blockSize()
	}
	return nil
}

// runWriteSame writes one block to all of a range (SBC-4, 5.44). Zeros need no
// space. With UNMAP set the range is unmapped whatever the block is: initiators
// send zeros then, and every target in use takes it so, as does libiscsi's suite.
func runWriteSame(t *task, wait bool) error {
	if !wait {
		return errWait
	}
	u := t.unit()
	x, _ := scsi.ParseTransfer((*scsi.CDB)(&t.cdb))
	var block []byte
	if t.params != nil {
		block = t.params.b[:t.want]
	}
	var err error
	switch {
	case x.Unmap:
		err = u.discard(t.off, t.length)
	case !allZero(block):
		err = t.repeat(block)
	default:
		err = u.zero(t.off, t.length)
	}
	if err == nil && u.throughNow() {
		err = u.flush(wait)
	}
	return err
}

func allZero(p []byte) bool { return !slices.ContainsFunc(p, func(c byte) bool { return c != 0 }) }

// repeat fills the task's range with one block.
func (t *task) repeat(block []byte) error {
	b := t.s.srv.buffers.get(maxSegment)
	defer t.s.srv.buffers.put(b)
	for n := 0; n < maxSegment; {
		n += copy(b.b[n:maxSegment], block)
	}
	return t.eachPiece(func(off int64, n int) error {
		return t.unit().write(b.b[:n], off, true)
	})
}

// discard gives up a range, which then reads as zeros.
func (u *unit) discard(off, n int64) error {
	u.changing.RLock()
	err := u.sanitizer.excludes()
	if err == nil {
		err = u.store.(store.Discarder).Discard(off, n)
	}
	u.changing.RUnlock()
	switch {
	case errors.Is(err, errors.ErrUnsupported): // here, though not everywhere
		return u.zero(off, n)
	case err != nil:
		return u.mediumError(err, off, scsi.ASCWriteError)
	}
	return nil
}

func (u *unit) zero(off, n int64) error {
	u.changing.RLock()
	defer u.changing.RUnlock()
	err := u.sanitizer.excludes()
	if err == nil {
		err = store.WriteZeroes(u.store, off, n)
	}
	if err != nil {
		return u.mediumError(err, off, scsi.ASCWriteError)
	}
	return nil
}

func checkUnmap(t *task) error {
	c := scsi.ParseUnmapCDB((*scsi.CDB)(&t.cdb))
	switch {
	case c.Anchor:
		return scsi.InvalidCDBField(1, 0)
	case c.Length > 0 && c.Length < 8:
		return errListLength
	}
	t.want = int64(c.Length)
	return nil
}

// runUnmap gives up ranges of blocks (SBC-4, 5.35), all of them or none.
func runUnmap(t *task, wait bool) error {
	if t.want == 0 {
		return nil
	}
	if !wait {
		return errWait
	}
	u := t.unit()
	ranges, err := scsi.ParseUnmap(t.params.b[:t.want])
	if err != nil {
		return errListLength
	}
	if len(ranges) > maxUnmapRanges {
		return scsi.InvalidParameterField(2, -1)
	}
	blocks := u.blocks.Load()
	for _, r := range ranges {
		if r.LBA > blocks || uint64(r.Blocks) > blocks-r.LBA {
			return errLBA
		}
	}
	for _, r := range ranges {
		if t.isAborted() {
			return nil
		}
		if err := u.discard(int64(r.LBA)<<u.shift, int64(r.Blocks)<<u.shift); err != nil {
			return err
		}
	}
	if u.throughNow() {
		return u.flush(wait)
	}
	return nil
}

// maxLBAStatus bounds the descriptors in one answer to GET LBA STATUS.
const maxLBAStatus = 1024

// runGetLBAStatus says which blocks from an LBA on take space (SBC-4, 5.6).
func runGetLBAStatus(t *task, wait bool) error {
	c := scsi.ParseGetLBAStatus((*scsi.CDB)(&t.cdb))
	u := t.unit()
	if c.LBA >= u.blocks.Load() {
		return errLBA
	}
	if !wait {
		return errWait
	}
	room := int(min((max(c.Length, 8)-8)/16, maxLBAStatus))
	list, err := t.mapped(c.LBA, max(room, 1))
	if err != nil {
		return err
	}
	t.reply(scsi.AppendLBAStatus(nil, list), int(min(c.Length, 1<<31-1)))
	return nil
}

// mapped lists the ranges of blocks from an LBA on by whether they take space:
// the first of them, if there are more than room.
func (t *task) mapped(lba uint64, room int) ([]scsi.LBAStatus, error) {
	var list []scsi.LBAStatus
	for u := t.unit(); lba < u.blocks.Load() && !t.isAborted(); {
		state, n, err := u.status(lba)
		if err != nil {
			return nil, err
		}
		for n > 0 {
			last := len(list) - 1
			if last < 0 || list[last].State != state || list[last].Blocks == 1<<32-1 {
				if len(list) == room {
					return list, nil
				}
				list = append(list, scsi.LBAStatus{LBA: lba, State: state})
				last++
			}
			more := uint32(min(n, 1<<32-1-uint64(list[last].Blocks)))
			list[last].Blocks += more
			lba, n = lba+uint64(more), n-uint64(more)
		}
	}
	return list, nil
}

// status returns the provisioning state of a block and how many from there on
// share it. A block of which a part takes space is mapped; and so are all where
// none can be given back.
func (u *unit) status(lba uint64) (state uint8, blocks uint64, err error) {
	left := u.blocks.Load() - lba
	if !u.thin {
		return scsi.BlocksMapped, left, nil
	}
	off := int64(lba) << u.shift
	allocated, n, err := store.Map(u.store, off, int64(left)<<u.shift)
	switch {
	case err != nil:
		return 0, 0, u.mediumError(err, off, scsi.ASCUnrecoveredReadError)
	case allocated:
		return scsi.BlocksMapped, uint64((n + u.blockSize() - 1) >> u.shift), nil
	case n < u.blockSize():
		return scsi.BlocksMapped, 1, nil
	}
	return scsi.BlocksDeallocated, uint64(n >> u.shift), nil
}
