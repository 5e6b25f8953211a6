package initiator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

const (
	// maxTransfer is the most bytes that one command moves, if the device takes
	// as many.
	maxTransfer = 1 << 20
	// maxBlockSize is the longest block that is believed.
	maxBlockSize = 1 << 16
	// maxReportedLUNs bounds what REPORT LUNS may claim: all numbers of the flat
	// address space.
	maxReportedLUNs = iscsi.MaxLUN + 1
)

// LUN is a disk of a session. It is an io.ReaderAt and io.WriterAt. Its methods may
// be called at the same time.
type LUN struct {
	s           *Session
	id          iscsi.LUN
	inquiry     scsi.InquiryData
	capacity    scsi.Capacity
	limits      scsi.BlockLimits
	protected   bool
	maxTransfer int // bytes in a command, whole blocks

	// partial is held while a block is read, changed and written back.
	partial chan struct{}
	// scratch holds *[]byte of two blocks.
	scratch sync.Pool
}

// LUNs returns the session's logical units (REPORT LUNS; SPC-4, 6.33), disks and
// others.
func (s *Session) LUNs(ctx context.Context) ([]iscsi.LUN, error) {
	size := 8 + 8*256
	for {
		b, err := s.query(ctx, 0, scsi.ReportLUNs{Length: uint32(size)}.CDB(), make([]byte, size))
		if err != nil {
			return nil, err
		}
		luns, total, err := scsi.ParseLUNs(b)
		if err != nil {
			return nil, s.wrap("REPORT LUNS", err)
		}
		if want := 8 + 8*min(total, maxReportedLUNs); want > size {
			size = want
			continue
		}
		list := make([]iscsi.LUN, len(luns))
		for i, l := range luns {
			list[i] = iscsi.LUN(l)
		}
		return list, nil
	}
}

// OpenLUN makes a disk ready for use: it asks for its identity, size and limits,
// and takes the unit attentions that wait. A device that becomes ready is waited
// for. The error wraps ErrNoLUN if there is no disk.
func (s *Session) OpenLUN(ctx context.Context, id iscsi.LUN) (*LUN, error) {
	l := &LUN{s: s, id: id, partial: make(chan struct{}, 1)}
	if err := l.open(ctx); err != nil {
		return nil, s.wrap(fmt.Sprintf("open LUN %v", id), err)
	}
	l.scratch.New = func() any {
		b := make([]byte, 2*l.BlockSize())
		return &b
	}
	return l, nil
}

func (l *LUN) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		l.identify, l.awaitReady, l.measure, l.readLimits, l.readProtection,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *LUN) identify(ctx context.Context) error {
	b, err := l.s.query(ctx, l.id, scsi.Inquiry{Length: 96}.CDB(), make([]byte, 96))
	if e := refusal(err); e != nil && e.Sense.ASC == scsi.ASCLUNNotSupported {
		return fmt.Errorf("%w: %w", ErrNoLUN, err)
	}
	if err != nil {
		return err
	}
	if l.inquiry, err = scsi.ParseInquiryData(b); err != nil {
		return err
	}
	switch q := l.inquiry.Qualifier; {
	case q != scsi.QualifierConnected:
		return fmt.Errorf("%w: nothing is there (peripheral qualifier %d)", ErrNoLUN, q)
	case l.inquiry.Type != scsi.TypeDisk && l.inquiry.Type != scsi.TypeCDROM:
		return fmt.Errorf("%w but a device of type 0x%02x", ErrNoLUN, uint8(l.inquiry.Type))
	}
	return nil
}

func (l *LUN) awaitReady(ctx context.Context) error {
	_, err := l.s.query(ctx, l.id, scsi.TestUnitReadyCDB(), nil)
	return err
}

// measure asks for the capacity, the short way if the device does not know the long
// one.
func (l *LUN) measure(ctx context.Context) error {
	long := make([]byte, scsi.Capacity16Length)
	b, err := l.s.query(ctx, l.id, scsi.ReadCapacity16{Length: uint32(len(long))}.CDB(), long)
	if err == nil {
		l.capacity, err = scsi.ParseCapacity16(b)
	} else if refusal(err) != nil {
		err = l.measureShort(ctx)
	}
	if err != nil {
		return err
	}
	size := uint64(l.capacity.BlockLength)
	if size == 0 || size > maxBlockSize || l.capacity.Blocks > math.MaxInt64/size {
		return fmt.Errorf("capacity of %d blocks of %d bytes is beyond belief", l.capacity.Blocks, size)
	}
	l.setMaxTransfer(maxTransfer)
	return nil
}

func (l *LUN) measureShort(ctx context.Context) error {
	b, err := l.s.query(ctx, l.id, scsi.ReadCapacity10CDB(), make([]byte, scsi.Capacity10Length))
	if err != nil {
		return err
	}
	var tooLarge bool
	if l.capacity, tooLarge, err = scsi.ParseCapacity10(b); err == nil && tooLarge {
		err = errors.New("the disk is too large for READ CAPACITY(10) and does not know READ CAPACITY(16)")
	}
	return err
}

func (l *LUN) setMaxTransfer(bytes int) {
	size := l.BlockSize()
	l.maxTransfer = max(bytes/size, 1) * size
}

// readLimits asks for the Block Limits page, which devices need not have.
func (l *LUN) readLimits(ctx context.Context) error {
	body, err := l.VPD(ctx, scsi.VPDBlockLimits)
	if refusal(err) != nil || errors.Is(err, errNoPage) {
		return nil
	}
	if err != nil {
		return err
	}
	l.limits = scsi.ParseBlockLimits(body)
	if n := int(l.limits.MaxTransfer); n > 0 {
		l.setMaxTransfer(min(l.maxTransfer, n*l.BlockSize()))
	}
	return nil
}

// readProtection asks for the WP bit; devices need not know MODE SENSE.
func (l *LUN) readProtection(ctx context.Context) error {
	if l.inquiry.Type == scsi.TypeCDROM {
		l.protected = true
		return nil
	}
	sense := scsi.ModeSense{NoDescriptor: true, Page: scsi.ModePageAll, Length: 252}
	b, err := l.s.query(ctx, l.id, sense.CDB(), make([]byte, 252))
	if refusal(err) != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if m, err := scsi.ParseModeData(b, false); err == nil {
		l.protected = m.WriteProtect
	}
	return nil
}

var errNoPage = errors.New("the device sent something else than the page")

// VPD reads a vital product data page and returns its body, which the Parse
// functions of package scsi take. If the device does not have the page, there is
// an *scsi.Error in the error.
func (l *LUN) VPD(ctx context.Context, page scsi.VPDPage) ([]byte, error) {
	const size = 4096
	b, err := l.s.query(ctx, l.id, scsi.Inquiry{VPD: true, Page: page, Length: size}.CDB(), make([]byte, size))
	if err != nil {
		return nil, err
	}
	body, err := scsi.ParseVPD(b, page)
	if err != nil {
		return nil, l.s.wrap(fmt.Sprintf("read VPD page 0x%02x of LUN %v", uint8(page), l.id), fmt.Errorf("%w: %w", errNoPage, err))
	}
	return body, nil
}

// refusal returns the device's error if it is one, and not a failure of the way to
// it.
func refusal(err error) *scsi.Error {
	var e *scsi.Error
	if errors.As(err, &e) && e.Status == scsi.StatusCheckCondition && e.Sense.Key == scsi.KeyIllegalRequest {
		return e
	}
	return nil
}

// ID returns the LUN's number.
func (l *LUN) ID() iscsi.LUN { return l.id }

// Session returns the session that the LUN was opened in.
func (l *LUN) Session() *Session { return l.s }

// Inquiry returns the device's standard INQUIRY data.
func (l *LUN) Inquiry() scsi.InquiryData { return l.inquiry }

// Capacity returns what READ CAPACITY said when the LUN was opened.
func (l *LUN) Capacity() scsi.Capacity { return l.capacity }

// Limits returns the device's Block Limits page, zero if it has none.
func (l *LUN) Limits() scsi.BlockLimits { return l.limits }

// WriteProtected reports whether the device said that it takes no writes.
func (l *LUN) WriteProtected() bool { return l.protected }

// BlockSize returns the bytes of a logical block.
func (l *LUN) BlockSize() int { return int(l.capacity.BlockLength) }

// Size returns the bytes of the disk.
func (l *LUN) Size() int64 { return int64(l.capacity.Blocks) * int64(l.capacity.BlockLength) }
