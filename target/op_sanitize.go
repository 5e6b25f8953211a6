package target

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
)

// SANITIZE (SBC-4, 4.11 and 5.30). There is nothing encrypted that could be
// erased by its key.
var sanitizeOperations = []operation{
	{
		op: scsi.OpSanitize, action: scsi.ActionSanitizeOverwrite, flags: needsMedium | writes | strict,
		usage: []byte{0x48, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff, naca},
		check: checkOverwrite, run: runOverwrite,
	},
	{
		op: scsi.OpSanitize, action: scsi.ActionSanitizeBlockErase, flags: needsMedium | writes | strict | needsThin,
		usage: []byte{0x48, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff, naca},
		check: checkNoList, run: runBlockErase,
	},
	{
		op: scsi.OpSanitize, action: scsi.ActionSanitizeExitFailure, flags: needsMedium | writes | strict,
		usage: []byte{0x48, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff, naca},
		check: checkNoList, run: runExitFailure,
	},
}

// States of a sanitizer.
const (
	sanitizeIdle = iota
	sanitizeRunning
	sanitizeFailed     // to be left by a SANITIZE that succeeds
	sanitizeFailedFree // or by EXIT FAILURE MODE
)

// sanitizer is the sanitize operation of a unit. No task management ends it, nor
// does the end of the session that asked for it; the end of the service that
// this came by does, and makes it a failure. The zero value is idle.
type sanitizer struct {
	state       atomic.Int32
	done, total atomic.Int64 // bytes

	mu     sync.Mutex
	cancel context.CancelFunc
	ended  chan struct{} // closed at its end
}

var (
	errSanitizing     = scsi.CheckCondition(scsi.KeyNotReady, scsi.ASCSanitizeInProgress)
	errSanitizeFailed = scsi.CheckCondition(scsi.KeyMediumError, scsi.ASCSanitizeFailed)
)

// refuses returns why an operation cannot be carried out beside the sanitizing, or
// after it has failed.
func (z *sanitizer) refuses(o *operation) error {
	state := z.state.Load()
	if state == sanitizeIdle || o.is(duringSanitize) || o.op == scsi.OpSanitize && state != sanitizeRunning {
		return nil
	}
	return z.condition()
}

// excludes refuses a change to the medium beside the sanitizing.
func (z *sanitizer) excludes() error {
	if z.state.Load() != sanitizeRunning {
		return nil
	}
	return z.condition()
}

// condition says that the unit is being sanitized and how far that is, or that it
// has failed; nil if neither is so.
func (z *sanitizer) condition() error {
	switch z.state.Load() {
	case sanitizeIdle:
		return nil
	case sanitizeRunning:
		e := *errSanitizing
		e.Sense = e.Sense.WithProgress(uint16(float64(z.done.Load()) / float64(max(z.total.Load(), 1)) * 65535))
		return &e
	}
	return errSanitizeFailed
}

// stop ends what runs and waits for it, but not longer than within.
func (z *sanitizer) stop(within time.Duration) error {
	z.mu.Lock()
	cancel, ended := z.cancel, z.ended
	z.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	select {
	case <-ended:
		return nil
	case <-time.After(within):
		return ErrStillInUse
	}
}

func checkNoList(t *task) error {
	if scsi.ParseSanitize((*scsi.CDB)(&t.cdb)).Length != 0 {
		return scsi.InvalidCDBField(7, 7)
	}
	return nil
}

// checkOverwrite wants a header and a pattern of up to one block.
func checkOverwrite(t *task) error {
	n := int64(scsi.ParseSanitize((*scsi.CDB)(&t.cdb)).Length)
	if n < 5 || n > 4+t.unit().blockSize() {
		return scsi.InvalidCDBField(7, 7)
	}
	t.want = n
	return nil
}

// runOverwrite writes a pattern to every block, as often as is asked for.
func runOverwrite(t *task, _ bool) error {
	u := t.unit()
	p, err := scsi.ParseSanitizeOverwrite(t.params.b[:t.want])
	switch {
	case p.Test != 0:
		return scsi.InvalidParameterField(0, 6)
	case p.Count == 0:
		return scsi.InvalidParameterField(0, 4)
	case err != nil, len(p.Pattern) == 0, int64(len(p.Pattern)) > u.blockSize():
		return scsi.InvalidParameterField(2, 7)
	}
	piece := make([]byte, maxSegment)
	for at := 0; at < len(piece); at += int(u.blockSize()) {
		block := piece[at : at+int(u.blockSize())]
		for n := 0; n < len(block); {
			n += copy(block[n:], p.Pattern)
		}
	}
	passes := int64(p.Count)
	return t.sanitize(passes, func(pass, off, n int64) error {
		if p.Invert && pass > 0 && off == 0 {
			for i := range piece {
				piece[i] = ^piece[i]
			}
		}
		_, err := u.store.WriteAt(piece[:n], off)
		return err
	})
}

// runBlockErase gives up the space of every block. What then is on the storage
// underneath the store is up to that.
func runBlockErase(t *task, _ bool) error {
	u := t.unit()
	return t.sanitize(1, func(_, off, n int64) error {
		err := u.store.(store.Discarder).Discard(off, n)
		if errors.Is(err, errors.ErrUnsupported) {
			err = store.WriteZeroes(u.store, off, n)
		}
		return err
	})
}

// sanitize begins to call erase for all of the unit, piece by piece, on a
// goroutine of the service. The task ends when that does, or now with IMMED set.
func (t *task) sanitize(passes int64, erase func(pass, off, n int64) error) error {
	u, c := t.unit(), scsi.ParseSanitize((*scsi.CDB)(&t.cdb))
	ctx, cancel := context.WithCancel(t.c.v.ctx)
	z := &u.sanitizer
	z.mu.Lock()
	defer z.mu.Unlock()
	u.changing.Lock() // no write that has begun comes after
	if z.state.Load() == sanitizeRunning {
		u.changing.Unlock()
		cancel()
		return z.condition()
	}
	z.done.Store(0)
	z.total.Store(passes * u.bytes())
	z.state.Store(sanitizeRunning)
	u.changing.Unlock()
	ended := make(chan struct{})
	z.cancel, z.ended = cancel, ended

	var resume func(error)
	if !c.Immediate {
		resume = t.park()
	}
	log := t.c.log.With("lun", t.lun.String())
	log.Info("sanitizing", "command", (*scsi.CDB)(&t.cdb).String())
	t.c.v.wg.Go(func() {
		defer cancel()
		err := u.eraseAll(ctx, passes, erase)
		log.Info("sanitized", "error", err)
		switch {
		case err == nil:
			z.state.Store(sanitizeIdle)
		case c.Unrestricted:
			z.state.Store(sanitizeFailedFree)
		default:
			z.state.Store(sanitizeFailed)
		}
		close(ended)
		if resume != nil {
			if err != nil {
				err = errSanitizeFailed
			}
			resume(err)
		}
	})
	if resume != nil {
		return errParked
	}
	return nil
}

// bytes is the size of the unit.
func (u *unit) bytes() int64 { return int64(u.blocks.Load()) << u.shift }

// eraseAll calls erase for every piece of the unit in every pass, and takes the
// result to the medium.
func (u *unit) eraseAll(ctx context.Context, passes int64, erase func(pass, off, n int64) error) error {
	size := u.bytes()
	for pass := range passes {
		for off := int64(0); off < size; off += maxSegment {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			n := min(maxSegment, size-off)
			if err := erase(pass, off, n); err != nil {
				return err
			}
			u.sanitizer.done.Add(n)
		}
		if err := u.store.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// runExitFailure leaves the state after a failure, if that was allowed when the
// operation began.
func runExitFailure(t *task, _ bool) error {
	z := &t.unit().sanitizer
	if z.state.CompareAndSwap(sanitizeFailedFree, sanitizeIdle) || z.state.Load() == sanitizeIdle {
		return nil
	}
	return scsi.InvalidCDBField(1, 4)
}
