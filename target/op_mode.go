package target

import (
	"math/bits"
	"sync/atomic"

	"github.com/bootlun/bootlun/scsi"
)

// modes is what initiators can set of a unit by MODE SELECT. The zero value is
// the default, to which a reset brings it back: there is nothing to save it in.
type modes struct {
	protected  atomic.Bool // SWP: no writes
	descriptor atomic.Bool // D_SENSE: sense data has the descriptor format
	uncached   atomic.Bool // WCE off: writes go through to the medium
}

func (m *modes) reset() {
	m.protected.Store(false)
	m.descriptor.Store(false)
	m.uncached.Store(false)
}

// modePage is a mode page that units have.
type modePage struct {
	page uint8
	get  func(*unit, scsi.PageControl) scsi.ModePage
	set  func(u *unit, body []byte) (changed bool) // nil: there is nothing to set
}

// diskModePages are those of disks, in order.
var diskModePages = []modePage{
	{scsi.ModePageRecovery, recoveryPage, nil},
	{scsi.ModePageCaching, cachingPage, setCaching},
	{scsi.ModePageControl, controlPage, setControl},
	{scsi.ModePageInformational, informationalPage, nil},
}

func (u *unit) modePages() []modePage {
	if u.isDisc() {
		return discModePages
	}
	return diskModePages
}

// recoveryPage says that errors are not hidden, nor retried.
func recoveryPage(*unit, scsi.PageControl) scsi.ModePage {
	return scsi.ModePage{Page: scsi.ModePageRecovery, Body: make([]byte, 10)}
}

// informationalPage says that the unit does not foretell its failure (DEXCPT).
func informationalPage(_ *unit, control scsi.PageControl) scsi.ModePage {
	body := make([]byte, 10)
	if control != scsi.ChangeableValues {
		body[0] = 0x08
	}
	return scsi.ModePage{Page: scsi.ModePageInformational, Body: body}
}

// cachingPage tells of the write cache, which can be turned off, and on again,
// where the configuration has one.
func cachingPage(u *unit, control scsi.PageControl) scsi.ModePage {
	cache := !u.writeThrough && !u.readOnly
	if control == scsi.CurrentValues {
		cache = cache && !u.modes.uncached.Load()
	}
	return scsi.CachingPage{WriteCache: cache}.Page()
}

func setCaching(u *unit, body []byte) bool {
	off := !scsi.ParseCachingPage(body).WriteCache && !u.writeThrough && !u.readOnly
	return u.modes.uncached.Swap(off) != off
}

func controlPage(u *unit, control scsi.PageControl) scsi.ModePage {
	switch control {
	case scsi.ChangeableValues:
		return scsi.ControlPage{WriteProtect: true, DescriptorSense: true}.Page()
	case scsi.DefaultValues:
		return scsi.ControlPage{TaskSets: 1, Reorder: 1}.Page()
	}
	return scsi.ControlPage{
		TaskSets: 1, Reorder: 1, WriteProtect: u.modes.protected.Load(), DescriptorSense: u.modes.descriptor.Load(),
	}.Page()
}

func setControl(u *unit, body []byte) bool {
	p := scsi.ParseControlPage(body)
	protect := u.modes.protected.Swap(p.WriteProtect) != p.WriteProtect
	return u.modes.descriptor.Swap(p.DescriptorSense) != p.DescriptorSense || protect
}

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
	data := scsi.ModeData{WriteProtect: u.writeProtected(), DPOFUA: !u.isDisc()}
	if !c.NoDescriptor && !u.isDisc() {
		data.Blocks, data.BlockLength, data.LongLBA = u.blocks.Load(), uint32(u.blockSize()), c.LongLBA
	}
	for _, p := range u.modePages() {
		if c.Page == p.page || c.Page == scsi.ModePageAll {
			data.Pages = scsi.AppendModePage(data.Pages, p.get(u, c.Control))
		}
	}
	if len(data.Pages) == 0 {
		return scsi.InvalidCDBField(2, 5)
	}
	t.reply(data.Append(nil, c.Ten), int(c.Length))
	return nil
}

func (u *unit) writeProtected() bool { return u.readOnly || u.modes.protected.Load() }

// throughNow tells whether writes go through to the medium.
func (u *unit) throughNow() bool { return u.writeThrough || u.modes.uncached.Load() }

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
// a page says anything else that is not so already, nothing is changed. The cache
// is written back whatever is set.
func runModeSelect(t *task, wait bool) error {
	if t.want == 0 {
		return nil
	}
	u := t.unit()
	if !u.throughNow() && !u.readOnly {
		if err := u.flush(wait); err != nil {
			return err
		}
	}
	list := t.params.b[:t.want]
	data, err := scsi.ParseModeData(list, scsi.ParseModeSelect((*scsi.CDB)(&t.cdb)).Ten)
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
	at := len(list) - len(data.Pages)
	for _, p := range pages {
		if err := u.checkPage(p, at); err != nil {
			return err
		}
		at += 2 + len(p.Body) // there are no subpages
	}
	changed := false
	for _, p := range pages {
		if set := u.modePage(p.Page).set; set != nil {
			changed = set(u, p.Body) || changed
		}
	}
	if changed {
		u.alertOthers(t.nx, scsi.ASCModeParametersChanged)
	}
	return nil
}

// modePage returns the unit's page of a code, nil if it has none.
func (u *unit) modePage(code uint8) *modePage {
	for i, p := range u.modePages() {
		if p.page == code {
			return &u.modePages()[i]
		}
	}
	return nil
}

// checkPage refuses a page that the unit does not have, or that differs from the
// current one where it may not. It is at an offset in the parameter list.
func (u *unit) checkPage(p scsi.ModePage, at int) error {
	own := u.modePage(p.Page)
	if own == nil {
		return scsi.InvalidParameterField(at, 5)
	}
	now, mask := own.get(u, scsi.CurrentValues).Body, own.get(u, scsi.ChangeableValues).Body
	if p.Subpage != 0 || len(p.Body) != len(now) {
		return scsi.InvalidParameterField(at+1, 7)
	}
	for i := range now {
		if wrong := (now[i] ^ p.Body[i]) &^ mask[i]; wrong != 0 {
			return scsi.InvalidParameterField(at+2+i, bits.Len8(wrong)-1)
		}
	}
	return nil
}
