package target

import (
	"bytes"

	"github.com/bootlun/bootlun/scsi"
)

// modePages are the mode pages that units have, in order.
var modePages = []uint8{scsi.ModePageCaching, scsi.ModePageControl}

// runModeSense answers MODE SENSE (SPC-4, 6.11 and 6.12).
func runModeSense(t *task, _ bool) error {
	c := scsi.ParseModeSense((*scsi.CDB)(&t.cdb))
	u := t.unit()
	if c.Control == scsi.SavedValues {
		return errSaving
	}
	if c.Subpage != 0 && c.Subpage != scsi.ModeSubpageAll {
		return scsi.InvalidCDBField(3, 7)
	}
	data := scsi.ModeData{WriteProtect: u.writeProtected(), DPOFUA: true}
	if !c.NoDescriptor {
		data.Blocks, data.BlockLength, data.LongLBA = u.blocks.Load(), uint32(u.blockSize()), c.LongLBA
	}
	for _, page := range modePages {
		if c.Page == page || c.Page == scsi.ModePageAll {
			data.Pages = scsi.AppendModePage(data.Pages, u.modePage(page, c.Control))
		}
	}
	if len(data.Pages) == 0 {
		return scsi.InvalidCDBField(2, 5)
	}
	t.reply(data.Append(nil, c.Ten), int(c.Length))
	return nil
}

// modePage returns a mode page of modePages. All that can be changed is SWP.
func (u *unit) modePage(page uint8, control scsi.PageControl) scsi.ModePage {
	if page == scsi.ModePageCaching {
		p := scsi.CachingPage{WriteCache: !u.writeThrough && !u.readOnly}.Page()
		if control == scsi.ChangeableValues {
			clear(p.Body)
		}
		return p
	}
	switch control {
	case scsi.ChangeableValues:
		return scsi.ControlPage{WriteProtect: true}.Page()
	case scsi.DefaultValues:
		return scsi.ControlPage{TaskSets: 1, Reorder: 1}.Page()
	}
	return scsi.ControlPage{TaskSets: 1, Reorder: 1, WriteProtect: u.protected.Load()}.Page()
}

func (u *unit) writeProtected() bool { return u.readOnly || u.protected.Load() }

func checkModeSelect(t *task) error {
	c := scsi.ParseModeSelect((*scsi.CDB)(&t.cdb))
	switch {
	case !c.PageFormat:
		return scsi.InvalidCDBField(1, 4)
	case c.Save:
		return scsi.InvalidCDBField(1, 0)
	}
	t.want = int64(c.Length)
	return nil
}

// runModeSelect sets what can be changed in mode pages (SPC-4, 6.9 and 6.10). If
// a page says anything else that is not so already, nothing is changed.
func runModeSelect(t *task, _ bool) error {
	if t.want == 0 {
		return nil
	}
	u := t.unit()
	data, err := scsi.ParseModeData(t.params.b[:t.want], scsi.ParseModeSelect((*scsi.CDB)(&t.cdb)).Ten)
	if err != nil {
		return errListLength
	}
	if data.BlockLength != 0 && int64(data.BlockLength) != u.blockSize() {
		return errParameter
	}
	pages, err := scsi.ParseModePages(data.Pages)
	if err != nil {
		return errListLength
	}
	protect := u.protected.Load()
	for _, p := range pages {
		if p.Subpage != 0 || !u.acceptable(p) {
			return errParameter
		}
		if p.Page == scsi.ModePageControl {
			protect = scsi.ParseControlPage(p.Body).WriteProtect
		}
	}
	if u.protected.Swap(protect) != protect {
		u.alertOthers(t.nx, scsi.ASCModeParametersChanged)
	}
	return nil
}

// acceptable tells whether a page differs from the current one only where it may.
func (u *unit) acceptable(p scsi.ModePage) bool {
	if !bytes.Contains(modePages, []byte{p.Page}) {
		return false
	}
	now := u.modePage(p.Page, scsi.CurrentValues).Body
	mask := u.modePage(p.Page, scsi.ChangeableValues).Body
	if len(p.Body) != len(now) {
		return false
	}
	for i := range now {
		if (now[i]^p.Body[i])&^mask[i] != 0 {
			return false
		}
	}
	return true
}
