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

// What a step of FuzzConnections does first, by the high bits of its first byte;
// the low ones say on which connection.
const (
	stepLose = 0x80 // closes the connection
	stepJoin = 0x40 // logs in with its CID
	stepWait = 0x20 // lets seconds pass
)

// FuzzConnections has a session of several connections, at an error recovery
// level that the input chooses, and sends PDUs made of the input by them. The
// server must neither panic nor hang, and must in the end hold no memory and no
// session.
func FuzzConnections(f *testing.F) {
	step := func(conn, flags byte, p iscsi.PDU) []byte {
		var b iscsi.BHS
		p.Encode(&b)
		return append([]byte{conn, flags}, b[:]...)
	}
	const sn, task, data, write = stepCmdSN, stepTask, stepData, stepWrite
	read := &iscsi.SCSICommand{Final: true, Read: true, ExpectedLength: 8192, ITT: 1, CDB: transfer(scsi.OpRead10, 0, 16)}
	slow := &iscsi.SCSICommand{Final: true, Read: true, ExpectedLength: 8192, ITT: 3, LUN: 1 << 48, CDB: transfer(scsi.OpRead10, 0, 16)}
	open := &iscsi.SCSICommand{Final: true, Write: true, ITT: 2, ExpectedLength: 4096, CDB: transfer(scsi.OpWrite10, 8, 8), LUN: 1 << 48}
	early := iscsi.SCSICommand{Final: true, Write: true, CmdSN: 0xfffffff4, CDB: transfer(scsi.OpWrite10, 0, 1)}
	for _, steps := range [][][]byte{
		{step(0, sn|task, read), step(1, sn|task, read), step(2, sn, slow)},
		{step(1, sn, read), step(1, 0, &iscsi.SNACK{ITT: 1}), step(1, 0, &iscsi.SNACK{Type: iscsi.SNACKStatus}), step(1, 0, &iscsi.SNACK{Type: iscsi.SNACKRData, ITT: 1, TTT: 9})},
		{step(0, sn, read), step(stepLose, sn, open), step(stepJoin, task, &iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.TaskReassign, ReferencedITT: 1})},
		{step(1, sn, open), step(1|stepLose, 0, &iscsi.NOPOut{}), step(0, task, &iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.TaskReassign, ReferencedITT: 2, LUN: 1 << 48}), step(0, data|0xf0, &iscsi.DataOut{Final: true, ITT: 2, TTT: 1})},
		{step(0, sn, open), step(0, data|0x10, &iscsi.DataOut{Final: true, ITT: 2, TTT: 1, BufferOffset: 64}), step(stepWait, 0, &iscsi.SNACK{ITT: 2})},
		{step(2, sn|task|data|write|0x80, &iscsi.SCSICommand{Final: true, Write: true, CDB: transfer(scsi.OpWrite10, 0, 1)}), step(0, task, &iscsi.TaskManagementRequest{Immediate: true, Function: iscsi.LogicalUnitReset})},
		{step(0, task|data|write|0xf0, &early), step(1, task|data|write|0xf0, &early), step(stepWait, sn|task, read)},
		{step(0, sn|task, &iscsi.LogoutRequest{Reason: iscsi.LogoutRecovery, CID: 1}), step(1, sn|task, &iscsi.LogoutRequest{Reason: iscsi.LogoutConnection, CID: 2})},
		{step(0, sn|task, &iscsi.LogoutRequest{}), step(1, sn|task, &iscsi.LogoutRequest{})},
	} {
		for level := range byte(3) {
			all := []byte{level}
			for _, s := range steps {
				all = append(all, s...)
			}
			f.Add(all)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 {
			return
		}
		synctest.Test(t, func(t *testing.T) { fuzzConnections(t, int(input[0]%3), input[1:]) })
	})
}

func fuzzConnections(t *testing.T, erl int, input []byte) {
	srv, err := target.New(target.Config{
		QueueDepth: 8, LogoutTimeout: -1, MemoryLimit: 64 << 10,
		Offer: iscsi.Offer{ErrorRecoveryLevel: 2, MaxConnections: 3, MaxOutstandingR2T: 2},
		Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{
			{Store: store.NewMemory(1 << 20)}, {Number: 1, Store: slowly{store.NewMemory(1 << 20)}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := newPipes()
	serveOn(t, srv, l)
	asking := offering(func(o *iscsi.Offer) {
		o.ErrorRecoveryLevel, o.MaxConnections, o.DefaultTime2Retain = erl, 3, 2
		o.InitialR2T, o.NoImmediateData, o.DataPDUAnyOrder = erl > 0, erl > 1, erl > 1
		o.MaxOutstandingR2T, o.MaxRecvDataSegmentLength = 2, 4096
	})
	conns := [3]*client{0: l.login(t, withISID(1), asking)}
	go io.Copy(io.Discard, conns[0].nc)
	first := conns[0]
	next := first.cmdSN
	join := func(cid int) {
		if c, err := loginOn(t, l.dial(), first.joining(uint16(cid)), asking); err == nil {
			conns[cid] = c
			go io.Copy(io.Discard, c.nc)
		}
	}
	join(1)
	join(2)
	for itt := uint32(100); len(input) > 1+iscsi.BHSLength; itt++ {
		cid := int(input[0]&^(stepLose|stepJoin|stepWait)) % 3
		if input[0]&stepLose != 0 {
			conns[cid].nc.Close()
		}
		if input[0]&stepWait != 0 {
			time.Sleep(3 * time.Second)
		}
		if input[0]&stepJoin != 0 {
			join(cid)
		}
		wire, rest := mend(input[1], iscsi.BHS(input[2:]), input[2+iscsi.BHSLength:], itt, &next)
		input = rest
		if c := conns[cid]; c != nil {
			_, _ = c.nc.Write(wire) // it may have had enough
		}
	}
	time.Sleep(5 * time.Minute) // whatever it waits for, it waits no longer
	for _, c := range conns {
		if c != nil {
			c.nc.Close()
		}
	}
	time.Sleep(time.Minute)
	if n := len(srv.Sessions()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if n := srv.MemoryInUse(); n != 0 {
		t.Errorf("%d bytes are in use", n)
	}
	l.login(t, withISID(2)).ping()
}
