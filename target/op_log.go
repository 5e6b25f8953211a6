package target

import (
	"encoding/binary"
	"slices"
	"sync/atomic"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
)

// LOG SENSE (SPC-4, 6.8 and 7.3; SBC-4, 6.4): what tools read of a disk's health.
var logOperations = []operation{{
	op: scsi.OpLogSense, action: noAction, flags: duringSanitize,
	usage: []byte{0x4d, 0, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, naca},
	check: checkLogSense, run: runLogSense,
}}

// wear is what the log pages count of a unit, beside what meters do.
type wear struct {
	readErrors, writeErrors atomic.Uint64
	starts                  atomic.Uint32
	past                    Counts // of nexuses that are gone; guarded by unit.mu
}

// logPage is a log page that units have. Without wait, its values may return
// errWait.
type logPage struct {
	page   scsi.LogPage
	values func(t *task, wait bool) ([]scsi.LogParameter, error)
}

// logPages are those of all units, in order. Supported pages come before them.
var logPages = []logPage{
	{scsi.LogWriteErrors, func(t *task, _ bool) ([]scsi.LogParameter, error) {
		u := t.unit()
		return errorCounters(u.counts()[WriteCommands].Bytes, u.wear.writeErrors.Load()), nil
	}},
	{scsi.LogReadErrors, func(t *task, _ bool) ([]scsi.LogParameter, error) {
		u := t.unit()
		return errorCounters(u.counts()[ReadCommands].Bytes, u.wear.readErrors.Load()), nil
	}},
	{scsi.LogProvisioning, provisioned},
	{scsi.LogStartStop, func(t *task, _ bool) ([]scsi.LogParameter, error) {
		const accumulated = 0x0004
		return []scsi.LogParameter{{Code: accumulated, Control: scsi.LogList, Value: binary.BigEndian.AppendUint32(nil, t.unit().wear.starts.Load())}}, nil
	}},
	{scsi.LogInformational, func(*task, bool) ([]scsi.LogParameter, error) {
		return []scsi.LogParameter{{Control: scsi.LogList, Value: []byte{0, 0, 0xff, 0}}}, nil // no exception; no temperature
	}},
}

func errorCounters(bytes, errors uint64) []scsi.LogParameter {
	return []scsi.LogParameter{
		{Code: scsi.LogBytesProcessed, Value: binary.BigEndian.AppendUint64(nil, bytes)},
		{Code: scsi.LogUncorrectedErrors, Value: binary.BigEndian.AppendUint64(nil, errors)},
	}
}

// thresholdShift is the log2 of the blocks in what the Logical Block Provisioning
// log page counts in.
const thresholdShift = 11

// provisioned says how much of a thin unit takes space.
func provisioned(t *task, wait bool) ([]scsi.LogParameter, error) {
	const used, dedicated = 0x0002, 0x01
	u := t.unit()
	if !wait {
		return nil, errWait
	}
	held, size := int64(0), u.bytes()
	for off := int64(0); off < size && !t.isAborted(); {
		allocated, n, err := store.Map(u.store, off, size-off)
		if err != nil {
			return nil, u.mediumError(err, off, scsi.ASCUnrecoveredReadError)
		}
		if allocated {
			held += n
		}
		off += n
	}
	unit := int64(1) << (u.shift + thresholdShift)
	count := binary.BigEndian.AppendUint32(nil, uint32((held+unit-1)/unit))
	return []scsi.LogParameter{{Code: used, Control: scsi.LogList, Value: append(count, dedicated, 0, 0, 0)}}, nil
}

// counts sums up what all nexuses of the unit have done.
func (u *unit) counts() Counts {
	u.mu.Lock()
	defer u.mu.Unlock()
	sum := u.wear.past
	for n := range u.nexuses {
		c := n.meter.counts()
		sum.add(&c)
	}
	return sum
}

func checkLogSense(t *task) error {
	switch c := scsi.ParseLogSense((*scsi.CDB)(&t.cdb)); {
	case c.Save:
		return scsi.InvalidCDBField(1, 0)
	case c.Subpage != 0:
		return scsi.InvalidCDBField(3, 7)
	}
	return nil
}

func runLogSense(t *task, wait bool) error {
	c := scsi.ParseLogSense((*scsi.CDB)(&t.cdb))
	pages := slices.DeleteFunc(slices.Clone(logPages), func(p logPage) bool {
		return p.page == scsi.LogProvisioning && !t.unit().thin
	})
	if c.Page == scsi.LogSupportedPages {
		codes := []byte{byte(scsi.LogSupportedPages)}
		for _, p := range pages {
			codes = append(codes, byte(p.page))
		}
		t.reply(scsi.AppendLogBody(nil, c.Page, codes), int(c.Length))
		return nil
	}
	i := slices.IndexFunc(pages, func(p logPage) bool { return p.page == c.Page })
	if i < 0 {
		return scsi.InvalidCDBField(2, 5)
	}
	list, err := pages[i].values(t, wait)
	if err != nil {
		return err
	}
	if list[len(list)-1].Code < c.Parameter {
		return scsi.InvalidCDBField(5, 7)
	}
	list = slices.DeleteFunc(list, func(p scsi.LogParameter) bool { return p.Code < c.Parameter })
	t.reply(scsi.AppendLogPage(nil, c.Page, list), int(c.Length))
	return nil
}
