package initiator

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// quiet is how long nothing must have been received before the receiver reads though
// no command is in flight.
const quiet = 4 * time.Millisecond

// receive takes what the target sends until the connection is gone, except where
// calls lead. It reads while commands are in flight, and when nothing has come for a
// while; in between it leaves the connection to calls that come one after the other
// and can then read their answers themselves, which saves them two changes of
// goroutine.
func (s *nexus) receive() {
	defer close(s.received)
	ticks := time.NewTicker(quiet)
	defer ticks.Stop()
	for s.cause() == nil {
		s.reading <- struct{}{}
		for s.step() && s.open.Load() > 0 {
		}
		<-s.reading
		s.rest(ticks)
	}
	s.reading <- struct{}{} // nobody reads any more
}

// rest waits until the receiver is wanted.
func (s *nexus) rest(ticks *time.Ticker) {
	s.resting.Store(true)
	defer s.resting.Store(false)
	if s.open.Load() > 0 && s.tryRead() { // a call came too late to lead
		<-s.reading
		return
	}
	ticks.Reset(quiet)
	defer ticks.Stop()
	for heard := s.heard.Load(); ; {
		select {
		case <-s.wanted:
			return
		case <-s.dead:
			return
		case <-ticks.C:
		}
		now := s.heard.Load()
		if now == heard {
			return
		}
		heard = now
	}
}

// lead reads what the target sends, in the receiver's place, until something has
// come for the call, and reports whether it has done so: not if another reads or has
// commands in flight. It cannot be interrupted.
func (c *call) lead() bool {
	s := c.s
	if int(s.open.Load()) > c.flight || !s.tryRead() {
		return false
	}
	for c.idle() && s.step() {
	}
	<-s.reading
	if int(s.open.Load()) > 0 {
		s.want()
	}
	return true
}

// tryRead takes reading if nobody has it.
func (s *nexus) tryRead() bool {
	select {
	case s.reading <- struct{}{}:
		return true
	default:
		return false
	}
}

// want wakes the receiver if it rests.
func (s *nexus) want() {
	if s.resting.Load() {
		signal(s.wanted)
	}
}

// idle reports whether nothing is posted for the call.
func (c *call) idle() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.head == nil
}

// step takes one PDU; false says that the connection is gone. reading is held.
func (s *nexus) step() bool {
	b := &s.header
	err := s.conn.ReadHeader(b)
	if err == nil {
		s.heard.Add(1)
		err = s.dispatch(b)
	}
	if err == nil {
		err = s.conn.SkipData()
	}
	switch {
	case err == nil:
		return true
	case err == errLoggedOut:
		s.end(s.refused())
	case err == io.EOF:
		s.fail(errHungUp)
	default:
		s.fail(err)
	}
	return false
}

// dispatch takes one PDU. Data that it leaves is dropped.
func (s *nexus) dispatch(b *iscsi.BHS) error {
	switch b.Opcode() {
	case iscsi.OpDataIn:
		return s.dataIn(b)
	case iscsi.OpSCSIResponse:
		return s.response(b)
	case iscsi.OpR2T:
		return s.readyToTransfer(b)
	case iscsi.OpNOPIn:
		return s.nopIn(b)
	case iscsi.OpTaskManagementResponse:
		return s.taskResponse(b)
	case iscsi.OpLogoutResponse:
		return s.logoutResponse(b)
	case iscsi.OpAsyncMessage:
		return s.async(b)
	case iscsi.OpReject:
		return s.reject(b)
	}
	return protocolErrorf("unexpected %v", b.Opcode())
}

// numbers takes the sequence numbers of a PDU. uses says that it uses up its
// StatSN (RFC 7143, 4.2.2.3).
func (s *nexus) numbers(b *iscsi.BHS, uses bool) {
	if sn := b.StatSN(); uses && !iscsi.SNLess(sn, s.expStatSN.Load()) {
		s.expStatSN.Store(sn + 1)
	}
	// RFC 7143, 4.2.2.1: a MaxCmdSN below ExpCmdSN-1, or older, does not count.
	limit := b.MaxCmdSN()
	if !iscsi.SNLess(limit, b.ExpCmdSN()-1) && iscsi.SNLess(s.maxCmdSN.Load(), limit) {
		s.maxCmdSN.Store(limit)
		signal(s.opened)
	}
}

// dataIn reads a part of what a command reads into its place.
func (s *nexus) dataIn(b *iscsi.BHS) error {
	var in iscsi.DataIn
	if err := in.Decode(b); err != nil {
		return err
	}
	n := s.conn.DataLeft()
	t, err := s.expect(&in, n)
	if err != nil {
		return err
	}
	if n > 0 {
		// The task's call does not return before the receiver has told it to.
		if err := s.conn.ReadData(t.in[in.BufferOffset:][:n]); err != nil {
			return err
		}
	}
	s.numbers(b, in.HasStatus)
	if !in.HasStatus {
		return nil
	}
	t.status = scsi.Status(in.Status)
	return s.complete(t, in.Overflow, in.Underflow, in.ResidualCount)
}

// expect finds the task that a Data-In is for and checks and notes its place.
func (s *nexus) expect(in *iscsi.DataIn, n int) (*task, error) {
	s.mu.Lock()
	t := s.find(in.ITT)
	s.mu.Unlock()
	if t == nil {
		return nil, protocolErrorf("data for task tag 0x%08x, which no command has", in.ITT)
	}
	offset := uint64(in.BufferOffset)
	if offset+uint64(n) > uint64(len(t.in)) {
		return nil, protocolErrorf("%d bytes of data at %d of a buffer of %d", n, offset, len(t.in))
	}
	if n > 0 && !t.got.add(in.BufferOffset, in.BufferOffset+uint32(n)) {
		return nil, protocolErrorf("data at %d overlaps what came before, or leaves too many holes", offset)
	}
	return t, nil
}

// response ends a command.
func (s *nexus) response(b *iscsi.BHS) error {
	var r iscsi.SCSIResponse
	if err := r.Decode(b); err != nil {
		return err
	}
	s.mu.Lock()
	t := s.find(r.ITT)
	s.mu.Unlock()
	if t == nil {
		return protocolErrorf("a response for task tag 0x%08x, which no command has", r.ITT)
	}
	if err := s.readSense(t); err != nil {
		return err
	}
	s.numbers(b, true)
	if r.Response != iscsi.CommandCompleted {
		t.err = fmt.Errorf("the target failed: %v", r.Response)
	}
	t.status = scsi.Status(r.Status)
	return s.complete(t, r.Overflow, r.Underflow, r.ResidualCount)
}

// readSense reads the sense data of a response (RFC 7143, 11.4.7).
func (s *nexus) readSense(t *task) error {
	data := t.senseBuf[:min(s.conn.DataLeft(), maxSense)]
	if err := s.conn.ReadData(data); err != nil {
		return err
	}
	if len(data) >= 2 {
		n := int(binary.BigEndian.Uint16(data))
		t.sense = data[2:][:min(n, len(data)-2)]
	}
	return s.conn.SkipData()
}

// complete tells a task's call that it is done.
func (s *nexus) complete(t *task, over, under bool, count uint32) error {
	if len(t.in) > 0 {
		n, holes := t.got.prefix()
		if holes && t.status == scsi.StatusGood && t.err == nil {
			return protocolErrorf("a read succeeds with a part of its data missing")
		}
		t.residual = len(t.in) - n // the target may know of more, never of less
	}
	switch {
	case over:
		t.residual = -int(count)
	case under:
		t.residual = max(t.residual, int(min(count, uint32(len(t.in)+len(t.out)))))
	}
	s.mu.Lock()
	s.conclude(t)
	s.mu.Unlock()
	return nil
}

// readyToTransfer passes a request for data on to the task's call.
func (s *nexus) readyToTransfer(b *iscsi.BHS) error {
	var r iscsi.R2T
	if err := r.Decode(b); err != nil {
		return err
	}
	s.numbers(b, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.find(r.ITT)
	switch {
	case t == nil:
		return protocolErrorf("a request for data of task tag 0x%08x, which no command has", r.ITT)
	case r.DesiredLength == 0 || uint64(r.BufferOffset)+uint64(r.DesiredLength) > uint64(len(t.out)):
		return protocolErrorf("a request for %d bytes at %d of %d bytes of data", r.DesiredLength, r.BufferOffset, len(t.out))
	case len(t.r2ts) >= max(1, s.params.MaxOutstandingR2T):
		return protocolErrorf("more than %d requests for data at once", s.params.MaxOutstandingR2T)
	}
	t.r2ts = append(t.r2ts, r2t{r.LUN, r.TTT, r.BufferOffset, r.DesiredLength})
	s.post(t)
	return nil
}
