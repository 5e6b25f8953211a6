package initiator

import (
	"context"
	"fmt"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// maxDepth is how many commands of one request are in flight together: enough to
// keep a connection busy while answers travel.
const maxDepth = 8

// segment is a run of blocks and the memory for it.
type segment struct {
	lba uint64
	buf []byte // whole blocks
}

// segments are the runs of blocks of one request, at most three: a first block of
// which only a part is meant, whole blocks, and a last block of the same kind.
type segments struct {
	list [3]segment
	n    int
}

func (s *segments) add(lba uint64, buf []byte) {
	s.list[s.n] = segment{lba, buf}
	s.n++
}

// first returns up to limit bytes of the first segment that is not empty; ok is
// false if there is none.
func (s *segments) first(limit int) (lba uint64, buf []byte, ok bool) {
	for i := range s.list[:s.n] {
		if g := &s.list[i]; len(g.buf) > 0 {
			return g.lba, g.buf[:min(limit, len(g.buf))], true
		}
	}
	return 0, nil, false
}

// skip drops n bytes, whole blocks, from the front.
func (s *segments) skip(n, blockSize int) {
	for i := range s.list[:s.n] {
		g := &s.list[i]
		k := min(n, len(g.buf))
		g.lba += uint64(k / blockSize)
		g.buf = g.buf[k:]
		n -= k
	}
}

// transfer reads or writes all segments, again where that is due. It returns the
// number of bytes done without a gap from the start.
func (l *LUN) transfer(ctx context.Context, write bool, g segments) (int, error) {
	var tries retry
	for done := 0; ; {
		p, s, err := l.pick(ctx, l.paths)
		n := 0
		if err == nil {
			c := s.begin(ctx)
			n, err = c.transfer(l, p.id, write, g)
			s.finish(c)
		}
		if done += n; err == nil {
			return done, nil
		}
		if err = l.again(ctx, &tries, p, err, true); err != nil {
			return done, err
		}
		g.skip(n, l.BlockSize())
	}
}

// transfer sends the segments as commands, several of them in flight together.
func (c *call) transfer(l *LUN, id iscsi.LUN, write bool, g segments) (int, error) {
	var failure error
	offset, failed := 0, 0
	for {
		for failure == nil && c.flight < maxDepth {
			lba, buf, more := g.first(l.maxTransfer)
			if !more {
				break
			}
			cmd := l.transferCommand(id, write, lba, buf)
			ok, err := c.start(&cmd, offset, c.flight == 0)
			if err != nil {
				return 0, c.giveUp(err)
			}
			if !ok {
				break
			}
			g.skip(len(buf), l.BlockSize())
			offset += len(buf)
		}
		if c.flight == 0 {
			break
		}
		t, err := c.wait()
		if err != nil {
			return 0, c.giveUp(err)
		}
		if err := t.outcome(); err != nil && (failure == nil || t.chunk < failed) {
			failure, failed = err, t.chunk
		}
		c.release(t)
	}
	if failure != nil {
		return failed, failure
	}
	return offset, nil
}

// transferCommand returns the command that reads or writes blocks.
func (l *LUN) transferCommand(id iscsi.LUN, write bool, lba uint64, buf []byte) Command {
	blocks := uint32(len(buf) / l.BlockSize())
	if write {
		return Command{LUN: id, CDB: scsi.WriteCDB(lba, blocks), Out: buf}
	}
	return Command{LUN: id, CDB: scsi.ReadCDB(lba, blocks), In: buf}
}

// outcome returns an error unless all of the task's data was transferred.
func (t *task) outcome() error {
	if t.err != nil {
		return t.err
	}
	if err := scsi.ResultError(t.status, t.sense); err != nil {
		return err
	}
	if t.residual != 0 {
		return fmt.Errorf("the device transferred %d of %d bytes", len(t.in)+len(t.out)-t.residual, len(t.in)+len(t.out))
	}
	return nil
}
