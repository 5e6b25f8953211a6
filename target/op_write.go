package target

import (
	"bytes"

	"github.com/bootlun/bootlun/scsi"
)

// Commands that write the medium (SBC-4, 5).
var writeOperations = []operation{
	{
		op: scsi.OpWrite6, action: noAction, flags: needsMedium | writes,
		usage: []byte{0x0a, 0x1f, 0xff, 0xff, 0xff, naca},
		check: checkWrite, take: takeWrite, run: runTaken,
	},
	{
		op: scsi.OpWrite10, action: noAction, flags: needsMedium | writes,
		usage: []byte{0x2a, 0xf8, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, naca},
		check: checkWrite, take: takeWrite, run: runTaken,
	},
	{
		op: scsi.OpWrite12, action: noAction, flags: needsMedium | writes,
		usage: []byte{0xaa, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkWrite, take: takeWrite, run: runTaken,
	},
	{
		op: scsi.OpWrite16, action: noAction, flags: needsMedium | writes,
		usage: []byte{0x8a, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkWrite, take: takeWrite, run: runTaken,
	},
	{
		op: scsi.OpWriteAndVerify10, action: noAction, flags: needsMedium | writes,
		usage: []byte{0x2e, 0xf6, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, naca},
		check: checkWriteVerify, take: takeWriteVerify, run: runWriteVerify,
	},
	{
		op: scsi.OpWriteAndVerify12, action: noAction, flags: needsMedium | writes,
		usage: []byte{0xae, 0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkWriteVerify, take: takeWriteVerify, run: runWriteVerify,
	},
	{
		op: scsi.OpWriteAndVerify16, action: noAction, flags: needsMedium | writes,
		usage: []byte{0x8e, 0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkWriteVerify, take: takeWriteVerify, run: runWriteVerify,
	},
	{
		op: scsi.OpCompareAndWrite, action: noAction, flags: needsMedium | writes | exactData,
		usage: []byte{0x89, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0, naca},
		check: checkCompareAndWrite, run: runCompareAndWrite,
	},
	{
		op: scsi.OpOrWrite16, action: noAction, flags: needsMedium | writes,
		usage: []byte{0x8b, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkWrite, take: takeOrWrite, run: runWrite,
	},
	{
		op: scsi.OpWriteAtomic16, action: noAction, flags: needsMedium | writes | exactData,
		usage: []byte{0x9c, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkWriteAtomic, run: runWriteAtomic,
	},
	{
		op: scsi.OpSynchronizeCache10, action: noAction, flags: needsMedium,
		usage: []byte{0x35, 0x02, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, naca},
		check: checkToEnd, run: runSynchronize,
	},
	{
		op: scsi.OpSynchronizeCache16, action: noAction, flags: needsMedium,
		usage: []byte{0x91, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkToEnd, run: runSynchronize,
	},
}

func checkWrite(t *task) error {
	_, err := checkMove(t)
	if err != nil {
		return err
	}
	t.want = t.length
	return nil
}

// takeWrite writes data as it comes.
func takeWrite(t *task, p []byte, off int64, wait bool) error {
	if t.writesDurably() {
		return t.unit().writeDurable(p, t.off+off, wait)
	}
	return t.unit().write(p, t.off+off, wait)
}

// writesDurably tells whether takeWrite takes the data to the medium, so that
// nothing is left to be flushed.
// The cache that an initiator has turned off does not count: it may have been on
// when the data came.
func (t *task) writesDurably() bool {
	return (t.fua || t.unit().writeThrough) && t.unit().durable != nil
}

// mustFlush tells whether the command ends only when its data is on the medium.
func (t *task) mustFlush() bool { return t.fua || t.unit().throughNow() }

// runTaken is runWrite for what takeWrite has written.
func runTaken(t *task, wait bool) error {
	if t.writesDurably() {
		return nil
	}
	return runWrite(t, wait)
}

// runWrite sees to it that the data is on the medium, if it must be at once.
func runWrite(t *task, wait bool) error {
	if t.mustFlush() {
		return t.unit().flush(wait)
	}
	return nil
}

func checkWriteVerify(t *task) error {
	if err := checkWrite(t); err != nil {
		return err
	}
	x, _ := scsi.ParseTransfer((*scsi.CDB)(&t.cdb))
	if x.ByteCheck > verifyEach {
		return scsi.InvalidCDBField(1, 2)
	}
	t.byteCheck = x.ByteCheck
	return nil
}

// takeWriteVerify writes data and compares what the medium then has with it.
func takeWriteVerify(t *task, p []byte, off int64, wait bool) error {
	if err := t.unit().write(p, t.off+off, wait); err != nil || t.byteCheck != verifyEach {
		return err
	}
	return t.unit().compare(t.s, p, t.off+off, wait)
}

// runWriteVerify takes the data to the medium, and if it has not been compared
// reads it back.
func runWriteVerify(t *task, wait bool) error {
	if err := t.unit().flush(wait); err != nil || t.byteCheck == verifyEach {
		return err
	}
	return readThrough(t)
}

// checkCompareAndWrite wants the blocks to compare and then those to write.
func checkCompareAndWrite(t *task) error {
	if _, err := checkRange(t); err != nil {
		return err
	}
	t.want = 2 * t.length
	switch {
	case t.want > maxBuffer, // of blocks of 4096 bytes not all that the CDB can say
		t.want == 0 && t.expOut > 0: // 256 blocks do not fit the CDB
		return scsi.InvalidCDBField(13, 7)
	}
	return nil
}

// runCompareAndWrite writes blocks if the medium is as expected, with no write
// in between (SBC-4, 5.3).
func runCompareAndWrite(t *task, wait bool) error {
	if !wait {
		return errWait
	}
	if t.length == 0 {
		return nil
	}
	u := t.unit()
	if err := u.compareAndWrite(t.s, t.params.b[:t.length], t.params.b[t.length:t.want], t.off); err != nil {
		return err
	}
	return runWrite(t, wait)
}

func (u *unit) compareAndWrite(s *session, is, be []byte, off int64) error {
	u.changing.Lock()
	defer u.changing.Unlock()
	if err := u.compare(s, is, off, true); err != nil {
		return err
	}
	if err := u.change(be, off); err != nil {
		return u.mediumError(err, off, scsi.ASCWriteError)
	}
	return nil
}

// takeOrWrite sets the bits on the medium that are set in the data (SBC-4, 5.12),
// with no write in between.
func takeOrWrite(t *task, p []byte, off int64, wait bool) error {
	if !wait {
		return errWait
	}
	u := t.unit()
	b := t.s.srv.buffers.get(len(p))
	defer t.s.srv.buffers.put(b)
	u.changing.Lock()
	defer u.changing.Unlock()
	if err := u.read(b.b[:len(p)], t.off+off, true); err != nil {
		return err
	}
	for i, bits := range p {
		b.b[i] |= bits
	}
	if err := u.change(b.b[:len(p)], t.off+off); err != nil {
		return u.mediumError(err, t.off+off, scsi.ASCWriteError)
	}
	return nil
}

// checkWriteAtomic refuses what is more than the Block Limits page says.
func checkWriteAtomic(t *task) error {
	x, err := checkRange(t)
	switch {
	case err != nil:
		return err
	case x.Boundary != 0:
		return scsi.InvalidCDBField(10, 7)
	case t.length > maxBuffer:
		return scsi.InvalidCDBField(12, 7)
	}
	t.want = t.length
	return nil
}

// runWriteAtomic writes blocks as one (SBC-4, 5.48): the data is there before
// any of it is written, and no other write comes in between. How a failing
// store leaves them is up to the store.
func runWriteAtomic(t *task, wait bool) error {
	if !wait {
		return errWait
	}
	if t.length == 0 {
		return nil
	}
	u := t.unit()
	u.changing.Lock()
	err := u.change(t.params.b[:t.length], t.off)
	u.changing.Unlock()
	if err != nil {
		return u.mediumError(err, t.off, scsi.ASCWriteError)
	}
	return runWrite(t, wait)
}

// runSynchronize takes to the medium what was written before (SBC-4, 5.32): the
// whole unit's, whatever range is asked for. With IMMED set it could answer
// earlier, and does not.
func runSynchronize(t *task, wait bool) error {
	if t.unit().readOnly {
		return nil
	}
	return t.unit().flush(wait)
}

// compare fails with MISCOMPARE if the medium at off is not p.
func (u *unit) compare(s *session, p []byte, off int64, wait bool) error {
	b := s.srv.buffers.get(min(len(p), maxBuffer))
	defer s.srv.buffers.put(b)
	for done := 0; done < len(p); {
		n := min(len(p)-done, len(b.b))
		if err := u.read(b.b[:n], off+int64(done), wait); err != nil {
			return err
		}
		if at := firstDifference(b.b[:n], p[done:done+n]); at >= 0 {
			return miscompareAt(done + at)
		}
		done += n
	}
	return nil
}

// firstDifference returns where two slices of one length first differ, -1 if
// nowhere.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	at := 0
	for a[at] == b[at] {
		at++
	}
	return at
}

// miscompareAt is MISCOMPARE with the offset of the first byte that differs
// (SBC-4, 5.3).
func miscompareAt(offset int) error {
	e := scsi.CheckCondition(scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerify)
	e.Sense.HasInformation, e.Sense.Information = true, uint64(offset)
	return e
}

// verifyAgainst compares each block of the task's range with block.
func verifyAgainst(t *task, block []byte) error {
	return t.eachPiece(func(off int64, n int) error {
		b := t.s.srv.buffers.get(n)
		defer t.s.srv.buffers.put(b)
		if err := t.unit().read(b.b[:n], off, true); err != nil {
			return err
		}
		for at := 0; at < n; at += len(block) {
			if !bytes.Equal(b.b[at:at+len(block)], block) {
				return errMiscompare
			}
		}
		return nil
	})
}

// readThrough reads the task's range, to find out whether it can be.
func readThrough(t *task) error {
	return t.eachPiece(func(off int64, n int) error {
		b := t.s.srv.buffers.get(n)
		defer t.s.srv.buffers.put(b)
		return t.unit().read(b.b[:n], off, true)
	})
}

// eachPiece calls f for the task's range, piece by piece, unless the task is
// aborted. It is for workers.
func (t *task) eachPiece(f func(off int64, n int) error) error {
	for done := int64(0); done < t.length && !t.isAborted(); done += maxSegment {
		n := min(maxSegment, t.length-done)
		if err := f(t.off+done, int(n)); err != nil {
			return err
		}
	}
	return nil
}
