package initiator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

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

// LUN is a disk. It is an io.ReaderAt and io.WriterAt. Its methods may be called at
// the same time.
type LUN struct {
	paths []*path
	turn  atomic.Uint32 // of paths of the same rank

	// Set when the disk is opened.
	opened       bool // what follows is known
	inquiry      scsi.InquiryData
	identifier   string
	capacity     scsi.Capacity // but for Blocks
	limits       scsi.BlockLimits
	provisioning scsi.Provisioning
	protected    bool
	writeCache   bool
	maxTransfer  int // bytes in a command, whole blocks

	blocks    atomic.Uint64
	attention atomic.Pointer[func(scsi.Sense)]
	// zeroing is the best way to write zeros that the device has not refused.
	zeroing atomic.Uint32
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
	return openDisk(ctx, []*path{newPath(s, id)})
}

func openDisk(ctx context.Context, paths []*path) (*LUN, error) {
	l := &LUN{paths: paths, partial: make(chan struct{}, 1)}
	if err := l.open(ctx); err != nil {
		return nil, l.wrap("open LUN "+l.ID().String(), err)
	}
	l.scratch.New = func() any {
		b := make([]byte, 2*l.BlockSize())
		return &b
	}
	l.opened = true
	for _, p := range paths {
		p.s.watch(l)
	}
	return l, nil
}

func (l *LUN) open(ctx context.Context) error {
	var tries retry
	for {
		p, _, err := l.pick(ctx, l.paths)
		if err == nil {
			break
		}
		if err = l.again(ctx, &tries, p, err, true); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{l.readLimits, l.readProvisioning, l.readModes} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
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

// readProvisioning asks for the Logical Block Provisioning page, which only thin
// devices have.
func (l *LUN) readProvisioning(ctx context.Context) error {
	body, err := l.VPD(ctx, scsi.VPDProvisioning)
	if refusal(err) != nil || errors.Is(err, errNoPage) {
		return nil
	}
	l.provisioning = scsi.ParseProvisioning(body)
	return err
}

// readModes asks for the WP bit and the write cache; devices need not know MODE
// SENSE.
func (l *LUN) readModes(ctx context.Context) error {
	if l.inquiry.Type == scsi.TypeCDROM {
		l.protected = true
		return nil
	}
	m, err := l.modes(ctx)
	if err == nil {
		l.protected = m.WriteProtect
	}
	if refusal(err) != nil || errors.Is(err, errNoPage) {
		return nil
	}
	return err
}

// modes reads all mode pages, and notes the write cache.
func (l *LUN) modes(ctx context.Context) (scsi.ModeData, error) {
	sense := scsi.ModeSense{NoDescriptor: true, Page: scsi.ModePageAll, Length: 252}
	b, err := l.query(ctx, sense.CDB(), make([]byte, 252))
	if err != nil {
		return scsi.ModeData{}, err
	}
	m, err := scsi.ParseModeData(b, false)
	if err != nil {
		return m, fmt.Errorf("%w: %w", errNoPage, err)
	}
	pages, _ := scsi.ParseModePages(m.Pages) // those that came whole
	for _, p := range pages {
		if p.Page == scsi.ModePageCaching && p.Subpage == 0 {
			l.writeCache = scsi.ParseCachingPage(p.Body).WriteCache
		}
	}
	return m, nil
}

var errNoPage = errors.New("the device sent something else than the page")

// VPD reads a vital product data page and returns its body, which the Parse
// functions of package scsi take. If the device does not have the page, there is
// an *scsi.Error in the error.
func (l *LUN) VPD(ctx context.Context, page scsi.VPDPage) ([]byte, error) {
	const size = 4096
	b, err := l.query(ctx, scsi.Inquiry{VPD: true, Page: page, Length: size}.CDB(), make([]byte, size))
	if err != nil {
		return nil, err
	}
	body, err := scsi.ParseVPD(b, page)
	if err != nil {
		return nil, l.wrap(fmt.Sprintf("read VPD page 0x%02x of LUN %v", uint8(page), l.ID()), fmt.Errorf("%w: %w", errNoPage, err))
	}
	return body, nil
}

// refusal returns the device's error if it is one, and not a failure of the way to
// it. istgt refuses without saying why.
func refusal(err error) *scsi.Error {
	var e *scsi.Error
	if errors.As(err, &e) && e.Status == scsi.StatusCheckCondition &&
		(e.Sense.Key == scsi.KeyIllegalRequest || e.Sense.Key == scsi.KeyNoSense) {
		return e
	}
	return nil
}

// ID returns the LUN's number, by the first path.
func (l *LUN) ID() iscsi.LUN { return l.paths[0].id }

// Session returns the session of the first path.
func (l *LUN) Session() *Session { return l.paths[0].s }

// Identifier returns the disk's name in the world, such as "naa.6001405...", from
// the Device Identification page; "" if it has none.
func (l *LUN) Identifier() string { return l.identifier }

// Inquiry returns the device's standard INQUIRY data.
func (l *LUN) Inquiry() scsi.InquiryData { return l.inquiry }

// Capacity returns what READ CAPACITY said; Blocks follows changes as Size does.
func (l *LUN) Capacity() scsi.Capacity {
	c := l.capacity
	c.Blocks = l.blocks.Load()
	return c
}

// Limits returns the device's Block Limits page, zero if it has none.
func (l *LUN) Limits() scsi.BlockLimits { return l.limits }

// Provisioning returns the device's Logical Block Provisioning page, zero if it has
// none: then the disk is not thin.
func (l *LUN) Provisioning() scsi.Provisioning { return l.provisioning }

// WriteProtected reports whether the device said that it takes no writes.
func (l *LUN) WriteProtected() bool { return l.protected }

// WriteCache reports whether the device said, when it was opened, that it has a
// volatile write cache: without, Flush has nothing to do.
func (l *LUN) WriteCache() bool { return l.writeCache }

// BlockSize returns the bytes of a logical block.
func (l *LUN) BlockSize() int { return int(l.capacity.BlockLength) }

// PhysicalBlockSize returns the bytes of a physical block: writes of less may cost
// the device a read.
func (l *LUN) PhysicalBlockSize() int { return l.BlockSize() << l.capacity.PhysicalExponent }

// Size returns the bytes of the disk. It changes when the device says so, in the
// place of a command's answer or after a new login.
func (l *LUN) Size() int64 { return int64(l.blocks.Load()) * int64(l.capacity.BlockLength) }

// OnAttention has f called with each unit attention that the device tells in the
// place of a command's answer (SPC-4, 4.5.4), or the target in an asynchronous message
// (RFC 7143, 11.9). f runs on the goroutine of that command, or of its own, so several
// may run at a time; it must not Close the session. nil calls nobody.
func (l *LUN) OnAttention(f func(scsi.Sense)) {
	for _, p := range l.paths {
		p.s.listen(l, f != nil)
	}
	if f == nil {
		l.attention.Store(nil)
		return
	}
	l.attention.Store(&f)
}

// Execute runs a command on the LUN, whatever its status comes to. It is like
// Session.Execute, with the LUN's path; Command.LUN does not matter.
func (l *LUN) Execute(ctx context.Context, cmd Command) (Result, error) {
	return l.execute(ctx, l.paths, cmd)
}

// execute is Execute with some of the LUN's paths.
func (l *LUN) execute(ctx context.Context, paths []*path, cmd Command) (Result, error) {
	var tries retry
	for {
		p, n, err := l.pick(ctx, paths)
		var r Result
		sent := false
		if err == nil {
			cmd.LUN = p.id
			r, sent, err = n.execute(ctx, &cmd)
		}
		if err == nil {
			l.heed(p, r.Err())
			return r, nil
		}
		if err = l.again(ctx, &tries, p, err, !sent || repeatable(&cmd.CDB)); err != nil {
			return Result{}, l.wrap(fmt.Sprintf("%s on LUN %v", cmd.CDB.Name(), l.ID()), err)
		}
	}
}

// query runs a command that reads into in, again where that is due, and returns
// what it has read.
func (l *LUN) query(ctx context.Context, cdb scsi.CDB, in []byte) ([]byte, error) {
	r, err := l.command(ctx, l.paths, Command{CDB: cdb, In: in})
	return in[:len(in)-max(r.Residual, 0)], err
}

// command runs a command to success, again where that is due, by one of the paths.
func (l *LUN) command(ctx context.Context, paths []*path, cmd Command) (Result, error) {
	var tries retry
	for {
		r, err := l.execute(ctx, paths, cmd)
		if err == nil {
			err = r.Err()
		}
		if err == nil {
			return r, nil
		}
		if !tries.again(ctx, err) {
			return Result{}, l.wrap(fmt.Sprintf("%s on LUN %v", cmd.CDB.Name(), l.ID()), reserved(err))
		}
	}
}

// reserved adds ErrReserved to what says so.
func reserved(err error) error {
	var e *scsi.Error
	if errors.As(err, &e) && e.Status == scsi.StatusReservationConflict {
		return fmt.Errorf("%w: %w", ErrReserved, err)
	}
	return err
}

func (l *LUN) wrap(op string, err error) error { return l.paths[0].s.wrap(op, err) }
