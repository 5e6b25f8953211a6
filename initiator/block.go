package initiator

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/bootlun/bootlun/scsi"
)

const (
	// maxZeroed and maxUnmapped bound the blocks of one command where the device
	// does not say: it must answer before anybody loses patience.
	maxZeroed   = 1 << 16
	maxUnmapped = 1 << 22
)

// Discard tells the device that n bytes at off are not needed any more (UNMAP, or
// WRITE SAME with its UNMAP bit; SBC-4, 5.35 and 5.52). What they then read as, the
// device decides: see Provisioning. Blocks at the ends that are not meant in whole
// stay. The error wraps errors.ErrUnsupported if the device has no use for it.
func (l *LUN) Discard(ctx context.Context, off, n int64) error {
	err := l.checkChange(off, n)
	if err == nil {
		size := int64(l.BlockSize())
		first, end := (off+size-1)/size, (off+n)/size
		err = l.discard(ctx, uint64(first), uint64(max(first, end)))
	}
	if err != nil {
		return l.wrap(fmt.Sprintf("discard %d bytes at %d of LUN %v", n, off, l.ID()), err)
	}
	return nil
}

// checkChange reports why a range must not be changed.
func (l *LUN) checkChange(off, n int64) error {
	switch {
	case l.protected:
		return ErrWriteProtected
	case off < 0 || n < 0:
		return errNegative
	case off > l.Size() || n > l.Size()-off:
		return ErrOutOfRange
	}
	return nil
}

func (l *LUN) discard(ctx context.Context, lba, end uint64) error {
	unmap := l.provisioning.Unmap || l.capacity.Provisioned && l.limits.MaxUnmapBlocks > 0 && l.limits.MaxUnmapRanges > 0
	if !unmap && !l.provisioning.WriteSame16 {
		return fmt.Errorf("the device cannot unmap blocks: %w", errors.ErrUnsupported)
	}
	limit := l.maxZeroed()
	if unmap {
		limit = maxUnmapped
		if m := l.limits.MaxUnmapBlocks; m > 0 {
			limit = uint64(m)
		}
	}
	for lba < end {
		n := l.granules(lba, min(end-lba, limit))
		cmd, err := l.sameCommand(lba, n, zeroUnmap)
		if unmap {
			list := scsi.AppendUnmap(nil, []scsi.UnmapRange{{LBA: lba, Blocks: uint32(n)}})
			cmd, err = Command{CDB: scsi.Unmap{Length: uint16(len(list))}.CDB(), Out: list}, nil
		}
		if err == nil {
			_, err = l.command(ctx, l.paths, cmd)
		}
		if err != nil {
			return err
		}
		lba += n
	}
	return nil
}

// granules shortens a run of blocks at lba, if it can, so that it ends where one of
// the device's unmap granules does: a granule cut in two would stay.
func (l *LUN) granules(lba, n uint64) uint64 {
	g := uint64(l.limits.UnmapGranularity)
	if g <= 1 {
		return n
	}
	start := uint64(0)
	if l.limits.HasUnmapAlignment {
		start = uint64(l.limits.UnmapAlignment) % g
	}
	if over := (lba + n + g - start) % g; over < n {
		return n - over
	}
	return n
}

// Ways to write zeros, best first; a device that refuses one is not asked again.
const (
	zeroUnknown = iota // the device has not been asked what it knows
	zeroNoData         // WRITE SAME without data (NDOB)
	zeroBlock          // WRITE SAME with a block of zeros
	zeroWrite          // WRITE

	zeroUnmap = -1 // WRITE SAME with a block of zeros and the UNMAP bit
)

// WriteZeroes makes n bytes at off read as zeros, with little data on the wire where
// the device knows WRITE SAME (SBC-4, 5.52). With unmap, a thin device may let go
// of the blocks. The range need not lie on block boundaries.
func (l *LUN) WriteZeroes(ctx context.Context, off, n int64, unmap bool) error {
	err := l.checkChange(off, n)
	if err == nil {
		err = l.writeZeroes(ctx, off, n, unmap)
	}
	if err != nil {
		return l.wrap(fmt.Sprintf("write %d zeros at %d of LUN %v", n, off, l.ID()), err)
	}
	return nil
}

func (l *LUN) writeZeroes(ctx context.Context, off, n int64, unmap bool) error {
	size := int64(l.BlockSize())
	if head := min(n, (size-off%size)%size); head > 0 {
		if _, err := l.WriteAtContext(ctx, make([]byte, head), off); err != nil {
			return err
		}
		off, n = off+head, n-head
	}
	lba := uint64(off / size)
	if err := l.zero(ctx, lba, lba+uint64(n/size), unmap); err != nil {
		return err
	}
	if tail := n % size; tail > 0 {
		_, err := l.WriteAtContext(ctx, make([]byte, tail), off+n-tail)
		return err
	}
	return nil
}

// zero makes whole blocks zero.
func (l *LUN) zero(ctx context.Context, lba, end uint64, unmap bool) error {
	unmap = unmap && l.provisioning.WriteSame16 && (l.capacity.ReadZeros || l.provisioning.ReadZeros&1 != 0)
	if l.zeroing.Load() == zeroUnknown {
		if err := l.learnZeroing(ctx); err != nil {
			return err
		}
	}
	for lba < end {
		way := int(l.zeroing.Load())
		if unmap && way < zeroWrite {
			way = zeroUnmap
		}
		n := min(end-lba, l.maxZeroed())
		if way == zeroWrite {
			return l.zeroPlainly(ctx, lba, end)
		}
		cmd, err := l.sameCommand(lba, n, way)
		if err == nil {
			_, err = l.command(ctx, l.paths, cmd)
		}
		switch e := refusal(err); {
		case err == nil:
			lba += n
		case e == nil || e.Sense.ASC != scsi.ASCInvalidCommand && e.Sense.ASC != scsi.ASCInvalidFieldInCDB:
			return err
		case way == zeroUnmap:
			unmap = false
		default:
			l.zeroing.CompareAndSwap(uint32(way), uint32(way+1))
		}
	}
	return nil
}

// learnZeroing asks which WRITE SAME the device knows (REPORT SUPPORTED OPERATION
// CODES; SPC-4, 6.35). One that does not tell is not given NDOB: tgt, which does not
// know that bit, waits for ever for the data that then does not come.
func (l *LUN) learnZeroing(ctx context.Context) error {
	const size = 64
	ask := scsi.ReportSupportedOpcodes{Options: 1, Op: scsi.OpWriteSame16, Length: size}
	b, err := l.query(ctx, ask.CDB(), make([]byte, size))
	way := uint32(zeroBlock)
	if err == nil {
		known, usage, err := scsi.ParseSupportedOp(b)
		switch {
		case err == nil && !known:
			way = zeroWrite
		case len(usage) > 1 && usage[1]&0x01 != 0: // the NDOB bit
			way = zeroNoData
		}
	} else if refusal(err) == nil {
		return err
	}
	l.zeroing.CompareAndSwap(zeroUnknown, way)
	return nil
}

// zeroPlainly writes zeros as data.
func (l *LUN) zeroPlainly(ctx context.Context, lba, end uint64) error {
	size := int64(l.BlockSize())
	p := make([]byte, min(int64(end-lba)*size, int64(l.maxTransfer)))
	for off := int64(lba) * size; off < int64(end)*size; {
		n, err := l.WriteAtContext(ctx, p[:min(int64(len(p)), int64(end)*size-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// maxZeroed returns the most blocks for one WRITE SAME.
func (l *LUN) maxZeroed() uint64 {
	if m := l.limits.MaxWriteSame; m > 0 {
		return min(m, math.MaxUint32)
	}
	return maxZeroed
}

// sameCommand returns a WRITE SAME of zeros.
func (l *LUN) sameCommand(lba, n uint64, way int) (Command, error) {
	t := scsi.Transfer{Op: scsi.OpWriteSame16, LBA: lba, Blocks: uint32(n), NoData: way == zeroNoData, Unmap: way == zeroUnmap}
	cdb, err := t.CDB()
	cmd := Command{CDB: cdb}
	if !t.NoData {
		cmd.Out = make([]byte, l.BlockSize())
	}
	return cmd, err
}

// Mapped reports whether a thin device has memory for what is at off, and for how
// many bytes from there on that holds (GET LBA STATUS; SBC-4, 5.6). What is not
// mapped reads as zeros if Provisioning says so. The error wraps
// errors.ErrUnsupported if the device does not tell.
func (l *LUN) Mapped(ctx context.Context, off int64) (mapped bool, n int64, err error) {
	op := fmt.Sprintf("ask for the state at %d of LUN %v", off, l.ID())
	if off < 0 || off >= l.Size() {
		return false, 0, l.wrap(op, ErrOutOfRange)
	}
	size := int64(l.BlockSize())
	lba := uint64(off / size)
	b, err := l.query(ctx, scsi.GetLBAStatus{LBA: lba, Length: 24}.CDB(), make([]byte, 24))
	if refusal(err) != nil {
		return false, 0, l.wrap(op, fmt.Errorf("%w: %w", errors.ErrUnsupported, err))
	}
	if err != nil {
		return false, 0, err
	}
	list, err := scsi.ParseLBAStatus(b)
	if err != nil {
		return false, 0, l.wrap(op, err)
	}
	if len(list) == 0 || list[0].LBA > lba || lba-list[0].LBA >= uint64(list[0].Blocks) {
		return false, 0, l.wrap(op, errors.New("the device answers about other blocks"))
	}
	end := min(list[0].LBA+uint64(list[0].Blocks), l.blocks.Load())
	return list[0].State == scsi.BlocksMapped, int64(end)*size - off, nil
}
