package target

import (
	"github.com/bootlun/bootlun/scsi"
)

// Commands that read the medium (SBC-4, 5).
var readOperations = []operation{
	{
		op: scsi.OpReadCapacity10, action: noAction, flags: needsMedium,
		usage: []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, naca},
		check: checkNothing, run: runReadCapacity10,
	},
	{
		op: scsi.OpServiceActionIn16, action: scsi.ActionReadCapacity16, flags: needsMedium,
		usage: []byte{0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkNothing, run: runReadCapacity16,
	},
	{
		op: scsi.OpRead6, action: noAction, flags: needsMedium,
		usage: []byte{0x08, 0x1f, 0xff, 0xff, 0xff, naca},
		check: checkRead, run: runRead,
	},
	{
		op: scsi.OpRead10, action: noAction, flags: needsMedium,
		usage: []byte{0x28, 0xf8, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, naca},
		check: checkRead, run: runRead,
	},
	{
		op: scsi.OpRead12, action: noAction, flags: needsMedium,
		usage: []byte{0xa8, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkRead, run: runRead,
	},
	{
		op: scsi.OpRead16, action: noAction, flags: needsMedium,
		usage: []byte{0x88, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkRead, run: runRead,
	},
	{
		op: scsi.OpPreFetch10, action: noAction, flags: needsMedium,
		usage: []byte{0x34, 0x02, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, naca},
		check: checkToEnd, run: runNothing,
	},
	{
		op: scsi.OpPreFetch16, action: noAction, flags: needsMedium,
		usage: []byte{0x90, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkToEnd, run: runNothing,
	},
	{
		op: scsi.OpReadDefectData10, action: noAction, flags: needsMedium,
		usage: []byte{0x37, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, naca},
		check: checkNothing, run: runReadDefectData,
	},
	{
		op: scsi.OpReadDefectData12, action: noAction, flags: needsMedium,
		usage: []byte{0xb7, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkNothing, run: runReadDefectData,
	},
	{
		op: scsi.OpVerify10, action: noAction, flags: needsMedium,
		usage: []byte{0x2f, 0xf6, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, naca},
		check: checkVerify, take: takeVerify, run: runVerify,
	},
	{
		op: scsi.OpVerify12, action: noAction, flags: needsMedium,
		usage: []byte{0xaf, 0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkVerify, take: takeVerify, run: runVerify,
	},
	{
		op: scsi.OpVerify16, action: noAction, flags: needsMedium,
		usage: []byte{0x8f, 0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkVerify, take: takeVerify, run: runVerify,
	},
}

func runReadCapacity10(t *task, _ bool) error {
	c := t.unit().capacity()
	t.reply(c.Append10(nil), scsi.Capacity10Length)
	return nil
}

func runReadCapacity16(t *task, _ bool) error {
	c := t.unit().capacity()
	t.reply(c.Append16(nil), int(min(scsi.ParseReadCapacity16((*scsi.CDB)(&t.cdb)).Length, scsi.Capacity16Length)))
	return nil
}

// checkRange takes the CDB of a command apart that addresses blocks, and checks
// that they are there.
func checkRange(t *task) (scsi.Transfer, error) {
	x, _ := scsi.ParseTransfer((*scsi.CDB)(&t.cdb))
	if x.Protect != 0 { // there is no protection information
		return x, scsi.InvalidCDBField(1, 7)
	}
	u := t.unit()
	blocks := u.blocks.Load()
	if x.LBA >= blocks && x.Blocks > 0 || x.LBA > blocks {
		return x, errLBA
	}
	if uint64(x.Blocks) > blocks-x.LBA {
		return x, errLBA
	}
	t.off, t.length = int64(x.LBA)<<u.shift, int64(x.Blocks)<<u.shift
	t.fua = x.FUA
	return x, nil
}

// checkToEnd is checkRange for commands in which no blocks mean all that follow.
func checkToEnd(t *task) error {
	x, err := checkRange(t)
	if err == nil && x.Blocks == 0 {
		t.length = max(0, int64(t.unit().blocks.Load())<<t.unit().shift-t.off) // the unit may just have shrunk
	}
	return err
}

// checkMove is checkRange for commands that move the blocks.
func checkMove(t *task) (scsi.Transfer, error) {
	x, err := checkRange(t)
	if err == nil && t.length > maxTransfer {
		length := map[int]int{6: 4, 10: 7, 12: 6, 16: 10}
		err = scsi.InvalidCDBField(length[t.op.op.CDBLength()], 7)
	}
	return x, err
}

func checkRead(t *task) error {
	_, err := checkMove(t)
	t.in = t.length
	return err
}

// promptRead is how much is read on the connection's own goroutine: beyond, the
// session's other commands would wait too long.
const promptRead = 1 << 20

// runRead sends the blocks, each segment as soon as it has been read. FUA needs
// no care: what a store reads is what a reader after a power failure may find,
// once flushed.
func runRead(t *task, wait bool) error {
	if t.fua && !t.unit().readOnly {
		if err := t.unit().flush(wait); err != nil {
			return err
		}
		t.fua = false
	}
	if !wait && (t.expected() > promptRead || t.s.srv.buffers.short()) {
		return errWait
	}
	for int64(t.sent) < t.expected() && t.tail == nil {
		if err := t.readSegment(wait); err != nil {
			return err
		}
		if wait && t.isAborted() {
			return nil
		}
	}
	return nil
}

// runReadDefectData says that there are no defects (SBC-4, 5.18 and 5.19).
func runReadDefectData(t *task, _ bool) error {
	c := scsi.ParseReadDefectData((*scsi.CDB)(&t.cdb))
	t.reply(c.AppendNone(nil), int(min(c.Length, 1<<31-1)))
	return nil
}

// readSegment reads and sends the next segment. When memory is short, one worker
// of a session does so at a time.
func (t *task) readSegment(wait bool) error {
	pool := &t.s.srv.buffers
	if wait && pool.short() {
		t.s.turn.Lock()
		defer t.s.turn.Unlock()
	}
	n := t.nextSegment()
	b := pool.get(n)
	if err := t.unit().read(b.b[:n], t.off+int64(t.sent), wait); err != nil {
		pool.put(b)
		return err
	}
	t.give(b, n)
	return nil
}

// Values of BYTCHK (SBC-4, 5.36).
const (
	verifyMedium   = 0 // no data: the medium can be read
	verifyEach     = 1 // the medium has the data
	verifyReserved = 2
	verifySame     = 3 // each block has the data, which is one block
)

func checkVerify(t *task) error {
	x, err := checkRange(t)
	if err != nil {
		return err
	}
	t.byteCheck = x.ByteCheck
	switch x.ByteCheck {
	case verifyEach:
		t.want = t.length
	case verifySame:
		if x.Blocks > 0 {
			t.want = t.unit().blockSize()
		}
	case verifyReserved:
		return scsi.InvalidCDBField(1, 2)
	}
	return nil
}

// takeVerify compares data with the medium.
func takeVerify(t *task, p []byte, off int64, wait bool) error {
	if t.byteCheck == verifySame {
		if !wait {
			return errWait
		}
		return verifyAgainst(t, p)
	}
	return t.unit().compare(t.s, p, t.off+off, wait)
}

// runVerify reads the medium, if there was no data to compare it with.
func runVerify(t *task, wait bool) error {
	if t.byteCheck != verifyMedium {
		return nil
	}
	if !wait {
		return errWait
	}
	return readThrough(t)
}
