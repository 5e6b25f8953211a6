package target

import (
	"bytes"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// maxSegment bounds a Data-In's data, whatever the initiator would take: more at
// a time is no faster and holds more memory.
const maxSegment = 256 << 10

// expected is how much of what the task has for the initiator the initiator
// wants.
func (t *task) expected() int64 { return min(t.in, int64(t.expIn)) }

// nextSegment is how long the task's next Data-In may be.
func (t *task) nextSegment() int { return t.segmentAt(t.sent) }

// segmentAt is how long the Data-In at off may be: what the initiator takes in
// one PDU, and what is left of the burst (RFC 7143, 13.13).
func (t *task) segmentAt(off uint32) int {
	burst := t.s.params.MaxBurstLength
	left := burst - int(off)%burst
	return int(min(t.expected()-int64(off), int64(t.segment), int64(left)))
}

// give sends n bytes of Data-In. Those that are the last are kept for the status
// to go with them, unless the two must be able to be sent again each. The buffer
// is given away.
func (t *task) give(b *buffer, n int) {
	if t.c.erl == 0 && int64(t.sent)+int64(n) == t.expected() {
		t.tail, t.tailLen = b, n
		return
	}
	w := &t.c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	exp, max := t.s.window()
	p := t.dataIn(n)
	p.Encode(&w.bhs)
	w.queue(exp, max, false, b.b[:n])
	w.lend(b, n)
}

// dataIn makes the header of the task's next Data-In, of n bytes.
func (t *task) dataIn(n int) iscsi.DataIn {
	p := t.dataInAt(progress{t.dataSN, t.sent}, n)
	t.dataSN++
	t.sent += uint32(n)
	return p
}

// dataInAt makes the header of a Data-In of n bytes. Where a burst is over and
// the data is not, the initiator is asked to say that it has it.
func (t *task) dataInAt(at progress, n int) iscsi.DataIn {
	p := iscsi.DataIn{ITT: t.itt, TTT: iscsi.ReservedTag, DataSN: at.sn, BufferOffset: at.off}
	end := int64(at.off) + int64(n)
	p.Final = end == t.expected() || end%int64(t.s.params.MaxBurstLength) == 0
	if t.c.erl > 0 && p.Final && end < t.expected() {
		p.Acknowledge, p.LUN, p.TTT = true, t.lun, t.acknowledgeTag()
	}
	return p
}

// acknowledgeTag returns the tag by which the initiator acknowledges Data-In.
func (t *task) acknowledgeTag() uint32 {
	for t.ackTag == 0 {
		t.s.mu.Lock()
		t.ackTag = t.s.newTTT()
		t.s.mu.Unlock()
	}
	return t.ackTag
}

// reply gives the initiator data that an operation has made: at most allocated
// bytes of it, as the CDB says.
func (t *task) reply(data []byte, allocated int) {
	data = data[:min(len(data), allocated)]
	t.in = int64(len(data))
	if t.c.erl > 0 {
		t.given = bytes.Clone(data)
	}
	for rest := data; int64(t.sent) < t.expected() && t.tail == nil; {
		n := t.nextSegment()
		b := t.s.srv.buffers.get(n)
		copy(b.b, rest[:n])
		rest = rest[n:]
		t.give(b, n)
	}
}

// queueStatus queues what ends the task: a Data-In with the status if there is
// data left and no sense data, else a SCSI Response. The caller holds w.mu.
func (t *task) queueStatus(w *sender, exp, max uint32) {
	tail := t.tail
	t.tail = nil
	over, under, residual := t.residual()
	if tail != nil {
		p := t.dataIn(t.tailLen)
		if !t.failed {
			p.HasStatus, p.Status = true, uint8(t.status)
			p.Overflow, p.Underflow, p.ResidualCount = over, under, residual
		}
		p.Encode(&w.bhs)
		w.queue(exp, max, !t.failed, tail.b[:t.tailLen])
		w.lend(tail, t.tailLen)
		if !t.failed {
			return
		}
	}
	p := iscsi.SCSIResponse{
		Status: uint8(t.status), ITT: t.itt, SNACKTag: t.snackTag, ExpDataSN: t.dataSN + t.out.r2tSN,
		Overflow: over, Underflow: under, ResidualCount: residual,
	}
	p.Encode(&w.bhs)
	if t.status != scsi.StatusCheckCondition {
		w.queue(exp, max, true, nil)
		return
	}
	var sense [scsi.MaxSenseLength]byte
	b := w.buffers.get(2 + len(sense))
	data := iscsi.AppendSense(b.b[:0], t.appendSense(sense[:0]))
	w.queue(exp, max, true, data)
	w.lend(b, len(data))
}

// appendSense appends the task's sense data in the format that its unit is set
// to.
func (t *task) appendSense(dst []byte) []byte {
	if t.nx != nil && t.nx.u.modes.descriptor.Load() {
		return t.sense.AppendDescriptor(dst)
	}
	return t.sense.AppendFixed(dst)
}

// residual compares what the command moved, or would have, with what the
// initiator expected (RFC 7143, 11.4.5).
func (t *task) residual() (over, under bool, count uint32) {
	moves, moved, expected := t.in, int64(t.sent), int64(t.expIn)
	if t.tail != nil {
		moved += int64(t.tailLen)
	}
	if t.write || t.demand > 0 {
		moves, moved, expected = t.demand, min(t.out.taken, t.want), int64(t.expOut)
	}
	if !t.failed {
		moved = moves
	}
	switch {
	case moves > expected:
		return true, false, uint32(min(moves-expected, 1<<32-1))
	case moved < expected:
		return false, true, uint32(expected - moved)
	}
	return false, false, 0
}
