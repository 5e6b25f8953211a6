package initiator

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// FuzzSession has a target that logs in properly and then sends anything. The
// session must neither panic nor hang, and a read must not go beyond its buffer.
func FuzzSession(f *testing.F) {
	pdu := func(p iscsi.PDU, data string) []byte {
		var b iscsi.BHS
		p.Encode(&b)
		b.SetResponseSN(1, firstCmdSN+1, firstCmdSN+8)
		b.SetDataSegmentLength(len(data))
		return append(b[:], data...)
	}
	tag := uint32(1 << tagIndexBits) // the first command's, if its task is the first
	data := string(make([]byte, 512))
	for _, p := range [][]byte{
		nil,
		pdu(&iscsi.DataIn{ITT: tag, HasStatus: true}, data),
		append(pdu(&iscsi.DataIn{ITT: tag, BufferOffset: 512}, data), pdu(&iscsi.SCSIResponse{ITT: tag}, "")...),
		pdu(&iscsi.SCSIResponse{ITT: tag, Status: 2}, string(iscsi.AppendSense(nil, []byte{0x70, 0, 6, 18: 0}))),
		pdu(&iscsi.R2T{ITT: tag, DesiredLength: 512}, ""),
		pdu(&iscsi.NOPIn{ITT: iscsi.ReservedTag, TTT: 7}, "ping"),
		pdu(&iscsi.TaskManagementResponse{ITT: tag | tagAbort}, ""),
		pdu(&iscsi.AsyncMessage{Event: iscsi.AsyncLogout}, ""),
		pdu(&iscsi.Reject{Reason: iscsi.RejectInvalidField}, data[:48]),
		pdu(&iscsi.LogoutResponse{ITT: logoutTag}, ""),
		pdu(&iscsi.DataIn{ITT: tag, DataSN: 3, Acknowledge: true}, data),
		pdu(&iscsi.SCSIResponse{ITT: tag, ExpDataSN: 2}, ""),
		pdu(&iscsi.R2T{ITT: tag, R2TSN: 1, DesiredLength: 512}, ""),
		pdu(&iscsi.AsyncMessage{Event: iscsi.AsyncNegotiate}, ""),
		pdu(&iscsi.AsyncMessage{Event: iscsi.AsyncSCSI}, string(iscsi.AppendSense(nil, []byte{0x70, 0, 6, 18: 0}))),
		pdu(&iscsi.TextResponse{ITT: textTag, TTT: iscsi.ReservedTag, Final: true}, "MaxRecvDataSegmentLength=512\x00"),
	} {
		for kind := range byte(4) {
			f.Add(p, kind&1 != 0, kind&2 != 0)
		}
	}
	f.Fuzz(func(t *testing.T, sent []byte, write, strict bool) {
		ours, theirs := net.Pipe()
		params := iscsi.DefaultParams()
		if strict {
			params.ErrorRecoveryLevel = 1
		}
		s := newNexus(fuzzConfig(), &loggedIn{conn: fuzzConn(ours), result: iscsi.InitiatorResult{
			Params: params, ExpStatSN: 1, CmdSN: firstCmdSN, MaxCmdSN: firstCmdSN + 7,
		}}, func(iscsi.LUN, scsi.Sense) {})
		done := make(chan struct{})
		go func() { // the target: reads whatever comes, sends and leaves
			defer close(done)
			go io.Copy(io.Discard, theirs)
			theirs.Write(sent)
			theirs.Close()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		buf := make([]byte, 4096)
		cmd := Command{CDB: scsi.ReadCDB(0, 2), In: buf[:1024]}
		if write {
			cmd = Command{CDB: scsi.WriteCDB(0, 2), Out: buf[:1024]}
		}
		r, _, err := s.execute(ctx, &cmd)
		if err == nil && (r.Residual > 1024 || len(r.Sense) > maxSense) {
			t.Errorf("%+v", r)
		}
		s.shut()
		<-done
		if ctx.Err() != nil {
			t.Error("hung")
		}
		for _, b := range buf[1024:] {
			if b != 0 {
				t.Fatal("written beyond the buffer")
			}
		}
	})
}

func fuzzConn(nc net.Conn) *iscsi.Conn {
	c := iscsi.NewConn(nc)
	c.SetRecvLimit(iscsi.DefaultMaxRecvDataSegmentLength)
	return c
}

func fuzzConfig() *Config {
	cfg, err := Config{Initiator: testInitiator, Target: fakeTarget, Portal: "fuzz", MaxCommands: 2}.withDefaults(false)
	if err != nil {
		panic(err)
	}
	cfg.Timeouts.Logout = time.Second
	return &cfg
}

// FuzzExtents compares extents with a plain map of bytes.
func FuzzExtents(f *testing.F) {
	f.Add([]byte{0, 4, 4, 8, 12, 3, 8, 12})
	f.Add([]byte{9, 1, 7, 1, 8, 1, 0, 7})
	f.Fuzz(func(t *testing.T, parts []byte) {
		var e extents
		var have [512]bool
		for ; len(parts) >= 2; parts = parts[2:] {
			lo, hi := int(parts[0]), int(parts[0])+int(parts[1])
			if lo == hi {
				continue
			}
			free := true
			for _, b := range have[lo:hi] {
				free = free && !b
			}
			if e.add(uint32(lo), uint32(hi)) != free {
				t.Fatalf("add %d..%d to %v: want %v", lo, hi, e, free)
			}
			for i := lo; free && i < hi; i++ {
				have[i] = true
			}
		}
		prefix, count := 0, 0
		for prefix < len(have) && have[prefix] {
			prefix++
		}
		for _, b := range have {
			if b {
				count++
			}
		}
		if n, holes := e.prefix(); n != prefix || holes != (count > prefix) {
			t.Fatalf("%v: prefix %d, %v; want %d, %v", e, n, holes, prefix, count > prefix)
		}
	})
}
