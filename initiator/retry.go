package initiator

import (
	"context"
	"errors"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

const (
	// maxAttentions is how often in a row a command is sent again because the
	// device had something to say first.
	maxAttentions = 16
	// maxBusy is how often because the device was busy; with busyDelay it makes
	// half a minute.
	maxBusy   = 150
	busyDelay = 200 * time.Millisecond
)

// retry counts the attempts at a command.
type retry struct{ attentions, busy, losses int }

// again reports whether a command that failed so is worth another attempt, and
// waits until it is due. A unit attention is told once, in a command's place, and
// the command is not executed (SAM-5, 5.14); a device that is busy or not ready
// yet asks for patience.
func (r *retry) again(ctx context.Context, err error) bool {
	var e *scsi.Error
	if !errors.As(err, &e) {
		return false
	}
	key, asc := e.Sense.Key, e.Sense.ASC
	check := e.Status == scsi.StatusCheckCondition
	switch {
	case check && (key == scsi.KeyUnitAttention || key == scsi.KeyAbortedCommand):
		r.attentions++
		return r.attentions <= maxAttentions && ctx.Err() == nil
	case check && key == scsi.KeyNotReady && asc == scsi.ASCBecomingReady,
		e.Status == scsi.StatusBusy, e.Status == scsi.StatusTaskSetFull:
		r.busy++
		return r.busy <= maxBusy && sleep(ctx, busyDelay)
	}
	return false
}

// sleep reports whether the time has passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// query runs a command that reads into in, again where that is due, and returns
// what it has read.
func (s *Session) query(ctx context.Context, lun iscsi.LUN, cdb scsi.CDB, in []byte) ([]byte, error) {
	var attempts retry
	for {
		r, err := s.Execute(ctx, Command{LUN: lun, CDB: cdb, In: in})
		if err != nil {
			return nil, err
		}
		if err = r.Err(); err == nil {
			return in[:len(in)-max(r.Residual, 0)], nil
		}
		if !attempts.again(ctx, err) {
			return nil, s.wrap(cdb.Name()+" on LUN "+lun.String(), err)
		}
	}
}
