package target_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// What a step of FuzzSession does with the header that follows it.
const (
	stepCmdSN = 1 << iota // gives it the next CmdSN
	stepData              // gives it as much data as the step's high bits say
	stepTask              // gives it a task tag of its own
	stepWrite             // makes it a write command of its data's length
)

// FuzzSession logs in and sends PDUs made of the input, some of them mended so
// that they get further. The server must neither panic nor hang, and must serve
// the next session.
func FuzzSession(f *testing.F) {
	step := func(flags byte, p iscsi.PDU) []byte {
		var b iscsi.BHS
		p.Encode(&b)
		return append([]byte{flags}, b[:]...)
	}
	// A PERSISTENT RESERVE OUT, with its parameter list behind it.
	reserve := func(action uint8, list []byte) []byte {
		cdb := scsi.PersistentReserveOut{Action: action, Type: 1, Length: uint32(len(list))}.CDB()
		return append(step(stepCmdSN|stepTask|stepData|stepWrite|0x30, &iscsi.SCSICommand{Final: true, CDB: cdb}), list...)
	}
	one := scsi.ReserveOutList{Key: 1, ActionKey: 1}
	many := scsi.ReserveOutList{ActionKey: 1, SpecIPT: true, AllPorts: true, Initiators: []scsi.TransportID{portOf(2), {Initiator: testInitiator}}}
	move := scsi.RegisterAndMoveList{Key: 1, ActionKey: 2, Port: 1, Initiator: portOf(2)}
	var all []byte
	for _, s := range [][]byte{
		step(stepCmdSN|stepTask, &iscsi.SCSICommand{Final: true, CDB: scsi.TestUnitReadyCDB()}),
		step(stepCmdSN|stepTask, &iscsi.SCSICommand{Final: true, Read: true, ExpectedLength: 8192, CDB: transfer(scsi.OpRead10, 0, 16)}),
		step(stepCmdSN|stepTask|stepData|stepWrite|0x80, &iscsi.SCSICommand{Final: true, Write: true, CDB: transfer(scsi.OpWrite10, 0, 1)}),
		step(stepCmdSN, &iscsi.SCSICommand{Write: true, ITT: 7, ExpectedLength: 4096, CDB: transfer(scsi.OpWrite16, 8, 8), LUN: 1 << 48}),
		step(stepData|0xf0, &iscsi.DataOut{ITT: 7, TTT: iscsi.ReservedTag}),
		step(stepCmdSN|stepTask|stepData|stepWrite|0x10, &iscsi.SCSICommand{Final: true, CDB: scsi.Unmap{Length: 24}.CDB()}),
		step(stepCmdSN|stepTask, &iscsi.SCSICommand{Final: true, Read: true, ExpectedLength: 255, CDB: scsi.Inquiry{VPD: true, Page: 0x83, Length: 255}.CDB()}),
		step(stepCmdSN|stepTask, &iscsi.SCSICommand{Final: true, Attribute: iscsi.Ordered, CDB: scsi.SynchronizeCacheCDB(0, 0), LUN: 1 << 48}),
		step(stepTask, &iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.AbortTask, ReferencedITT: 7}),
		step(stepTask, &iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.LogicalUnitReset}),
		step(stepCmdSN|stepTask|stepData|0x40, &iscsi.NOPOut{TTT: iscsi.ReservedTag}),
		step(stepCmdSN|stepTask|stepData|0x40, &iscsi.TextRequest{Final: true, TTT: iscsi.ReservedTag}),
		reserve(scsi.ActionPROutRegister, many.Append(nil)),
		reserve(scsi.ActionPROutReserve, one.Append(nil)),
		reserve(scsi.ActionPROutRegisterAndMove, move.Append(nil)),
		reserve(scsi.ActionPROutPreemptAbort, one.Append(nil)),
		step(stepCmdSN|stepTask, &iscsi.SCSICommand{Final: true, CDB: scsi.CDB{0x16}}),
		step(stepCmdSN|stepTask, &iscsi.SCSICommand{Final: true, Read: true, ExpectedLength: 64, CDB: scsi.PersistentReserveIn{Action: 3, Length: 64}.CDB()}),
		step(stepCmdSN|stepTask|stepData|stepWrite, &iscsi.SCSICommand{Final: true, CDB: scsi.SetTargetPortGroups{Length: 8}.CDB()}),
		step(0, &iscsi.SNACK{}),
		step(stepCmdSN|stepTask, &iscsi.LogoutRequest{}),
	} {
		f.Add(s)
		all = append(all, s...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, input []byte) {
		synctest.Test(t, func(t *testing.T) { fuzzSession(t, input) })
	})
}

func fuzzSession(t *testing.T, input []byte) {
	srv, err := target.New(target.Config{
		QueueDepth: 8, LogoutTimeout: -1,
		Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{
			{Store: store.NewMemory(1 << 20), Removable: true}, {Number: 1, Store: slowly{store.NewMemory(1 << 20)}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := newPipes()
	serveOn(t, srv, l)
	c := l.login(t, withISID(1), offering(func(o *iscsi.Offer) { o.MaxRecvDataSegmentLength = 4096 }))
	go io.Copy(io.Discard, c.nc)
	next := c.cmdSN
	for itt := uint32(100); len(input) > iscsi.BHSLength; itt++ {
		flags, b := input[0], iscsi.BHS(input[1:])
		input = input[1+iscsi.BHSLength:]
		wire, rest := mend(flags, b, input, itt, &next)
		input = rest
		if _, err := c.nc.Write(wire); err != nil {
			break // it has had enough
		}
	}
	time.Sleep(5 * time.Minute) // whatever it waits for, it waits no longer
	if _, err := c.nc.Write(make([]byte, 100)); err == nil {
		c.nc.Close()
	}
	l.login(t, withISID(2)).ping()
}

// mend makes the bytes of a PDU of a header, and of data from the input.
func mend(flags byte, b iscsi.BHS, input []byte, itt uint32, next *uint32) (wire, rest []byte) {
	if flags&stepCmdSN != 0 {
		b[24], b[25], b[26], b[27] = byte(*next>>24), byte(*next>>16), byte(*next>>8), byte(*next)
		if !b.Immediate() {
			*next++
		}
	}
	if flags&stepTask != 0 {
		b.SetITT(itt)
	}
	n := 0
	if flags&stepData != 0 {
		n = int(flags>>4) * 64
		b.SetAHSLength(0)
		b.SetDataSegmentLength(n)
	}
	if flags&stepWrite != 0 {
		b[1] |= 0x20
		b[20], b[21], b[22], b[23] = 0, 0, byte(n>>8), byte(n)
	}
	data := make([]byte, n)
	input = input[copy(data, input):]
	return append(b[:], data...), input
}

// FuzzBytes sends the input to a server that has just accepted the connection.
func FuzzBytes(f *testing.F) {
	var b iscsi.BHS
	(&iscsi.LoginRequest{Transit: true, NextStage: iscsi.FullFeaturePhase, CurrentStage: iscsi.OperationalStage}).Encode(&b)
	text := iscsi.Text{{Key: "InitiatorName", Value: testInitiator}, {Key: "TargetName", Value: testTarget}}.Append(nil)
	text = append(text, make([]byte, -len(text)&3)...)
	b.SetDataSegmentLength(len(text))
	f.Add(append(b[:], text...))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: disk\r\n\r\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		synctest.Test(t, func(t *testing.T) {
			srv, err := target.New(target.Config{Targets: []*target.Target{disk(store.NewMemory(1 << 20))}, LogoutTimeout: -1})
			if err != nil {
				t.Fatal(err)
			}
			l := newPipes()
			serveOn(t, srv, l)
			nc := l.dial()
			go io.Copy(io.Discard, nc)
			_, _ = nc.Write(input)
			nc.Close()
			l.login(t, withISID(2)).ping()
		})
	})
}
