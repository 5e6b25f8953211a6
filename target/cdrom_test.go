package target_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// serveDisc serves a CD-ROM.
func serveDisc(t *testing.T, s store.Store) (addr string) {
	addr, _ = serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{{Store: s, CDROM: true}}}}})
	return addr
}

func TestCDROM(t *testing.T) {
	const blocks = 5000
	memory := store.NewMemory(blocks*2048 + 512)
	data := pattern(3*2048, 4)
	if _, err := memory.WriteAt(data, 16*2048); err != nil {
		t.Fatal(err)
	}
	addr := serveDisc(t, memory)
	c := connect(t, addr, withISID(1)).ready()
	other := connect(t, addr, withISID(2)).ready()
	q, err := scsi.ParseInquiryData(c.good(scsi.Inquiry{Length: 96}.CDB(), 96, nil).data)
	if err != nil || q.Type != scsi.TypeCDROM || !q.Removable {
		t.Errorf("INQUIRY data %+v, %v", q, err)
	}
	capacity, _, err := scsi.ParseCapacity10(c.good(scsi.ReadCapacity10CDB(), 8, nil).data)
	if err != nil || capacity.Blocks != blocks || capacity.BlockLength != 2048 {
		t.Errorf("capacity %+v, %v", capacity, err)
	}
	for _, op := range []scsi.OpCode{scsi.OpRead10, scsi.OpRead12} {
		if r := c.good(transfer(op, 16, 3), len(data), nil); !bytes.Equal(r.data, data) {
			t.Errorf("%v: not what is on the disc", op)
		}
	}
	c.bad(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 2048), scsi.KeyIllegalRequest, scsi.ASCInvalidCommand)
	c.bad(scsi.ReadTOC{Format: 9, Length: 255}.CDB(), 255, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
	c.bad(scsi.GetEventStatus{Classes: 0x10, Length: 8}.CDB(), 8, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)

	event := func(c *client) scsi.MediaEvent {
		e, ok := scsi.ParseMediaEvent(c.good(scsi.GetEventStatus{Polled: true, Classes: 0x10, Length: 8}.CDB(), 8, nil).data)
		if !ok {
			t.Error("no media event")
		}
		return e
	}
	profile := func() uint16 {
		r := c.good(scsi.GetConfiguration{Length: 8}.CDB(), 8, nil)
		return binary.BigEndian.Uint16(r.data[6:])
	}
	if p := profile(); p != scsi.ProfileCD {
		t.Errorf("profile %#x", p)
	}
	c.good(scsi.StartStopUnit{Eject: true}.CDB(), 0, nil)
	if e, want := event(other), (scsi.MediaEvent{Event: scsi.MediaRemoval, TrayOpen: true}); e != want {
		t.Errorf("after ejecting: %+v, want %+v", e, want)
	}
	if p := profile(); p != scsi.ProfileNone {
		t.Errorf("profile %#x of an open drive", p)
	}
	other.bad(transfer(scsi.OpRead10, 0, 1), 2048, nil, scsi.KeyNotReady, scsi.ASCMediumNotPresent)
	c.good(scsi.StartStopUnit{Eject: true, Start: true}.CDB(), 0, nil)
	for i, want := range []scsi.MediaEvent{{Event: scsi.MediaNew, Present: true}, {Present: true}} {
		if e := event(other); e != want {
			t.Errorf("question %d after loading: %+v, want %+v", i, e, want)
		}
	}
	other.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCMediumMayHaveChanged)
	other.good(transfer(scsi.OpRead10, 0, 1), 2048, nil)
}

// TestTOC compares tables of contents with what a drive says of such a disc.
func TestTOC(t *testing.T) {
	c := connect(t, serveDisc(t, store.NewMemory(1000*2048))).ready()
	for _, tc := range []struct {
		ask  scsi.ReadTOC
		want string
	}{
		{scsi.ReadTOC{}, "0012 0101 00140100 00000000 0014aa00 000003e8"},
		{scsi.ReadTOC{MSF: true}, "0012 0101 00140100 00000200 0014aa00 00000f19"},
		{scsi.ReadTOC{Track: scsi.LeadOut}, "000a 0101 0014aa00 000003e8"},
		{scsi.ReadTOC{Format: 1}, "000a 0101 00140100 00000000"},
		{scsi.ReadTOC{Format: 2}, "002e 0101 011400a000000000010000 011400a100000000010000 011400a200000000000f19 0114000100000000000200"},
	} {
		tc.ask.Length = 255
		got := fmt.Sprintf("%x", c.good(tc.ask.CDB(), 255, nil).data)
		if want := strings.ReplaceAll(tc.want, " ", ""); got != want {
			t.Errorf("%+v: %s, want %s", tc.ask, got, want)
		}
	}
}

// TestDVD has a disc that is too large for a CD.
func TestDVD(t *testing.T) {
	c := connect(t, serveDisc(t, store.NewMemory(4<<30))).ready()
	r := c.good(scsi.GetConfiguration{Requested: 2, First: scsi.FeatureDVDRead, Length: 255}.CDB(), 255, nil)
	if len(r.data) != 16 || binary.BigEndian.Uint16(r.data[6:]) != scsi.ProfileDVD || r.data[10]&0x01 == 0 {
		t.Errorf("configuration %x", r.data)
	}
	cdb := scsi.CDB{byte(scsi.OpReadDiscStructure)}
	cdb[8] = 0x10
	if r := c.good(cdb, 4096, nil); len(r.data) != 2052 || binary.BigEndian.Uint32(r.data[12:]) != 0x30000+4<<30/2048-1 {
		t.Errorf("%d bytes of disc structure, %x", len(r.data), r.data[:20])
	}
}
