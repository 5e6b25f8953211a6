package initiator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// step takes one PDU; false says that the connection is gone. reading is held.
func (l *link) step() bool {
	b := &l.header
	err := l.conn.ReadHeader(b)
	if err == nil {
		l.heard.Add(1)
		err = l.receivePDU(b)
	}
	if err == io.EOF && l.leaving.Load() && l.goodbye.Load() != 0 {
		err = errLoggedOut // istgt at times hangs up without a word
	}
	switch {
	case err == nil:
		return true
	case err == errLoggedOut && l.goodbye.Load() == int32(iscsi.LogoutConnection)+1:
		l.end(errLoggedOut)
	case err == errLoggedOut:
		l.s.end(l.s.refused())
	case err == io.EOF:
		l.fail(errHungUp)
	default:
		l.fail(err)
	}
	return false
}

// receivePDU takes one PDU, or asks for it again if it is damaged.
func (l *link) receivePDU(b *iscsi.BHS) error {
	strict := l.s.strict()
	err := l.dispatch(b)
	if err != nil {
		if strict && errors.Is(err, iscsi.ErrDataDigest) {
			return l.askFor(b)
		}
		return err
	}
	err = l.conn.SkipData()
	if strict && errors.Is(err, iscsi.ErrDataDigest) {
		return nil // nobody wants that data
	}
	return err
}

// dispatch takes one PDU. Data that it leaves is dropped.
func (l *link) dispatch(b *iscsi.BHS) error {
	if l.s.strict() && l.usesStatSN(b) && l.arrived.old(b.StatSN()) {
		return nil // sent once more than was needed
	}
	switch b.Opcode() {
	case iscsi.OpDataIn:
		return l.dataIn(b)
	case iscsi.OpSCSIResponse:
		return l.response(b)
	case iscsi.OpR2T:
		return l.readyToTransfer(b)
	case iscsi.OpNOPIn:
		return l.nopIn(b)
	case iscsi.OpTaskManagementResponse:
		return l.taskResponse(b)
	case iscsi.OpTextResponse:
		return l.textResponse(b)
	case iscsi.OpLogoutResponse:
		return l.logoutResponse(b)
	case iscsi.OpAsyncMessage:
		return l.async(b)
	case iscsi.OpReject:
		return l.reject(b)
	}
	return protocolErrorf("unexpected %v", b.Opcode())
}

// numbers takes the sequence numbers of a PDU. uses says that it uses up its
// StatSN (RFC 7143, 4.2.2.3).
func (l *link) numbers(b *iscsi.BHS, uses bool) error {
	s := l.s
	// RFC 7143, 4.2.2.1: a MaxCmdSN below ExpCmdSN-1, or older, does not count.
	if limit := b.MaxCmdSN(); !iscsi.SNLess(limit, b.ExpCmdSN()-1) {
		for {
			old := s.maxCmdSN.Load()
			if !iscsi.SNLess(old, limit) {
				break
			}
			if s.maxCmdSN.CompareAndSwap(old, limit) {
				signal(s.opened)
				break
			}
		}
	}
	if s.strict() {
		return l.countStatus(b, uses)
	}
	if sn := b.StatSN(); uses && !iscsi.SNLess(sn, l.expStatSN.Load()) {
		l.expStatSN.Store(sn + 1)
	}
	return nil
}

// dataIn reads a part of what a command reads into its place.
func (l *link) dataIn(b *iscsi.BHS) error {
	var in iscsi.DataIn
	if err := in.Decode(b); err != nil {
		return err
	}
	n := l.conn.DataLeft()
	t, err := l.expect(&in, n)
	if err != nil {
		return err
	}
	if l.s.strict() {
		if fresh, err := l.countData(t, in.DataSN); !fresh {
			return err
		}
	}
	if n > 0 {
		// The task's call does not return before the receiver has told it to.
		if err := l.conn.ReadData(t.in[in.BufferOffset:][:n]); err != nil {
			return err
		}
		if !t.got.add(in.BufferOffset, in.BufferOffset+uint32(n)) {
			return protocolErrorf("data at %d overlaps what came before, or leaves too many holes", in.BufferOffset)
		}
	}
	if l.s.strict() {
		l.take(&t.seq, in.DataSN)
		if in.HasStatus {
			l.hold(t, in.StatSN)
		}
	}
	if err := l.numbers(b, in.HasStatus); err != nil {
		return err
	}
	if in.HasStatus {
		t.status = scsi.Status(in.Status)
		t.conclude(in.Overflow, in.Underflow, in.ResidualCount)
	}
	return l.progress(t, &in)
}

// expect finds the task that a Data-In is for and checks its place.
func (l *link) expect(in *iscsi.DataIn, n int) (*task, error) {
	l.s.mu.Lock()
	t := l.find(in.ITT)
	l.s.mu.Unlock()
	if t == nil {
		return nil, protocolErrorf("data for task tag 0x%08x, which no command has", in.ITT)
	}
	if offset := uint64(in.BufferOffset); offset+uint64(n) > uint64(len(t.in)) {
		return nil, protocolErrorf("%d bytes of data at %d of a buffer of %d", n, offset, len(t.in))
	}
	return t, nil
}

// response ends a command.
func (l *link) response(b *iscsi.BHS) error {
	var r iscsi.SCSIResponse
	if err := r.Decode(b); err != nil {
		return err
	}
	l.s.mu.Lock()
	t := l.find(r.ITT)
	l.s.mu.Unlock()
	if t == nil {
		return protocolErrorf("a response for task tag 0x%08x, which no command has", r.ITT)
	}
	if err := l.readSense(t); err != nil {
		return err
	}
	if l.s.strict() {
		if err := l.account(t, &r); err != nil {
			return err
		}
	}
	if err := l.numbers(b, true); err != nil {
		return err
	}
	if r.Response != iscsi.CommandCompleted {
		t.err = fmt.Errorf("the target failed: %v", r.Response)
	}
	t.status = scsi.Status(r.Status)
	t.conclude(r.Overflow, r.Underflow, r.ResidualCount)
	return l.progress(t, nil)
}

// readSense reads the sense data of a response (RFC 7143, 11.4.7).
func (l *link) readSense(t *task) error {
	data := t.senseBuf[:min(l.conn.DataLeft(), maxSense)]
	if err := l.conn.ReadData(data); err != nil {
		return err
	}
	if len(data) >= 2 {
		n := int(binary.BigEndian.Uint16(data))
		t.sense = data[2:][:min(n, len(data)-2)]
	}
	return l.conn.SkipData()
}

// conclude notes what a command's end says of its length.
func (t *task) conclude(over, under bool, count uint32) {
	t.ended, t.over, t.under, t.count = true, over, under, count
}

// progress tells a task's call that it is done, if it is; in is what has come for it,
// nil if that is a response.
func (l *link) progress(t *task, in *iscsi.DataIn) error {
	if l.s.strict() {
		l.acknowledge(t, in)
	}
	if !t.ended || len(t.seq.missing) > 0 {
		return nil
	}
	if len(t.in) > 0 {
		n, holes := t.got.prefix()
		if holes && t.status == scsi.StatusGood && t.err == nil {
			return protocolErrorf("a read succeeds with a part of its data missing")
		}
		t.residual = len(t.in) - n // the target may know of more, never of less
	}
	switch {
	case t.over:
		t.residual = -int(t.count)
	case t.under:
		t.residual = max(t.residual, int(min(t.count, uint32(len(t.in)+len(t.out)))))
	}
	l.told = true
	l.s.mu.Lock()
	l.s.conclude(t)
	l.s.mu.Unlock()
	return nil
}

// readyToTransfer passes a request for data on to the task's call.
func (l *link) readyToTransfer(b *iscsi.BHS) error {
	s := l.s
	var r iscsi.R2T
	if err := r.Decode(b); err != nil {
		return err
	}
	if err := l.numbers(b, false); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := l.find(r.ITT)
	switch {
	case t == nil:
		return protocolErrorf("a request for data of task tag 0x%08x, which no command has", r.ITT)
	case r.DesiredLength == 0 || uint64(r.BufferOffset)+uint64(r.DesiredLength) > uint64(len(t.out)):
		return protocolErrorf("a request for %d bytes at %d of %d bytes of data", r.DesiredLength, r.BufferOffset, len(t.out))
	case len(t.r2ts) >= max(1, s.params.MaxOutstandingR2T):
		return protocolErrorf("more than %d requests for data at once", s.params.MaxOutstandingR2T)
	}
	if s.strict() && !t.moved { // which may begin the numbers anew
		if fresh, err := l.countData(t, r.R2TSN); !fresh {
			return err
		}
		l.take(&t.seq, r.R2TSN)
	}
	t.r2ts = append(t.r2ts, r2t{r.LUN, r.TTT, r.BufferOffset, r.DesiredLength})
	s.post(t)
	return nil
}
