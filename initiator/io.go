package initiator

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bootlun/bootlun/scsi"
)

var errNegative = errors.New("negative offset")

// ReadAt reads len(p) bytes at off, which need not lie on block boundaries: see
// ReadAtContext.
func (l *LUN) ReadAt(p []byte, off int64) (int, error) {
	return l.ReadAtContext(context.Background(), p, off)
}

// ReadAtContext reads len(p) bytes at off. Whole blocks are read straight into p;
// of blocks at the ends that are not meant in whole, all is read and the rest
// dropped. At the end of the disk it returns what there is and io.EOF.
func (l *LUN) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, l.wrapIO("read", len(p), off, errNegative)
	}
	if off >= l.Size() {
		return 0, io.EOF
	}
	var end error
	if left := l.Size() - off; int64(len(p)) > left {
		p, end = p[:left], io.EOF
	}
	n, err := l.read(ctx, p, off)
	if err != nil {
		return n, l.wrapIO("read", len(p), off, err)
	}
	return n, end
}

func (l *LUN) read(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if l.aligned(p, off) {
		return l.transfer(ctx, false, l.whole(p, off))
	}
	buf := l.scratch.Get().(*[]byte)
	defer l.scratch.Put(buf)
	e := l.split(p, off, *buf)
	done, err := l.transfer(ctx, false, e.all)
	copy(e.first, e.firstBlock[e.skip:])
	copy(e.last, e.lastBlock)
	return max(0, min(done-e.skip, len(p))), err
}

// WriteAt writes p at off, which need not lie on block boundaries: see
// WriteAtContext.
func (l *LUN) WriteAt(p []byte, off int64) (int, error) {
	return l.WriteAtContext(context.Background(), p, off)
}

// WriteAtContext writes p at off. Blocks at the ends that are not meant in whole are
// read, changed and written back. Such writes of one LUN come after each other, so
// that two of them may share a block; other initiators are not kept out. Nothing
// is written if p does not lie within the disk. That data is safe from a loss of
// power only Flush tells.
//
// After an error, bytes behind the n that are returned may have been written, too.
func (l *LUN) WriteAtContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	switch {
	case off < 0:
		err = errNegative
	case l.protected:
		err = ErrWriteProtected
	case off > l.Size() || int64(len(p)) > l.Size()-off:
		err = ErrOutOfRange
	case len(p) == 0:
	case l.aligned(p, off):
		n, err = l.transfer(ctx, true, l.whole(p, off))
	default:
		n, err = l.writePartial(ctx, p, off)
	}
	if err != nil {
		return n, l.wrapIO("write", len(p), off, err)
	}
	return n, nil
}

// writePartial writes what is not whole blocks.
func (l *LUN) writePartial(ctx context.Context, p []byte, off int64) (int, error) {
	select {
	case l.partial <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-l.partial }()
	buf := l.scratch.Get().(*[]byte)
	defer l.scratch.Put(buf)
	e := l.split(p, off, *buf)
	if _, err := l.transfer(ctx, false, e.ends); err != nil {
		return 0, fmt.Errorf("read the blocks around: %w", err)
	}
	if len(e.first) > 0 {
		copy(e.firstBlock[e.skip:], e.first)
	}
	copy(e.lastBlock, e.last)
	done, err := l.transfer(ctx, true, e.all)
	return max(0, min(done-e.skip, len(p))), err
}

// Flush has the device write its cache to the medium (SYNCHRONIZE CACHE): when it
// returns, what was written before is safe. A device without the command has no
// cache.
func (l *LUN) Flush(ctx context.Context) error {
	_, err := l.query(ctx, scsi.SynchronizeCacheCDB(0, 0), nil)
	if e := refusal(err); e != nil && e.Sense.ASC == scsi.ASCInvalidCommand {
		return nil
	}
	return err
}

func (l *LUN) aligned(p []byte, off int64) bool {
	size := int64(l.capacity.BlockLength)
	return off%size == 0 && int64(len(p))%size == 0
}

// whole returns the one segment of whole blocks.
func (l *LUN) whole(p []byte, off int64) (g segments) {
	g.add(uint64(off)/uint64(l.capacity.BlockLength), p)
	return g
}

// edges is a request that is not whole blocks.
type edges struct {
	all, ends segments
	// firstBlock and lastBlock are the blocks of which only a part is meant, nil
	// if there is none: of the first block, what follows skip bytes. first and
	// last are the caller's memory for those parts.
	firstBlock, lastBlock []byte
	first, last           []byte
	skip                  int
}

// split takes a request apart, with room for two blocks in scratch.
func (l *LUN) split(p []byte, off int64, scratch []byte) (e edges) {
	size := l.BlockSize()
	lba := uint64(off) / uint64(size)
	if e.skip = int(off % int64(size)); e.skip > 0 || len(p) < size {
		e.firstBlock = scratch[:size]
		n := min(size-e.skip, len(p))
		e.first, p = p[:n], p[n:]
		e.all.add(lba, e.firstBlock)
		e.ends.add(lba, e.firstBlock)
		lba++
	}
	if n := len(p) - len(p)%size; n > 0 {
		e.all.add(lba, p[:n])
		p = p[n:]
		lba += uint64(n / size)
	}
	if len(p) > 0 {
		e.lastBlock, e.last = scratch[size:2*size], p
		e.all.add(lba, e.lastBlock)
		e.ends.add(lba, e.lastBlock)
	}
	return e
}

func (l *LUN) wrapIO(verb string, n int, off int64, err error) error {
	return l.wrap(fmt.Sprintf("%s %d bytes at %d of LUN %v", verb, n, off, l.ID()), err)
}
