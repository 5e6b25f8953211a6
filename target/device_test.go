package target_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// serveShared serves one disk by two targets, one of them with two LUNs of it.
func serveShared(t *testing.T, s store.Store) (addr string, srv *target.Server) {
	t.Helper()
	return serve(t, target.Config{Targets: []*target.Target{
		{Name: testTarget, LUNs: []target.LUN{{Store: s, Removable: true}}},
		{Name: otherTarget, LUNs: []target.LUN{{Number: 3, Store: s, Removable: true}, {Number: 7, Store: s, Removable: true}}},
	}})
}

// to logs in to a target, and aims at a LUN of it.
func to(t *testing.T, addr, name string, lun int, opts ...loginOption) *client {
	t.Helper()
	return connect(t, addr, append(opts, toTarget(name))...).onLUN(lun).ready()
}

// TestSharedDisk expects LUNs of one store to be one disk.
func TestSharedDisk(t *testing.T) {
	addr, _ := serveShared(t, store.NewMemory(diskSize))
	a := to(t, addr, testTarget, 0)
	b := to(t, addr, otherTarget, 3)
	b.onLUN(7).ready()

	page := scsi.Inquiry{VPD: true, Page: scsi.VPDDeviceID, Length: 1024}.CDB()
	ofA := scsi.ParseDesignators(a.good(page, 1024, nil).data[4:])
	ofB := scsi.ParseDesignators(b.good(page, 1024, nil).data[4:])
	for i, d := range ofA {
		same := bytes.Equal(d.Value, ofB[i].Value)
		if want := d.Association == scsi.OfLogicalUnit || d.Type == scsi.DesignatorPortGroup; same != want {
			t.Errorf("designators %v and %v", d, ofB[i])
		}
	}

	protect := scsi.ModeData{Pages: scsi.AppendModePage(nil, scsi.ControlPage{TaskSets: 1, Reorder: 1, WriteProtect: true}.Page())}
	list := protect.Append(nil, false)
	a.good(scsi.ModeSelect{PageFormat: true, Length: uint16(len(list))}.CDB(), 0, list)
	for _, lun := range []int{3, 7} {
		b.onLUN(lun)
		b.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCModeParametersChanged)
		b.bad(transfer(scsi.OpWrite10, 0, 1), 0, pattern(512, 0), scsi.KeyDataProtect, scsi.ASCWriteProtected)
	}
	b.good(scsi.PreventAllowRemoval{Prevent: true}.CDB(), 0, nil)
	a.bad(scsi.StartStopUnit{Eject: true}.CDB(), 0, nil, scsi.KeyIllegalRequest, scsi.ASCMediumRemovalPrevented)
}

func TestSharedDiskSettings(t *testing.T) {
	s := store.NewMemory(diskSize)
	_, err := target.New(target.Config{Targets: []*target.Target{
		{Name: testTarget, LUNs: []target.LUN{{Store: s}}},
		{Name: otherTarget, LUNs: []target.LUN{{Store: s, ReadOnly: true}}},
	}})
	if err == nil || !strings.Contains(err.Error(), "other settings") {
		t.Errorf("one store as two different disks: %v", err)
	}
}

// TestSharedDiskResizes expects all to hear of a disk's new size, by whatever LUN
// it was changed.
func TestSharedDiskResizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := store.OpenFile(path, store.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	addr, srv := serveShared(t, file)
	a, b := to(t, addr, testTarget, 0), to(t, addr, otherTarget, 3)
	if _, err := srv.ResizeLUN(otherTarget, 7, 2<<20); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{a, b} {
		c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCCapacityChanged)
		c.good(transfer(scsi.OpRead10, 2<<20/512-1, 1), 512, nil)
	}
}

// TestSharedDiskOutlivesItsFirstLUN removes the LUN that a disk has its identity
// from.
func TestSharedDiskOutlivesItsFirstLUN(t *testing.T) {
	addr, srv := serveShared(t, store.NewMemory(diskSize))
	b := to(t, addr, otherTarget, 3)
	page := scsi.Inquiry{VPD: true, Page: scsi.VPDDeviceID, Length: 1024}.CDB()
	before := b.good(page, 1024, nil).data
	if err := srv.RemoveTarget(t.Context(), testTarget); err != nil {
		t.Fatal(err)
	}
	if err := srv.RemoveLUN(t.Context(), otherTarget, 7); err != nil {
		t.Fatal(err)
	}
	b.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCReportedLUNsChanged)
	if after := b.good(page, 1024, nil).data; !bytes.Equal(after, before) {
		t.Errorf("the disk's names were\n%x and are\n%x", before, after)
	}
}
