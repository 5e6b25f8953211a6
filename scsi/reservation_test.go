package scsi_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
)

var (
	somePort = scsi.TransportID{Initiator: "iqn.2001-04.com.example:a", HasISID: true, ISID: [6]byte{0x80, 1, 2, 3, 4, 0xff}}
	someName = scsi.TransportID{Initiator: "iqn.1991-05.com.b"}
)

func TestTransportID(t *testing.T) {
	for _, tt := range []struct {
		id   scsi.TransportID
		want string // the bytes that the tables of SPC-4, 7.6.4.6, come to
	}{
		{someName, "05000014" + hex.EncodeToString([]byte("iqn.1991-05.com.b")) + "000000"},
		{somePort, "4500002c" + hex.EncodeToString([]byte("iqn.2001-04.com.example:a,i,0x8001020304ff")) + "0000"},
	} {
		b := tt.id.Append(nil)
		if got := hex.EncodeToString(b); got != tt.want {
			t.Errorf("%v:\n got %s\nwant %s", tt.id, got, tt.want)
		}
		got, rest, err := scsi.ParseTransportID(append(b, 7))
		if err != nil || got != tt.id || !bytes.Equal(rest, []byte{7}) {
			t.Errorf("%v becomes %v with %x left, %v", tt.id, got, rest, err)
		}
	}
	longest := scsi.TransportID{Initiator: "iqn." + strings.Repeat("x", 219), HasISID: true}
	if got, _, err := scsi.ParseTransportID(longest.Append(nil)); err != nil || got != longest {
		t.Errorf("the longest name becomes %v, %v", got, err)
	}
}

func TestTransportIDRefused(t *testing.T) {
	good := somePort.Append(nil)
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, b := range map[string][]byte{
		"short":          good[:20],
		"cut":            good[:len(good)-4],
		"protocol":       change(func(b []byte) []byte { b[0] = 0x46; return b }),
		"format":         change(func(b []byte) []byte { b[0] = 0x85; return b }),
		"length":         change(func(b []byte) []byte { b[3]++; return b }),
		"long":           change(func(b []byte) []byte { b[2] = 1; return append(b, make([]byte, 256)...) }),
		"not terminated": change(func(b []byte) []byte { return append(b[:len(b)-2], 'a', 'a') }),
		"no name":        change(func(b []byte) []byte { clear(b[4:]); return b }),
		"no ISID":        change(func(b []byte) []byte { b[30] = 0; return b }),
		"bad ISID":       change(func(b []byte) []byte { b[len(b)-3] = 'x'; return b }),
	} {
		if id, _, err := scsi.ParseTransportID(b); err == nil {
			t.Errorf("%s: %x is taken for %v", name, b, id)
		}
	}
}

func TestReserveOutLists(t *testing.T) {
	list := scsi.ReserveOutList{Key: 0x0102030405060708, ActionKey: 0xa1a2a3a4a5a6a7a8, AllPorts: true, Persist: true}
	b := list.Append(nil)
	if got, want := hex.EncodeToString(b), "0102030405060708a1a2a3a4a5a6a7a8"+"0000000005000000"; got != want {
		t.Errorf("list\n     %s\nwant %s", got, want)
	}
	list.SpecIPT, list.Initiators = true, []scsi.TransportID{somePort, someName}
	for _, l := range []scsi.ReserveOutList{list, {Key: 1}} {
		got, err := scsi.ParseReserveOutList(l.Append(nil))
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%+v becomes %+v, %v", l, got, err)
		}
	}
	move := scsi.RegisterAndMoveList{Key: 1, ActionKey: 2, Unregister: true, Persist: true, Port: 0x0304, Initiator: somePort}
	b = move.Append(nil)
	if got, want := hex.EncodeToString(b[16:24]), "0003030400000030"; got != want {
		t.Errorf("bytes 16 to 23 of REGISTER AND MOVE are %s, want %s", got, want)
	}
	if got, err := scsi.ParseRegisterAndMoveList(b); err != nil || got != move {
		t.Errorf("%+v becomes %+v, %v", move, got, err)
	}
}

func TestReserveOutListsRefused(t *testing.T) {
	both := scsi.ReserveOutList{SpecIPT: true, Initiators: []scsi.TransportID{somePort, someName}}
	list := both.Append(nil)
	badID := bytes.Clone(list)
	badID[28+len(somePort.Append(nil))] = 0x03
	for name, tt := range map[string]struct {
		b    []byte
		asc  scsi.ASC
		byte uint16
	}{
		"short":              {make([]byte, 23), scsi.ASCParameterListLength, 0},
		"long":               {make([]byte, 25), scsi.ASCParameterListLength, 0},
		"no list of names":   {list[:24], scsi.ASCParameterListLength, 0},
		"names cut":          {list[:len(list)-4], scsi.ASCParameterListLength, 0},
		"wrong second name":  {badID, scsi.ASCInvalidFieldInParameters, uint16(28 + len(somePort.Append(nil)))},
		"names and a strand": {append(bytes.Clone(list), 0, 0, 0, 0), scsi.ASCParameterListLength, 0},
	} {
		_, err := scsi.ParseReserveOutList(tt.b)
		var e *scsi.Error
		if !errors.As(err, &e) || e.Sense.ASC != tt.asc {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if field, _ := e.Sense.Field(); field.Byte != tt.byte {
			t.Errorf("%s: points at byte %d, want %d", name, field.Byte, tt.byte)
		}
	}
}

func TestReservationData(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		got        []byte
	}{
		{"keys", "0000000200000010" + "00000000000000aa" + "00000000000000bb", scsi.AppendReservationKeys(nil, 2, []uint64{0xaa, 0xbb})},
		{"no reservation", "0000000300000000", scsi.Reservation{Generation: 3}.Append(nil)},
		{
			"reservation", "0000000300000010" + "00000000000000aa" + "0000000000060000",
			scsi.Reservation{Generation: 3, Type: scsi.ExclusiveAccessRegistrantsOnly, Key: 0xaa}.Append(nil),
		},
		{"capabilities", "00081db1ea010000", scsi.AppendReservationCapabilities(nil, true, true)},
		{"fewer capabilities", "00081cb0ea010000", scsi.AppendReservationCapabilities(nil, false, false)},
	} {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	r := scsi.Reservation{Generation: 3, Type: scsi.WriteExclusive, Key: 0xaa}
	if got, err := scsi.ParseReservation(r.Append(nil)); err != nil || got != r {
		t.Errorf("%+v becomes %+v, %v", r, got, err)
	}
	full := []scsi.FullStatus{
		{Key: 1, Type: scsi.WriteExclusive, Port: 2, Initiator: somePort},
		{Key: 3, AllPorts: true, Initiator: somePort},
	}
	b := scsi.AppendFullStatus(nil, 9, full)
	generation, got, err := scsi.ParseFullStatus(b)
	if err != nil || generation != 9 || !reflect.DeepEqual(got, full) {
		t.Errorf("%+v becomes %d, %+v, %v", full, generation, got, err)
	}
	if _, got, _ := scsi.ParseFullStatus(b[:len(b)-1]); len(got) != 1 {
		t.Errorf("of a list that is cut %d are read, want 1", len(got))
	}
	if _, keys, err := scsi.ParseReservationKeys(scsi.AppendReservationKeys(nil, 2, []uint64{5, 6})); err != nil || !reflect.DeepEqual(keys, []uint64{5, 6}) {
		t.Errorf("keys %v, %v", keys, err)
	}
}

// FuzzReservations reads any bytes as the data of PERSISTENT RESERVE IN and OUT.
// What can be read is the same when it has been written and read again.
func FuzzReservations(f *testing.F) {
	both := scsi.ReserveOutList{SpecIPT: true, Initiators: []scsi.TransportID{somePort, someName}}
	move := scsi.RegisterAndMoveList{Key: 1, Initiator: somePort}
	f.Add(both.Append(nil))
	f.Add(move.Append(nil))
	f.Add(scsi.AppendFullStatus(nil, 9, []scsi.FullStatus{{Key: 1, Port: 2, Initiator: somePort}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := scsi.ParseReserveOutList(data); err == nil {
			if again, err := scsi.ParseReserveOutList(l.Append(nil)); err != nil || !reflect.DeepEqual(again, l) {
				t.Errorf("%+v becomes %+v, %v", l, again, err)
			}
		}
		if l, err := scsi.ParseRegisterAndMoveList(data); err == nil {
			if again, err := scsi.ParseRegisterAndMoveList(l.Append(nil)); err != nil || again != l {
				t.Errorf("%+v becomes %+v, %v", l, again, err)
			}
		}
		if _, list, err := scsi.ParseFullStatus(data); err == nil && 48*len(list) > len(data) {
			t.Errorf("%d registrations in %d bytes", len(list), len(data))
		}
		scsi.ParseReservationKeys(data)
		scsi.ParseReservation(data)
	})
}
