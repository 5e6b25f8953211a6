package target

import (
	"slices"

	"github.com/bootlun/bootlun/scsi"
)

// maxCDBlocks is what fits a CD of 80 minutes: a larger disc is a DVD.
const maxCDBlocks = 80 * 60 * 75

// discOperations are the commands of a CD-ROM drive (MMC-6): those of every
// device, the few about the medium that drives share with disks, and its own.
var discOperations = slices.Concat(
	basicOperations,
	slices.DeleteFunc(slices.Clone(readOperations), func(o operation) bool {
		return !slices.Contains([]scsi.OpCode{scsi.OpReadCapacity10, scsi.OpRead10, scsi.OpRead12, scsi.OpVerify10}, o.op)
	}),
	reserveOperations,
	[]operation{
		{
			op: scsi.OpReadTOC, action: noAction, flags: needsMedium,
			usage: []byte{0x43, 0x02, 0x0f, 0, 0, 0, 0xff, 0xff, 0xff, 0xc0 | naca},
			check: checkNothing, run: runReadTOC,
		},
		{
			op: scsi.OpGetConfiguration, action: noAction, flags: keepsAttention,
			usage: []byte{0x46, 0x03, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, naca},
			check: checkNothing, run: runGetConfiguration,
		},
		{
			op: scsi.OpGetEventStatus, action: noAction, flags: keepsAttention,
			usage: []byte{0x4a, 0x01, 0, 0, 0xff, 0, 0, 0xff, 0xff, naca},
			check: checkNothing, run: runGetEventStatus,
		},
		{
			op: scsi.OpReadDiscInformation, action: noAction, flags: needsMedium,
			usage: []byte{0x51, 0x07, 0, 0, 0, 0, 0, 0xff, 0xff, naca},
			check: checkNothing, run: runReadDiscInformation,
		},
		{
			op: scsi.OpReadTrackInformation, action: noAction, flags: needsMedium,
			usage: []byte{0x52, 0x03, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, naca},
			check: checkNothing, run: runReadTrackInformation,
		},
		{
			op: scsi.OpReadDiscStructure, action: noAction, flags: needsMedium,
			usage: []byte{0xad, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, naca},
			check: checkNothing, run: runReadDiscStructure,
		},
		{
			op: scsi.OpSetCDSpeed, action: noAction,
			usage: []byte{0xbb, 0x03, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, naca},
			check: checkNothing, run: runNothing, // it is as fast as it can be
		},
		{
			op: scsi.OpMechanismStatus, action: noAction, flags: keepsAttention,
			usage: []byte{0xbd, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, naca},
			check: checkNothing, run: runMechanismStatus,
		},
	},
)

// discModePages are the mode pages of CD-ROM drives, in order.
var discModePages = []modePage{
	{scsi.ModePageRecovery, recoveryPage, nil},
	{scsi.ModePageControl, controlPage, setControl},
	{scsi.ModePageCapabilities, capabilitiesPage, nil},
}

func capabilitiesPage(u *unit, control scsi.PageControl) scsi.ModePage {
	p := scsi.CapabilitiesPage(control == scsi.CurrentValues && u.removalPrevented())
	if control == scsi.ChangeableValues {
		clear(p.Body)
	}
	return p
}

// isDisc tells whether the unit is a CD-ROM drive.
func (u *unit) isDisc() bool { return u.inquiry.Type == scsi.TypeCDROM }

// discBlocks is the size of the disc.
func (u *unit) discBlocks() uint32 { return uint32(min(u.blocks.Load(), 1<<32-1)) }

// profile is what the disc makes of the drive.
func (u *unit) profile() uint16 {
	switch {
	case u.ejected.Load():
		return scsi.ProfileNone
	case u.blocks.Load() > maxCDBlocks:
		return scsi.ProfileDVD
	}
	return scsi.ProfileCD
}

// features are the drive's, in order.
func (u *unit) features() []scsi.Feature {
	now := u.profile()
	profile := func(code uint16) []byte {
		current := byte(0)
		if code == now {
			current = 1
		}
		return []byte{byte(code >> 8), byte(code), current, 0}
	}
	readable := now != scsi.ProfileNone
	return []scsi.Feature{
		{Code: scsi.FeatureProfiles, Persistent: true, Current: true, Data: slices.Concat(profile(scsi.ProfileDVD), profile(scsi.ProfileCD))},
		{Code: scsi.FeatureCore, Version: 2, Persistent: true, Current: true, Data: []byte{0, 0, 0, 1, 0x01, 0, 0, 0}},     // over SCSI
		{Code: scsi.FeatureMorphing, Version: 1, Persistent: true, Current: true, Data: []byte{0x02, 0, 0, 0}},             // OCEvent
		{Code: scsi.FeatureRemovable, Version: 1, Persistent: true, Current: true, Data: []byte{0x29, 0, 0, 0}},            // tray, can eject and lock
		{Code: scsi.FeatureRandomRead, Current: readable, Data: []byte{0, 0, scsi.BytesPerDiscBlock >> 8, 0, 0, 16, 0, 0}}, // by 16 blocks
		{Code: scsi.FeatureCDRead, Version: 2, Current: now == scsi.ProfileCD, Data: []byte{0, 0, 0, 0}},
		{Code: scsi.FeatureDVDRead, Version: 1, Current: now == scsi.ProfileDVD, Data: []byte{0, 0, 0, 0}},
	}
}

func runReadTOC(t *task, _ bool) error {
	c := scsi.ParseReadTOC((*scsi.CDB)(&t.cdb))
	data, ok := c.Append(nil, t.unit().discBlocks())
	switch {
	case ok:
		t.reply(data, int(c.Length))
		return nil
	case c.Format > 2:
		return scsi.InvalidCDBField(2, 3)
	}
	return scsi.InvalidCDBField(6, 7)
}

func runGetConfiguration(t *task, _ bool) error {
	c := scsi.ParseGetConfiguration((*scsi.CDB)(&t.cdb))
	if c.Requested > 2 {
		return scsi.InvalidCDBField(1, 1)
	}
	u := t.unit()
	t.reply(c.Append(nil, u.profile(), u.features()), int(c.Length))
	return nil
}

// runGetEventStatus tells what has happened to the disc since the nexus asked
// last. There is nothing to wait for, so the initiator must poll.
func runGetEventStatus(t *task, _ bool) error {
	c := scsi.ParseGetEventStatus((*scsi.CDB)(&t.cdb))
	if !c.Polled {
		return scsi.InvalidCDBField(1, 0)
	}
	u := t.unit()
	u.mu.Lock()
	out := u.ejected.Load()
	event := scsi.MediaEvent{Event: t.nx.mediaEvent, Present: !out, TrayOpen: out}
	if c.Classes&(1<<scsi.MediaClass) != 0 {
		t.nx.mediaEvent = scsi.MediaUnchanged
	}
	u.mu.Unlock()
	t.reply(c.Append(nil, event), int(c.Length))
	return nil
}

// discLength is the allocation length of a command that has it in two bytes.
func (t *task) discLength(at int) int { return int(t.cdb[at])<<8 | int(t.cdb[at+1]) }

func runReadDiscInformation(t *task, _ bool) error {
	if t.cdb[1]&0x07 != 0 { // other data types
		return scsi.InvalidCDBField(1, 2)
	}
	t.reply(scsi.AppendDiscInformation(nil), t.discLength(7))
	return nil
}

func runReadTrackInformation(t *task, _ bool) error {
	t.reply(scsi.AppendTrackInformation(nil, t.unit().discBlocks()), t.discLength(7))
	return nil
}

// runReadDiscStructure tells of a DVD what it is like.
func runReadDiscStructure(t *task, _ bool) error {
	u := t.unit()
	switch {
	case u.profile() != scsi.ProfileDVD:
		return scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCIncompatibleMedium)
	case t.cdb[6] != 0: // layer
		return scsi.InvalidCDBField(6, 7)
	case t.cdb[7] == 1: // copyright: none
		t.reply([]byte{0, 6, 0, 0, 0, 0, 0, 0}, t.discLength(8))
	case t.cdb[7] == 0:
		t.reply(scsi.AppendDVDPhysical(nil, u.discBlocks()), t.discLength(8))
	default:
		return scsi.InvalidCDBField(7, 7)
	}
	return nil
}

func runMechanismStatus(t *task, _ bool) error {
	t.reply(scsi.AppendMechanismStatus(nil, t.unit().ejected.Load()), t.discLength(8))
	return nil
}
