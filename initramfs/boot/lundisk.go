package boot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bootlun/bootlun/initiator"
)

// lunDisk is a LUN that our initiator has open, for packages that know no
// context. Nothing waits longer than limit for it; once it is gone, nothing
// waits at all.
type lunDisk struct {
	lun   *initiator.LUN
	limit time.Duration

	mu   sync.Mutex
	gone error
}

func (d *lunDisk) ReadAt(p []byte, off int64) (int, error) {
	return d.do(func(ctx context.Context) (int, error) { return d.lun.ReadAtContext(ctx, p, off) })
}

// WriteAt is on the medium when it returns.
func (d *lunDisk) WriteAt(p []byte, off int64) (int, error) {
	return d.do(func(ctx context.Context) (int, error) {
		n, err := d.lun.WriteAtContext(ctx, p, off)
		if err == nil {
			err = d.lun.Flush(ctx)
		}
		return n, err
	})
}

func (d *lunDisk) do(f func(context.Context) (int, error)) (int, error) {
	if err := d.lost(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), d.limit,
		fmt.Errorf("the LUN has not answered for %s (bootlun.timeout=)", d.limit))
	defer cancel()
	n, err := f(ctx)
	if err == nil {
		return n, nil
	}
	late := ctx.Err() != nil
	if late {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if late || errors.Is(err, initiator.ErrConnectionLost) || errors.Is(err, initiator.ErrOtherDisk) {
		d.mu.Lock()
		d.gone = err
		d.mu.Unlock()
	}
	return n, err
}

// lost is why the LUN is gone; nil while it is there.
func (d *lunDisk) lost() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}
