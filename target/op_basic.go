package target

import (
	"errors"

	"github.com/bootlun/bootlun/scsi"
)

// Commands of every device (SPC-4), and those about the medium as a whole.
var basicOperations = []operation{
	{
		op: scsi.OpTestUnitReady, action: noAction, flags: needsMedium,
		usage: []byte{0x00, 0, 0, 0, 0, naca},
		check: checkNothing, run: runNothing,
	},
	{
		op: scsi.OpRequestSense, action: noAction, flags: anyLUN | keepsAttention | duringSanitize,
		usage: []byte{0x03, 0x01, 0, 0, 0xff, naca},
		check: checkNothing, run: runRequestSense,
	},
	{
		op: scsi.OpInquiry, action: noAction, flags: anyLUN | keepsAttention | duringSanitize,
		usage: []byte{0x12, 0x01, 0xff, 0xff, 0xff, naca},
		check: checkNothing, run: runInquiry,
	},
	{
		op: scsi.OpReportLUNs, action: noAction, flags: anyLUN | keepsAttention | duringSanitize,
		usage: []byte{0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkNothing, run: runReportLUNs,
	},
	{
		op: scsi.OpModeSense6, action: noAction,
		usage: []byte{0x1a, 0x08, 0xff, 0xff, 0xff, naca},
		check: checkNothing, run: runModeSense,
	},
	{
		op: scsi.OpModeSense10, action: noAction,
		usage: []byte{0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, naca},
		check: checkNothing, run: runModeSense,
	},
	{
		op: scsi.OpModeSelect6, action: noAction,
		usage: []byte{0x15, 0x11, 0, 0, 0xff, naca},
		check: checkModeSelect, run: runModeSelect,
	},
	{
		op: scsi.OpModeSelect10, action: noAction,
		usage: []byte{0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, naca},
		check: checkModeSelect, run: runModeSelect,
	},
	{
		op: scsi.OpMaintenanceIn, action: scsi.ActionReportSupportedOpcodes, flags: duringSanitize,
		usage: []byte{0xa3, 0x1f, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkNothing, run: runReportOpcodes,
	},
	{
		op: scsi.OpMaintenanceIn, action: scsi.ActionReportSupportedTMFs, flags: duringSanitize,
		usage: []byte{0xa3, 0x1f, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkNothing, run: runReportTMFs,
	},
	{
		op: scsi.OpStartStopUnit, action: noAction,
		usage: []byte{0x1b, 0x01, 0, 0, 0xf7, naca},
		check: checkNothing, run: runStartStop,
	},
	{
		op: scsi.OpPreventAllowRemoval, action: noAction,
		usage: []byte{0x1e, 0, 0, 0, 0x03, naca},
		check: checkNothing, run: runPreventAllow,
	},
}

func checkNothing(*task) error { return nil }

func runNothing(*task, bool) error { return nil }

// runRequestSense returns as data what would be said of the next command
// (SPC-4, 6.39).
func runRequestSense(t *task, _ bool) error {
	c := scsi.ParseRequestSense((*scsi.CDB)(&t.cdb))
	sense := scsi.Sense{}
	switch {
	case t.lun == reportLUNs:
	case t.nx == nil:
		sense = errLUN.Sense
	default:
		var next *scsi.Error
		if told, ok := t.nx.takeAttention(); ok {
			sense = told
		} else if errors.As(t.unit().sanitizer.condition(), &next) {
			sense = next.Sense
		} else if t.unit().ejected.Load() {
			sense = errNoMedium.Sense
		}
	}
	if c.Descriptor {
		t.reply(sense.AppendDescriptor(nil), int(c.Length))
	} else {
		t.reply(sense.AppendFixed(nil), int(c.Length))
	}
	return nil
}

// runReportLUNs lists the units that the session may use (SPC-4, 6.33).
func runReportLUNs(t *task, _ bool) error {
	c := scsi.ParseReportLUNs((*scsi.CDB)(&t.cdb))
	luns := t.s.luns()
	switch c.Select {
	case 0: // no well-known ones
	case 1:
		luns = []uint64{uint64(reportLUNs)}
	case 2:
		luns = append(luns, uint64(reportLUNs))
	default:
		return scsi.InvalidCDBField(2, 7)
	}
	t.reply(scsi.AppendLUNs(nil, luns), int(min(c.Length, 1<<31-1)))
	for _, n := range *t.s.nexuses.Load() {
		n.forget(scsi.ASCReportedLUNsChanged)
	}
	return nil
}

// Reporting options of REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35.1).
const (
	reportAll       = 0
	reportOpcode    = 1
	reportAction    = 2
	reportEitherWay = 3
)

// runReportOpcodes tells which commands there are (SPC-4, 6.35).
func runReportOpcodes(t *task, _ bool) error {
	c := scsi.ParseReportSupportedOpcodes((*scsi.CDB)(&t.cdb))
	allocated := int(min(c.Length, 1<<31-1))
	if c.Options == reportAll {
		var all []scsi.SupportedOp
		for _, list := range t.operations() {
			for _, o := range list {
				if t.unit().supports(o) {
					all = append(all, o.supported())
				}
			}
		}
		t.reply(scsi.AppendSupportedOps(nil, all, c.Timeouts), allocated)
		return nil
	}
	if c.Options > reportEitherWay {
		return scsi.InvalidCDBField(2, 2)
	}
	var found *scsi.SupportedOp
	for _, o := range t.operations()[c.Op] {
		switch {
		case c.Options == reportOpcode && o.action != noAction,
			c.Options == reportAction && o.action == noAction:
			return scsi.InvalidCDBField(2, 2) // asked for in the wrong way
		case t.unit().supports(o) && (o.action == noAction || o.action == int(c.ServiceAction)):
			s := o.supported()
			found = &s
		}
	}
	t.reply(scsi.AppendSupportedOp(nil, found, c.Timeouts), allocated)
	return nil
}

func (o *operation) supported() scsi.SupportedOp {
	s := scsi.SupportedOp{Op: o.op, Usage: o.usage}
	if o.action != noAction {
		s.HasServiceAction, s.ServiceAction = true, uint16(o.action)
	}
	return s
}

// runReportTMFs tells which task management functions there are (SPC-4, 6.36).
func runReportTMFs(t *task, _ bool) error {
	const abortTask, abortTaskSet, clearTaskSet, unitReset, targetReset = 0x80, 0x40, 0x10, 0x08, 0x02
	c := scsi.ParseReportSupportedTMFs((*scsi.CDB)(&t.cdb))
	data := []byte{abortTask | abortTaskSet | clearTaskSet | unitReset | targetReset, 0, 0, 0}
	if c.Extended { // with timeouts, of which none is told
		data[3] = 12
		data = append(data, make([]byte, 12)...)
	}
	t.reply(data, int(min(c.Length, 1<<31-1)))
	return nil
}

// supports tells whether the unit has a command.
func (u *unit) supports(o *operation) bool { return u.thin || !o.is(needsThin) }

// runStartStop loads and ejects the medium, if there is a way to (SBC-4, 5.31).
func runStartStop(t *task, wait bool) error {
	u := t.unit()
	c := scsi.ParseStartStopUnit((*scsi.CDB)(&t.cdb))
	switch {
	case c.PowerCondition != 0: // LOEJ and START mean nothing then; there is no power to save
		return nil
	case c.Eject && !u.removable:
		return scsi.InvalidCDBField(4, 1)
	case c.Eject && c.Start:
		return u.move(t.nx, false)
	case c.Start:
		u.wear.starts.Add(1)
		return nil
	}
	if !c.NoFlush && !u.readOnly {
		if err := u.flush(wait); err != nil {
			return err
		}
	}
	if c.Eject {
		return u.move(t.nx, true)
	}
	return nil
}

// move ejects the medium or loads it, unless an initiator prevents that, and
// tells the nexuses but the one that asked for it.
func (u *unit) move(by *nexus, out bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.ejected.Load() == out:
		return nil
	case u.prevented():
		return errRemovalPrevented
	}
	u.ejected.Store(out)
	for n := range u.nexuses {
		n.mediaEvent = scsi.MediaNew
		if out {
			n.mediaEvent = scsi.MediaRemoval
		} else if n != by {
			n.alert(scsi.ASCMediumMayHaveChanged)
		}
	}
	return nil
}

// prevented tells whether an initiator prevents the removal of the medium. The
// caller holds u.mu.
func (u *unit) prevented() bool {
	for n := range u.nexuses {
		if n.prevents {
			return true
		}
	}
	return false
}

func (u *unit) removalPrevented() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.prevented()
}

// runPreventAllow notes whether a nexus allows the medium to be ejected (SBC-4,
// 5.15).
func runPreventAllow(t *task, _ bool) error {
	c := scsi.ParsePreventAllowRemoval((*scsi.CDB)(&t.cdb))
	u := t.unit()
	u.mu.Lock()
	defer u.mu.Unlock()
	t.nx.prevents = c.Prevent
	return nil
}
