package target_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// step is a PERSISTENT RESERVE OUT of one of three initiators, and what has to
// come of it.
type step struct {
	who    int // 0 to 2
	action uint8
	kind   scsi.ReservationType
	list   scsi.ReserveOutList

	status scsi.Status
	asc    scsi.ASC // of a CHECK CONDITION

	generation uint32 // afterwards
	keys       []uint64
	held       scsi.ReservationType
	heldBy     uint64 // key
	alerts     [3][]scsi.ASC
}

const (
	actRegister = scsi.ActionPROutRegister
	actIgnore   = scsi.ActionPROutRegisterIgnore
	actReserve  = scsi.ActionPROutReserve
	actRelease  = scsi.ActionPROutRelease
	actClear    = scsi.ActionPROutClear
	actPreempt  = scsi.ActionPROutPreempt
	actAbort    = scsi.ActionPROutPreemptAbort

	we   = scsi.WriteExclusive
	ea   = scsi.ExclusiveAccess
	wero = scsi.WriteExclusiveRegistrantsOnly
	earo = scsi.ExclusiveAccessRegistrantsOnly
	wear = scsi.WriteExclusiveAllRegistrants

	conflict = scsi.StatusReservationConflict
	check    = scsi.StatusCheckCondition
)

func key(key, action uint64) scsi.ReserveOutList {
	return scsi.ReserveOutList{Key: key, ActionKey: action}
}

// alerts are unit attention conditions of one kind for some of three.
func alerts(asc scsi.ASC, of ...int) (a [3][]scsi.ASC) {
	for _, i := range of {
		a[i] = []scsi.ASC{asc}
	}
	return a
}

// registered are the steps by which the three are registered with keys 1, 2, 3.
var registered = []step{
	{who: 0, action: actRegister, list: key(0, 1), generation: 1, keys: []uint64{1}},
	{who: 1, action: actRegister, list: key(0, 2), generation: 2, keys: []uint64{1, 2}},
	{who: 2, action: actIgnore, list: key(99, 3), generation: 3, keys: []uint64{1, 2, 3}},
}

// reserved are those by which the first then reserves the unit.
func reserved(kind scsi.ReservationType, more ...step) []step {
	s := step{action: actReserve, kind: kind, list: key(1, 0), generation: 3, keys: []uint64{1, 2, 3}, held: kind, heldBy: 1}
	if kind.AllRegistrants() {
		s.heldBy = 0
	}
	return slices.Concat(registered, []step{s}, more)
}

var all3 = []uint64{1, 2, 3}

var serviceActions = map[string][]step{
	"REGISTER": {
		{action: actRegister, list: key(7, 1), status: conflict},
		{action: actRegister, list: key(0, 0)}, // nothing to unregister
		{action: actIgnore, list: key(5, 0)},
		{action: actRegister, list: key(0, 1), generation: 1, keys: []uint64{1}},
		{action: actRegister, list: key(0, 2), status: conflict, generation: 1, keys: []uint64{1}},
		{action: actRegister, list: key(1, 2), generation: 2, keys: []uint64{2}},
		{action: actIgnore, list: key(9, 3), generation: 3, keys: []uint64{3}},
		{action: actRegister, list: key(3, 0), generation: 4},
		{action: actRegister, list: scsi.ReserveOutList{ActionKey: 1, Persist: true}, status: check, asc: scsi.ASCInvalidFieldInParameters, generation: 4},
	},
	"who is not registered may do nothing else": {
		{action: actReserve, kind: we, list: key(0, 0), status: conflict},
		{action: actRelease, kind: we, list: key(0, 0), status: conflict},
		{action: actClear, list: key(0, 0), status: conflict},
		{action: actPreempt, kind: we, list: key(0, 1), status: conflict},
		{action: actAbort, kind: we, list: key(0, 1), status: conflict},
	},
	"a wrong key": slices.Concat(registered, []step{
		{action: actReserve, kind: we, list: key(2, 0), status: conflict, generation: 3, keys: all3},
		{action: actClear, list: key(2, 0), status: conflict, generation: 3, keys: all3},
		{action: actPreempt, kind: we, list: key(2, 3), status: conflict, generation: 3, keys: all3},
	}),
	"RESERVE": reserved(
		we,
		step{action: actReserve, kind: we, list: key(1, 0), generation: 3, keys: all3, held: we, heldBy: 1},
		step{action: actReserve, kind: ea, list: key(1, 0), status: conflict, generation: 3, keys: all3, held: we, heldBy: 1},
		step{who: 1, action: actReserve, kind: we, list: key(2, 0), status: conflict, generation: 3, keys: all3, held: we, heldBy: 1},
		step{action: actReserve, kind: 2, list: key(1, 0), status: check, asc: scsi.ASCInvalidFieldInCDB, generation: 3, keys: all3, held: we, heldBy: 1},
	),
	"RELEASE tells nobody": reserved(
		ea,
		step{who: 1, action: actRelease, kind: ea, list: key(2, 0), generation: 3, keys: all3, held: ea, heldBy: 1},
		step{action: actRelease, kind: we, list: key(1, 0), status: check, asc: scsi.ASCInvalidReleaseOfReservation, generation: 3, keys: all3, held: ea, heldBy: 1},
		step{action: actRelease, kind: ea, list: key(1, 0), generation: 3, keys: all3},
		step{action: actRelease, kind: ea, list: key(1, 0), generation: 3, keys: all3},
	),
	"RELEASE tells registrants": reserved(
		wero,
		step{action: actRelease, kind: wero, list: key(1, 0), generation: 3, keys: all3, alerts: alerts(scsi.ASCReservationsReleased, 1, 2)},
	),
	"RELEASE by any registrant": reserved(
		wear,
		step{who: 2, action: actRelease, kind: wear, list: key(3, 0), generation: 3, keys: all3, alerts: alerts(scsi.ASCReservationsReleased, 0, 1)},
	),
	"the holder unregisters": reserved(
		earo,
		step{action: actRegister, list: key(1, 0), generation: 4, keys: []uint64{2, 3}, alerts: alerts(scsi.ASCReservationsReleased, 1, 2)},
	),
	"an exclusive holder unregisters": reserved(
		we,
		step{action: actIgnore, list: key(0, 0), generation: 4, keys: []uint64{2, 3}},
	),
	"all registrants unregister": reserved(
		wear,
		step{action: actRegister, list: key(1, 0), generation: 4, keys: []uint64{2, 3}, held: wear},
		step{who: 1, action: actRegister, list: key(2, 0), generation: 5, keys: []uint64{3}, held: wear},
		step{who: 2, action: actRegister, list: key(3, 0), generation: 6},
	),
	"CLEAR": reserved(
		we,
		step{who: 1, action: actClear, list: key(2, 0), generation: 4, alerts: alerts(scsi.ASCReservationsPreempted, 0, 2)},
	),
	"PREEMPT a registration": reserved(
		we,
		step{who: 0, action: actPreempt, kind: ea, list: key(1, 3), generation: 4, keys: []uint64{1, 2}, held: we, heldBy: 1, alerts: alerts(scsi.ASCRegistrationsPreempted, 2)},
		step{who: 0, action: actPreempt, kind: ea, list: key(1, 3), status: conflict, generation: 4, keys: []uint64{1, 2}, held: we, heldBy: 1},
		step{who: 0, action: actPreempt, kind: ea, list: key(1, 0), status: check, asc: scsi.ASCInvalidFieldInParameters, generation: 4, keys: []uint64{1, 2}, held: we, heldBy: 1},
	),
	"PREEMPT the reservation": reserved(
		wero,
		step{who: 1, action: actPreempt, kind: wero, list: key(2, 1), generation: 4, keys: []uint64{2, 3}, held: wero, heldBy: 2, alerts: alerts(scsi.ASCRegistrationsPreempted, 0)},
		step{who: 1, action: actAbort, kind: ea, list: key(2, 2), generation: 5, keys: []uint64{2, 3}, held: ea, heldBy: 2, alerts: alerts(scsi.ASCReservationsReleased, 2)},
	),
	"PREEMPT and change the type": reserved(
		we,
		step{who: 1, action: actPreempt, kind: earo, list: key(2, 1), generation: 4, keys: []uint64{2, 3}, held: earo, heldBy: 2, alerts: [3][]scsi.ASC{
			{scsi.ASCRegistrationsPreempted}, nil, {scsi.ASCReservationsReleased},
		}},
	),
	"PREEMPT all registrants": reserved(
		wear,
		step{who: 2, action: actPreempt, kind: ea, list: key(3, 1), generation: 4, keys: []uint64{2, 3}, held: wear, alerts: alerts(scsi.ASCRegistrationsPreempted, 0)},
		step{who: 2, action: actPreempt, kind: ea, list: key(3, 0), generation: 5, keys: []uint64{3}, held: ea, heldBy: 3, alerts: alerts(scsi.ASCRegistrationsPreempted, 1)},
	),
	"PREEMPT without a reservation": slices.Concat(registered, []step{
		{who: 1, action: actPreempt, kind: we, list: key(2, 1), generation: 4, keys: []uint64{2, 3}, alerts: alerts(scsi.ASCRegistrationsPreempted, 0)},
		{who: 1, action: actPreempt, kind: we, list: key(2, 0), status: check, asc: scsi.ASCInvalidFieldInParameters, generation: 4, keys: []uint64{2, 3}},
		{who: 1, action: actPreempt, kind: we, list: key(2, 2), generation: 5, keys: []uint64{3}}, // itself
	}),
	"SPEC_I_PT": {
		{action: actRegister, list: scsi.ReserveOutList{ActionKey: 1, SpecIPT: true, Initiators: []scsi.TransportID{portOf(2), portOf(9)}}, generation: 1, keys: []uint64{1, 1, 1}},
		{who: 1, action: actRegister, list: key(0, 5), status: conflict, generation: 1, keys: []uint64{1, 1, 1}},
		{who: 1, action: actRegister, list: key(1, 5), generation: 2, keys: []uint64{1, 5, 1}},
		{who: 1, action: actRegister, list: scsi.ReserveOutList{Key: 5, ActionKey: 6, SpecIPT: true}, status: check, asc: scsi.ASCInvalidFieldInParameters, generation: 2, keys: []uint64{1, 5, 1}},
		{who: 2, action: actIgnore, list: scsi.ReserveOutList{ActionKey: 6, SpecIPT: true}, status: check, asc: scsi.ASCInvalidFieldInParameters, generation: 2, keys: []uint64{1, 5, 1}},
	},
	"SPEC_I_PT by name": {
		{action: actRegister, list: scsi.ReserveOutList{ActionKey: 1, SpecIPT: true, Initiators: []scsi.TransportID{{Initiator: "iqn.2001-04.com.example:nobody"}}}, status: check, asc: scsi.ASCInvalidFieldInParameters},
		{action: actRegister, list: scsi.ReserveOutList{ActionKey: 1, SpecIPT: true, Initiators: []scsi.TransportID{{Initiator: testInitiator}}}, generation: 1, keys: []uint64{1, 1}},
	},
	"ALL_TG_PT": {
		{action: actRegister, list: scsi.ReserveOutList{ActionKey: 1, AllPorts: true}, generation: 1, keys: []uint64{1, 1}},
		{who: 2, action: actRegister, list: key(0, 3), generation: 2, keys: []uint64{1, 1, 3}}, // is another port
		{action: actRegister, list: scsi.ReserveOutList{Key: 1, AllPorts: true}, generation: 3, keys: []uint64{3}},
	},
}

// portOf is the initiator port of a session by its ISID in three.
func portOf(isid uint32) scsi.TransportID {
	return scsi.TransportID{Initiator: testInitiator, HasISID: true, ISID: iscsi.OUIISID([3]byte{0, 2, 3}, isid)}
}

func TestServiceActions(t *testing.T) {
	for name, steps := range serviceActions {
		t.Run(name, func(t *testing.T) {
			a, b, c := three(t)
			who := []*client{a, b, c}
			for i, s := range steps {
				r := who[s.who].prOut(s.action, s.kind, s.list)
				if r.status != s.status || r.sense.ASC != s.asc {
					t.Fatalf("step %d: %v %v, want %v %v", i, r.status, r.sense, s.status, s.asc)
				}
				for j, cl := range who {
					if got := cl.attentions(); !slices.Equal(got, s.alerts[j]) {
						t.Errorf("step %d: unit attentions of initiator %d are %v, want %v", i, j, got, s.alerts[j])
					}
				}
				generation, keys := b.keys()
				if generation != s.generation || !slices.Equal(keys, s.keys) {
					t.Errorf("step %d: generation %d, keys %v, want %d, %v", i, generation, keys, s.generation, s.keys)
				}
				want := scsi.Reservation{Generation: s.generation, Type: s.held, Key: s.heldBy}
				if got := c.reservation(); got != want {
					t.Errorf("step %d: reservation %+v, want %+v", i, got, want)
				}
			}
		})
	}
}

func TestFullStatus(t *testing.T) {
	a, b, c := three(t)
	a.reserves(actRegister, 0, 0, 1)
	c.reserves(actRegister, 0, 0, 3)
	c.reserves(actReserve, wero, 3, 0)
	want := []scsi.FullStatus{
		{Key: 1, Port: 1, Initiator: portOf(1)},
		{Key: 3, Port: 2, Initiator: portOf(3), Type: wero},
	}
	if got := b.fullStatus(); !reflect.DeepEqual(got, want) {
		t.Errorf("full status\n     %+v\nwant %+v", got, want)
	}
}

// move does PERSISTENT RESERVE OUT with REGISTER AND MOVE.
func (c *client) move(list scsi.RegisterAndMoveList) result {
	c.t.Helper()
	b := list.Append(nil)
	return c.do(scsi.PersistentReserveOut{Action: scsi.ActionPROutRegisterAndMove, Length: uint32(len(b))}.CDB(), 0, b)
}

func TestRegisterAndMove(t *testing.T) {
	a, b, c := three(t)
	a.reserves(actRegister, 0, 0, 1)
	b.reserves(actRegister, 0, 0, 2)
	toC := scsi.RegisterAndMoveList{Key: 1, ActionKey: 3, Port: 2, Initiator: portOf(3)}
	refused := func(from *client, change func(*scsi.RegisterAndMoveList), status scsi.Status, asc scsi.ASC) {
		t.Helper()
		list := toC
		change(&list)
		if r := from.move(list); r.status != status || r.sense.ASC != asc {
			t.Errorf("%+v: %v %v, want %v %v", list, r.status, r.sense, status, asc)
		}
	}
	refused(a, func(*scsi.RegisterAndMoveList) {}, check, scsi.ASCInvalidFieldInCDB) // nothing is reserved
	a.reserves(actReserve, we, 1, 0)
	refused(a, func(l *scsi.RegisterAndMoveList) { l.Key = 2 }, conflict, 0)
	refused(b, func(l *scsi.RegisterAndMoveList) { l.Key = 2 }, conflict, 0)
	for _, change := range []func(*scsi.RegisterAndMoveList){
		func(l *scsi.RegisterAndMoveList) { l.ActionKey = 0 },
		func(l *scsi.RegisterAndMoveList) { l.Port = 9 },
		func(l *scsi.RegisterAndMoveList) { l.Initiator.HasISID = false },
		func(l *scsi.RegisterAndMoveList) { l.Port, l.Initiator = 1, portOf(1) },
		func(l *scsi.RegisterAndMoveList) { l.Persist = true },
	} {
		refused(a, change, check, scsi.ASCInvalidFieldInParameters)
	}
	if r := a.move(toC); r.status != scsi.StatusGood {
		t.Fatalf("%v %v", r.status, r.sense)
	}
	if _, keys := a.keys(); !slices.Equal(keys, []uint64{1, 2, 3}) {
		t.Errorf("keys %v", keys)
	}
	c.want(scsi.StatusGood, transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
	a.want(conflict, transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
	back := scsi.RegisterAndMoveList{Key: 3, ActionKey: 5, Unregister: true, Port: 1, Initiator: portOf(1)}
	if r := c.move(back); r.status != scsi.StatusGood {
		t.Fatalf("%v %v", r.status, r.sense)
	}
	if r := a.reservation(); r.Key != 5 || r.Type != we || r.Generation != 4 {
		t.Errorf("reservation %+v", r)
	}
	if _, keys := a.keys(); !slices.Equal(keys, []uint64{5, 2}) {
		t.Errorf("keys %v", keys)
	}
}

// TestPreemptAndAbort expects PREEMPT AND ABORT to be done only when what the
// preempted had under way has ended, and plain PREEMPT not to touch it.
func TestPreemptAndAbort(t *testing.T) {
	for action, aborts := range map[uint8]bool{actPreempt: false, actAbort: true} {
		slow := newGated(store.NewMemory(diskSize))
		addr, _ := serveShared(t, slow)
		a, c := to(t, addr, testTarget, 0, withISID(1)), to(t, addr, otherTarget, 3, withISID(3))
		a.reserves(actRegister, 0, 0, 1)
		c.reserves(actRegister, 0, 0, 3)
		write := c.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 512)
		c.send(&write, pattern(512, 0))
		<-slow.entered

		list := key(1, 3)
		b := list.Append(nil)
		preempt := a.newCommand(scsi.PersistentReserveOut{Action: action, Type: uint8(we), Length: uint32(len(b))}.CDB(), 0, len(b))
		a.send(&preempt, b)
		if aborts {
			for d := to(t, addr, testTarget, 0, withISID(4)); ; {
				if _, keys := d.keys(); len(keys) == 1 {
					break
				}
			}
			close(slow.gate)
		}
		if r := a.finish(&preempt, b); r.status != scsi.StatusGood {
			t.Fatalf("service action %d: %v %v", action, r.status, r.sense)
		}
		if !aborts {
			close(slow.gate)
			if r := c.finish(&write, nil); r.status != scsi.StatusGood {
				t.Errorf("a write before PREEMPT: %v %v", r.status, r.sense)
			}
		}
		c.wantAttentions(scsi.ASCRegistrationsPreempted)
	}
}

// persistent serves a disk whose reservations are kept in a file.
func persistent(t *testing.T, file string) (addr string, stop func()) {
	t.Helper()
	d := disk(store.NewMemory(diskSize))
	d.LUNs[0].ReservationFile = file
	srv, err := target.New(target.Config{Targets: []*target.Target{d}, LogoutTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	return l.Addr().String(), serveOn(t, srv, l)
}

func TestReservationsOutliveServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reservations")
	addr, stop := persistent(t, file)
	a, b := connect(t, addr, withISID(1)).ready(), connect(t, addr, withISID(2)).ready()
	if r := b.prOut(actRegister, 0, scsi.ReserveOutList{ActionKey: 2, Persist: true}); r.status != scsi.StatusGood {
		t.Fatalf("%v %v", r.status, r.sense)
	}
	if r := a.prOut(actRegister, 0, scsi.ReserveOutList{ActionKey: 1, Persist: true}); r.status != scsi.StatusGood {
		t.Fatalf("%v %v", r.status, r.sense)
	}
	a.reserves(actReserve, wero, 1, 0)
	caps := a.prIn(scsi.ActionPRInReportCapabilities)
	if caps[2]&1 == 0 || caps[3]&1 == 0 {
		t.Errorf("capabilities %x, want PTPL_C and PTPL_A", caps)
	}
	before := a.fullStatus()
	stop()

	addr, stop = persistent(t, file)
	a, c := connect(t, addr, withISID(1)).ready(), connect(t, addr, withISID(3)).ready()
	if after := a.fullStatus(); !reflect.DeepEqual(after, before) {
		t.Errorf("after a restart\n     %+v\nwant %+v", after, before)
	}
	if g, _ := a.keys(); g != 0 {
		t.Errorf("generation %d after a restart", g)
	}
	c.want(conflict, transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
	a.want(scsi.StatusGood, transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
	a.reserves(actRegister, 0, 1, 5) // without APTPL
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there (%v)", err)
	}
	stop()

	addr, _ = persistent(t, file)
	if _, keys := connect(t, addr).ready().keys(); len(keys) > 0 {
		t.Errorf("keys %v are left", keys)
	}
}

// TestReservationFileCut cuts what is written at every byte, as a power failure
// may: a new file that is not whole does not count, and a file in place that is
// not whole is not taken for fewer reservations.
func TestReservationFileCut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reservations")
	addr, stop := persistent(t, file)
	a := connect(t, addr, withISID(1)).ready()
	states := make([][]byte, 2)
	for i := range states {
		if r := a.prOut(actIgnore, 0, scsi.ReserveOutList{ActionKey: uint64(i + 1), Persist: true}); r.status != scsi.StatusGood {
			t.Fatalf("%v %v", r.status, r.sense)
		}
		a.reserves(actReserve, ea, uint64(i+1), 0)
		var err error
		if states[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() ([]byte, error) { return target.KeptReservations(file) }
	for n := range len(states[1]) + 1 {
		write(file, states[0])
		write(file+".new", states[1][:n])
		if got, err := load(); err != nil || !bytes.Equal(got, states[0]) {
			t.Fatalf("with a new file of %d bytes: %s, %v", n, got, err)
		}
		write(file, states[1][:n])
		if got, err := load(); err == nil && !bytes.Equal(got, states[1]) {
			t.Fatalf("of %d bytes this is read:\n%s", n, got)
		}
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if got, err := load(); err != nil || !bytes.Equal(got, states[1]) {
		t.Errorf("the new file in place: %s, %v", got, err)
	}
}

func TestReservationFileRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "reservations")
	for name, text := range map[string]string{
		"nothing":         "",
		"no JSON":         "keys",
		"another version": `{"version": 2}`,
		"no holder":       `{"version": 1, "type": 3}`,
		"no such type":    `{"version": 1, "type": 4}`,
		"bad key":         `{"version": 1, "registrations": [{"initiator": "iqn.a", "isid": "000000000000", "key": "x"}]}`,
		"no key":          `{"version": 1, "registrations": [{"initiator": "iqn.a", "isid": "000000000000", "key": "0"}]}`,
		"bad ISID":        `{"version": 1, "registrations": [{"initiator": "iqn.a", "isid": "00", "key": "1"}]}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := target.KeptReservations(file); err == nil {
			t.Errorf("%s: read as %s", name, got)
		}
	}
	two := disk(store.NewMemory(diskSize))
	two.LUNs = append(two.LUNs, target.LUN{Number: 1, Store: store.NewMemory(diskSize)})
	for i := range two.LUNs {
		two.LUNs[i].ReservationFile = filepath.Join(dir, "one")
	}
	if _, err := target.New(target.Config{Targets: []*target.Target{two}}); err == nil {
		t.Error("two disks have one file")
	}
}

// TestReservationNotKept expects a registration that cannot be kept not to hold.
func TestReservationNotKept(t *testing.T) {
	addr, _ := persistent(t, filepath.Join(t.TempDir(), "no such folder", "reservations"))
	a := connect(t, addr).ready()
	r := a.prOut(actRegister, 0, scsi.ReserveOutList{ActionKey: 1, Persist: true})
	if r.status != check || r.sense.Key != scsi.KeyHardwareError {
		t.Errorf("%v %v", r.status, r.sense)
	}
	if _, keys := a.keys(); len(keys) > 0 {
		t.Errorf("keys %v", keys)
	}
}
