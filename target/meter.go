package target

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/scsi"
)

// CommandKind is a class of SCSI commands that are counted together.
type CommandKind int

// Kinds of commands.
const (
	ReadCommands    CommandKind = iota // READ
	WriteCommands                      // WRITE, WRITE SAME and others that write blocks
	FlushCommands                      // SYNCHRONIZE CACHE
	DiscardCommands                    // UNMAP
	OtherCommands                      // all others: INQUIRY, TEST UNIT READY, …
	numKinds
)

// String returns "read", "write", "flush", "discard" or "other".
func (k CommandKind) String() string {
	return [...]string{"read", "write", "flush", "discard", "other"}[k]
}

// kindOf returns a command's kind.
func kindOf(op scsi.OpCode) CommandKind {
	switch op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		return ReadCommands
	case scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16,
		scsi.OpWriteAndVerify10, scsi.OpWriteAndVerify12, scsi.OpWriteAndVerify16,
		scsi.OpWriteSame10, scsi.OpWriteSame16, scsi.OpCompareAndWrite, scsi.OpOrWrite16, scsi.OpWriteAtomic16:
		return WriteCommands
	case scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		return FlushCommands
	case scsi.OpUnmap:
		return DiscardCommands
	}
	return OtherCommands
}

// latencyBuckets is how many classes of latency are told apart: each reaches to
// twice what the one before does, the last has no end.
const latencyBuckets = 21

// LatencyBound returns the longest latency that counts in a bucket of
// [CommandCount.Latency]: 16.4 µs in the first, 8.6 s in the last but one. The
// last bucket, for which it returns 0, has no bound.
func LatencyBound(bucket int) time.Duration {
	if bucket >= latencyBuckets-1 {
		return 0
	}
	return 1 << (14 + bucket)
}

// CommandCount says what commands of a kind have come to.
type CommandCount struct {
	Commands uint64                 // that have been answered
	Errors   uint64                 // of these, those not with GOOD status
	Bytes    uint64                 // data moved from or to the initiator
	Time     time.Duration          // all latencies together
	Latency  [latencyBuckets]uint64 // commands by latency: see LatencyBound
}

func (c *CommandCount) add(o *CommandCount) {
	c.Commands += o.Commands
	c.Errors += o.Errors
	c.Bytes += o.Bytes
	c.Time += o.Time
	for i, n := range o.Latency {
		c.Latency[i] += n
	}
}

// Counts are the commands by [CommandKind].
type Counts [numKinds]CommandCount

func (c *Counts) add(o *Counts) {
	for k := range c {
		c[k].add(&o[k])
	}
}

// meter counts what happens at one nexus. Commands of one nexus mostly come by
// one connection, so that its counters are hardly ever shared between
// processors; sums are made by those who ask.
type meter struct {
	kinds    [numKinds]kindMeter
	underway atomic.Int64
}

type kindMeter struct {
	errors, bytes atomic.Uint64
	nanoseconds   atomic.Int64
	latency       [latencyBuckets]atomic.Uint64
}

// counts returns what was counted so far.
func (m *meter) counts() (c Counts) {
	for k := range m.kinds {
		from, to := &m.kinds[k], &c[k]
		to.Errors, to.Bytes, to.Time = from.errors.Load(), from.bytes.Load(), time.Duration(from.nanoseconds.Load())
		for i := range from.latency {
			to.Latency[i] = from.latency[i].Load()
			to.Commands += to.Latency[i]
		}
	}
	return c
}

// measure counts a task that is about to be answered.
func (t *task) measure() {
	if t.nx == nil {
		return
	}
	k := &t.nx.meter.kinds[kindOf(scsi.OpCode(t.cdb[0]))]
	took := t.s.srv.clock() - t.began
	k.latency[min(bits.Len64(uint64(took)>>14), latencyBuckets-1)].Add(1)
	k.nanoseconds.Add(int64(took))
	n := int64(t.sent) + min(t.out.taken, t.want)
	if t.tail != nil {
		n += int64(t.tailLen)
	}
	if n > 0 {
		k.bytes.Add(uint64(n))
	}
	if t.status != scsi.StatusGood {
		k.errors.Add(1)
	}
}

// clock returns the time since the server was made. It is cheaper than the time
// of day.
func (s *Server) clock() time.Duration { return time.Since(s.epoch) }
