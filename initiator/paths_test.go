package initiator

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// twoPaths opens the disks of two fake targets as one.
func twoPaths(t *testing.T, a, b *pathDisk) (*LUN, error) {
	var list []Path
	for _, d := range []*pathDisk{a, b} {
		d.fakes = newFakes(t, d.serve)
		s := dial(t, recovering(d.fakes))
		list = append(list, Path{s, 0})
	}
	return OpenPaths(t.Context(), list...)
}

// pathDisk is a disk with an identifier and access states, as one of two ports shows
// it.
type pathDisk struct {
	*fakes
	naa   byte
	group uint16
	alua  []scsi.PortGroup // nil: it has no such thing
	told  scsi.ASC         // a unit attention to tell
	cut   bool             // ends the connection at the next command
	reads int
}

func (d *pathDisk) serve(f *fake) error {
	zero := zeroDisk{blocks: 100}
	for {
		b, _, err := f.next()
		if err != nil {
			return err
		}
		if b.Opcode() == iscsi.OpLogoutRequest {
			return f.reply(&iscsi.LogoutResponse{ITT: b.ITT()}, true)
		}
		var c iscsi.SCSICommand
		if err := c.Decode(&b); err != nil {
			return err
		}
		if err := d.answer(f, c, &zero); err != nil {
			return err
		}
	}
}

func (d *pathDisk) answer(f *fake, c iscsi.SCSICommand, zero *zeroDisk) error {
	cdb := scsi.CDB(c.CDB)
	d.mu.Lock()
	defer d.mu.Unlock()
	send := func(p []byte) error {
		n := min(len(p), int(c.ExpectedLength))
		return errors.Join(f.data(c, 0, p[:n]), f.reply(&iscsi.SCSIResponse{ITT: c.ITT, Underflow: true, ResidualCount: c.ExpectedLength - uint32(n)}, true))
	}
	if cdb.Op() == scsi.OpRead10 {
		d.reads++
	}
	switch {
	case d.cut:
		d.cut = false
		return errCut
	case d.told != 0:
		asc := d.told
		d.told = 0
		return f.check(c, scsi.CheckCondition(scsi.KeyUnitAttention, asc))
	case cdb.Op() == scsi.OpInquiry && cdb[1]&1 != 0 && scsi.VPDPage(cdb[2]) == scsi.VPDDeviceID:
		list := []scsi.Designator{scsi.NAADesignator([]byte{0x30, 0, 0, 0, 0, 0, 0, d.naa}), scsi.PortGroupDesignator(d.group)}
		return send(scsi.AppendVPD(nil, 0, scsi.VPDDeviceID, scsi.AppendDesignators(nil, list)))
	case cdb.Op() == scsi.OpInquiry && cdb[1]&1 == 0 && d.alua != nil:
		q := scsi.InquiryData{Type: scsi.TypeDisk, Vendor: "BOOTLUN", Product: "FAKE", TPGS: 1}
		return send(q.Append(nil))
	case cdb.Op() == scsi.OpMaintenanceIn:
		return send(scsi.AppendPortGroups(nil, d.alua, false))
	}
	return zero.serve(f, c)
}

// count returns and forgets how many reads the ports have seen.
func count(disks ...*pathDisk) (n []int) {
	for _, d := range disks {
		d.mu.Lock()
		n = append(n, d.reads)
		d.reads = 0
		d.mu.Unlock()
	}
	return n
}

func read(t *testing.T, l *LUN, times int) {
	t.Helper()
	for range times {
		if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// Without access states the first path is used while it is there, and again when it
// is back.
func TestPathsFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &pathDisk{naa: 1}, &pathDisk{naa: 1}
		l, err := twoPaths(t, a, b)
		if err != nil {
			t.Fatal(err)
		}
		read(t, l, 4)
		if n := count(a, b); n[0] != 4 || n[1] != 0 {
			t.Errorf("reads %v", n)
		}
		a.mu.Lock()
		a.cut, a.fakes.refuse = true, func(string) error { return errors.New("down") }
		a.mu.Unlock()
		start := time.Now()
		read(t, l, 4) // the first of them was lost
		if n := count(a, b); n[0] != 1 || n[1] != 4 || time.Since(start) != 0 {
			t.Errorf("reads %v after %v", n, time.Since(start))
		}
		b.mu.Lock()
		b.cut, b.fakes.refuse = true, a.fakes.refuse
		b.mu.Unlock()
		back := time.AfterFunc(20*time.Second, func() {
			a.mu.Lock()
			a.fakes.refuse = nil
			a.mu.Unlock()
		})
		defer back.Stop()
		read(t, l, 4)
		if n := count(a, b); n[0] != 4 || n[1] != 1 || time.Since(start) < 20*time.Second {
			t.Errorf("reads %v after %v", n, time.Since(start))
		}
		for _, p := range l.paths {
			p.s.Close()
		}
	})
}

// Paths that are active/optimized take turns; a change is heard of on any path.
func TestPathsStates(t *testing.T) {
	groups := func(a, b scsi.AccessState) []scsi.PortGroup {
		return []scsi.PortGroup{{ID: 1, State: a, Ports: []uint16{1}}, {ID: 2, State: b, Ports: []uint16{2}}}
	}
	synctest.Test(t, func(t *testing.T) {
		a, b := &pathDisk{naa: 1, group: 1}, &pathDisk{naa: 1, group: 2}
		set := func(states []scsi.PortGroup, told scsi.ASC) {
			for _, d := range []*pathDisk{a, b} {
				if d.fakes != nil {
					d.mu.Lock()
					defer d.mu.Unlock()
				}
				d.alua, d.told = states, told
			}
		}
		set(groups(scsi.ActiveOptimized, scsi.ActiveOptimized), 0)
		l, err := twoPaths(t, a, b)
		if err != nil {
			t.Fatal(err)
		}
		read(t, l, 2) // both have been looked at
		count(a, b)
		for _, c := range []struct {
			a, b scsi.AccessState
			want [2]int
		}{
			{scsi.ActiveOptimized, scsi.ActiveOptimized, [2]int{5, 5}},
			{scsi.ActiveNonOptimized, scsi.ActiveOptimized, [2]int{0, 10}},
			{scsi.ActiveNonOptimized, scsi.ActiveNonOptimized, [2]int{10, 0}},
			{scsi.Standby, scsi.ActiveNonOptimized, [2]int{0, 10}},
			{scsi.ActiveOptimized, scsi.Unavailable, [2]int{10, 0}},
		} {
			set(groups(c.a, c.b), scsi.ASCAsymmetricAccessChanged)
			read(t, l, 2) // in the place of which the change is told
			count(a, b)
			read(t, l, 10)
			if n := count(a, b); [2]int(n) != c.want {
				t.Errorf("%v, %v: reads %v, want %v", c.a, c.b, n, c.want)
			}
		}
		for _, p := range l.paths {
			p.s.Close()
		}
	})
}

// A path to another disk is not used; without an identifier there is no telling.
func TestPathsIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &pathDisk{naa: 1}, &pathDisk{naa: 2}
		l, err := twoPaths(t, a, b)
		if err != nil {
			t.Fatal(err)
		}
		if l.Identifier() != "naa.3000000000000001" {
			t.Errorf("identifier %q", l.Identifier())
		}
		a.mu.Lock()
		a.cut, a.fakes.refuse = true, func(string) error { return errors.New("down") }
		a.mu.Unlock()
		if _, err := l.ReadAt(make([]byte, 512), 0); !errors.Is(err, ErrConnectionLost) || !errors.Is(err, ErrOtherDisk) {
			t.Errorf("err = %v", err)
		}
		if n := count(b); n[0] != 0 {
			t.Error("another disk was read")
		}
		for _, p := range l.paths {
			p.s.Close()
		}
	})
}
