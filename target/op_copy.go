package target

import (
	"bytes"
	"errors"
	"slices"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// EXTENDED COPY(LID1) and what tells of it (SPC-4, 5.16, 6.4 and 6.24 to 6.27):
// copies between the units of the server that the initiator may use, without the
// data passing through the initiator.
var copyOperations = []operation{
	{
		op: scsi.OpExtendedCopy, action: scsi.ActionExtendedCopy,
		usage: []byte{0x83, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkCopy, run: runCopy,
	},
	copyResults(scsi.ActionCopyStatus, runCopyStatus),
	copyResults(scsi.ActionCopyData, runCopyData),
	copyResults(scsi.ActionCopyParameters, runCopyParameters),
	copyResults(scsi.ActionCopyFailed, runCopyFailed),
}

// copyResults makes the operation of a service action of RECEIVE COPY RESULTS.
func copyResults(action int, run func(*task, bool) error) operation {
	return operation{
		op: scsi.OpReceiveCopyResults, action: action,
		usage: []byte{0x84, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkNothing, run: run,
	}
}

// copyAbilities is what initiators are told, and held to.
var copyAbilities = scsi.CopyAbilities{
	Limits:     scsi.CopyLimits{Targets: 16, Segments: 64, Length: 16*scsi.CopyTargetLength + 64*32},
	MaxSegment: maxTransfer, Concurrent: 64, GranularityShift: 12,
	Types: []byte{scsi.CopyBlocks, scsi.CopyBytes, scsi.CopyIdentified},
}

// maxCopies is how many copies' results are kept for a nexus.
const maxCopies = 16

// copyResult is what became of a copy.
type copyResult struct {
	id     uint8
	status scsi.CopyStatus
	err    *scsi.Error // nil: none so far
}

// errNotReachable refuses a copy from or to a unit that there is not, as far as
// the initiator may know.
var errNotReachable = scsi.CheckCondition(scsi.KeyCopyAborted, scsi.ASCCopyTargetNotReachable)

func checkCopy(t *task) error {
	n := scsi.ParseCopyCDB((*scsi.CDB)(&t.cdb))
	if n > maxBuffer {
		return errListLength
	}
	t.want = int64(n)
	return nil
}

// runCopy carries out the segments in their order, and notes what became of them
// under the list's identifier.
func runCopy(t *task, wait bool) error {
	if t.want == 0 {
		return nil
	}
	if !wait {
		return errWait
	}
	list, err := scsi.ParseCopyList(t.params.b[:t.want], copyAbilities.Limits)
	if err != nil {
		return err
	}
	units := make([]*unit, len(list.Targets))
	for i, target := range list.Targets {
		if units[i] = t.s.reachable(target.Designator); units[i] == nil {
			return errNotReachable
		}
		if n := target.BlockLength; n != 0 && int64(n) != units[i].blockSize() {
			return scsi.InvalidParameterField(16+i*scsi.CopyTargetLength+29, 7)
		}
	}
	result := &copyResult{id: list.ListID}
	if list.Usage != scsi.CopyNoID {
		if err := t.nx.keepCopy(result); err != nil {
			return err
		}
	}
	return t.copySegments(result, list.Segments, units)
}

// keepCopy makes a copy known by its identifier, which must not be that of one
// that is still going. The oldest results make room.
func (n *nexus) keepCopy(result *copyResult) error {
	n.u.mu.Lock()
	defer n.u.mu.Unlock()
	same := func(c *copyResult) bool { return c.id == result.id }
	if i := slices.IndexFunc(n.copies, same); i >= 0 && n.copies[i].status.State == scsi.CopyRunning {
		return scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCOperationInProgress)
	}
	n.copies = append(slices.DeleteFunc(n.copies, same), result)
	if len(n.copies) > maxCopies {
		n.copies = slices.Delete(n.copies, 0, 1)
	}
	return nil
}

func (t *task) copySegments(result *copyResult, segments []scsi.CopySegment, units []*unit) error {
	note := func(f func()) {
		t.nx.u.mu.Lock()
		defer t.nx.u.mu.Unlock()
		f()
	}
	for i, s := range segments {
		err := t.copySegment(s, units, func(n int) { note(func() { result.status.Bytes += uint64(n) }) })
		if err == nil && !t.isAborted() {
			note(func() { result.status.Segments++ })
			continue
		}
		failure := copyFailure(err, i)
		note(func() { result.status.State, result.err = scsi.CopyFailed, failure })
		var cause *storeError
		if errors.As(err, &cause) {
			return &storeError{err: cause.err, cond: failure}
		}
		return failure
	}
	note(func() { result.status.State = scsi.CopyDone })
	return nil
}

// copyFailure is COPY ABORTED for a condition that a segment met with.
func copyFailure(err error, segment int) *scsi.Error {
	var cond *scsi.Error
	e := scsi.CheckCondition(scsi.KeyCopyAborted, scsi.ASCNone)
	if errors.As(err, &cond) && cond.Sense.Key == scsi.KeyCopyAborted {
		*e = *cond
	}
	e.Sense.CommandInfo = uint64(segment)
	return e
}

// copySegment copies what a segment says, and tells progress how much has come
// over each time.
func (t *task) copySegment(s scsi.CopySegment, units []*unit, progress func(int)) error {
	if int(s.Source) >= len(units) || int(s.Destination) >= len(units) {
		return errNotReachable
	}
	from, to := units[s.Source], units[s.Destination]
	if err := t.s.mayCopy(from, to); err != nil {
		return err
	}
	n, counted := int64(s.Bytes), from
	if s.DestinationCount {
		counted = to
	}
	if !s.HasBytes {
		n = int64(s.Blocks) << counted.shift
	}
	src, ok1 := from.bytesAt(s.SourceLBA, s.SourceByteOffset, n)
	dst, ok2 := to.bytesAt(s.DestinationLBA, s.DestinationOffset, n)
	if !ok1 || !ok2 || n%to.blockSize() != 0 || s.DestinationOffset != 0 {
		return errLBA
	}
	b := t.s.srv.buffers.get(maxBuffer)
	defer t.s.srv.buffers.put(b)
	for done := int64(0); done < n && !t.isAborted(); {
		piece := b.b[:min(maxBuffer, n-done)]
		if err := from.read(piece, src+done, true); err != nil {
			return err
		}
		if err := to.write(piece, dst+done, true); err != nil {
			return err
		}
		done += int64(len(piece))
		progress(len(piece))
	}
	if to.throughNow() {
		return to.flush(true)
	}
	return nil
}

// bytesAt returns where n bytes are, if the unit has them.
func (u *unit) bytesAt(lba uint64, offset uint16, n int64) (off int64, ok bool) {
	if lba > u.blocks.Load() {
		return 0, false
	}
	off = int64(lba)<<u.shift + int64(offset)
	return off, off+n <= u.bytes()
}

// reachable returns the unit that a designator names, if it is behind a target
// that the session's initiator may use.
func (s *session) reachable(d scsi.Designator) *unit {
	s.srv.devices.mu.Lock()
	defer s.srv.devices.mu.Unlock()
	for _, u := range s.srv.devices.units {
		if !slices.ContainsFunc(u.names(), func(own scsi.Designator) bool {
			return own.Type == d.Type && own.Association == d.Association && bytes.Equal(own.Value, d.Value)
		}) {
			continue
		}
		u.mu.Lock()
		ok := slices.ContainsFunc(u.locations, func(at location) bool { return s.mayUse(at) })
		u.mu.Unlock()
		if ok {
			return u
		}
	}
	return nil
}

// mayUse tells whether the session's initiator may use a LUN: if it is another
// target's, whether it could log in to that with what it has proven.
func (s *session) mayUse(at location) bool {
	other := at.target
	if !other.units.Load().access[at.number].admits(&s.who) {
		return false
	}
	if other == s.target {
		return true
	}
	if chap := other.settings.Load().chapFor(s.who.name); chap != nil {
		own := s.target.settings.Load().chapFor(s.who.name)
		if own == nil || !slices.ContainsFunc(own.Users, func(u iscsi.CHAPUser) bool { return u.Name == s.who.user && slices.Contains(chap.Users, u) }) {
			return false
		}
	}
	return other.allows(&s.who, s.id.tag)
}

// mayCopy tells whether reservations and the state of two units allow a copy.
func (s *session) mayCopy(from, to *unit) error {
	for u, p := range map[*unit]permission{from: permissionOf(scsi.OpRead16, noAction), to: permissionOf(scsi.OpWrite16, noAction)} {
		switch {
		case s.demandOf(u)&^p != 0:
			return errNotReachable
		case u.ejected.Load(), u.sanitizer.condition() != nil:
			return errNotReachable
		}
	}
	if to.writeProtected() {
		return errWriteProtected
	}
	return nil
}

// demandOf is what a unit's reservations ask of the session, which need not be
// one of its nexuses.
func (s *session) demandOf(u *unit) permission {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n := range u.nexuses {
		if n.s == s {
			return permission(n.demand.Load())
		}
	}
	need := u.reservations.demand(nexusName{})
	if u.reservedBy != nil {
		need |= pastReserve
	}
	return need
}

// findCopy returns a copy of what is known of the copy that RECEIVE COPY RESULTS
// asks about.
func (t *task) findCopy() (copyResult, error) {
	c := scsi.ParseCopyResults((*scsi.CDB)(&t.cdb))
	t.nx.u.mu.Lock()
	defer t.nx.u.mu.Unlock()
	for _, result := range t.nx.copies {
		if result.id == c.ListID {
			return *result, nil
		}
	}
	return copyResult{}, scsi.InvalidCDBField(2, 7)
}

// replyCopy answers RECEIVE COPY RESULTS.
func (t *task) replyCopy(data []byte) {
	t.reply(data, int(min(scsi.ParseCopyResults((*scsi.CDB)(&t.cdb)).Length, 1<<31-1)))
}

func runCopyParameters(t *task, _ bool) error {
	t.replyCopy(copyAbilities.Append(nil))
	return nil
}

func runCopyStatus(t *task, _ bool) error {
	result, err := t.findCopy()
	if err == nil {
		t.replyCopy(result.status.Append(nil))
	}
	return err
}

// runCopyData says that a copy has left no data: none of its segments can.
func runCopyData(t *task, _ bool) error {
	_, err := t.findCopy()
	if err == nil {
		t.replyCopy([]byte{0, 0, 0, 0})
	}
	return err
}

func runCopyFailed(t *task, _ bool) error {
	result, err := t.findCopy()
	switch {
	case err != nil:
		return err
	case result.err == nil:
		t.replyCopy(scsi.AppendFailedSegment(nil, scsi.StatusGood, nil))
	default:
		t.replyCopy(scsi.AppendFailedSegment(nil, result.err.Status, result.err.Sense.AppendFixed(nil)))
	}
	return nil
}
