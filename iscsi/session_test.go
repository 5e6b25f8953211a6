package iscsi_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// readBlock proves that what a login settled is right, by using it: it reads a few
// blocks of tgt's disk, or in a discovery session lists its targets.
func readBlock(t *testing.T, c *iscsi.Conn, r iscsi.InitiatorResult, discovery bool) {
	t.Helper()
	if discovery {
		records := sendTargets(t, c, r)
		if len(records) != 1 || records[0].Name != tgtName || len(records[0].Addresses) == 0 {
			t.Errorf("SendTargets: %+v", records)
		}
		return
	}
	const blocks = 9
	lun, err := iscsi.MakeLUN(1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := iscsi.SCSICommand{
		Final: true, Read: true, Attribute: iscsi.Simple, LUN: lun, ITT: 7, ExpectedLength: blocks * 512,
		CmdSN: r.CmdSN, ExpStatSN: r.ExpStatSN,
		CDB: [16]byte{0x28, 8: blocks}, // READ(10)
	}
	disk := make([]byte, blocks*512)
	status := runRead(t, c, cmd, disk)
	if status == 2 { // the unit attention that follows a login
		cmd.CmdSN, cmd.ExpStatSN = cmd.CmdSN+1, cmd.ExpStatSN+1
		status = runRead(t, c, cmd, disk)
	}
	if status != 0 {
		t.Fatalf("READ(10): status %d", status)
	}
	if !bytes.Equal(disk, tgtPattern()[:len(disk)]) {
		t.Errorf("the blocks read are not those on the disk: %.1024q", disk)
	}
}

// runRead sends a command, reads its Data-In PDUs into p and returns its status.
// The data counts only if that is good: tgt sends zeros before a CHECK CONDITION.
func runRead(t *testing.T, c *iscsi.Conn, cmd iscsi.SCSICommand, p []byte) (status uint8) {
	t.Helper()
	var b iscsi.BHS
	cmd.Encode(&b)
	writeFlush(t, c, &b, nil)
	for {
		if err := c.ReadHeader(&b); err != nil {
			t.Fatal(err)
		}
		if b.Opcode() == iscsi.OpSCSIResponse {
			var rsp iscsi.SCSIResponse
			if err := errors.Join(rsp.Decode(&b), c.SkipData()); err != nil {
				t.Fatal(err)
			}
			return rsp.Status
		}
		var in iscsi.DataIn
		if err := in.Decode(&b); err != nil {
			t.Fatal(err)
		}
		n := c.DataLeft()
		part := p[in.BufferOffset:][:n]
		// In two pieces, as a scatter list would be read.
		if err := errors.Join(c.ReadData(part[:n/2]), c.ReadData(part[n/2:])); err != nil {
			t.Fatal(err)
		}
		if in.HasStatus {
			return in.Status
		}
	}
}

// sendTargets asks for all targets in a discovery session.
func sendTargets(t *testing.T, c *iscsi.Conn, r iscsi.InitiatorResult) []iscsi.TargetRecord {
	t.Helper()
	req := iscsi.TextRequest{Final: true, ITT: 3, TTT: iscsi.ReservedTag, CmdSN: r.CmdSN, ExpStatSN: r.ExpStatSN}
	var b iscsi.BHS
	req.Encode(&b)
	writeFlush(t, c, &b, iscsi.Text{{Key: "SendTargets", Value: "All"}}.Append(nil))
	data, err := c.ReadPDU(&b)
	if err != nil {
		t.Fatal(err)
	}
	var rsp iscsi.TextResponse
	if err := rsp.Decode(&b); err != nil {
		t.Fatal(err)
	}
	records, err := iscsi.ParseTargets(data)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func writeFlush(t *testing.T, c *iscsi.Conn, b *iscsi.BHS, data []byte) {
	t.Helper()
	if err := c.WritePDU(b, nil, data); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// logout closes the session; its CmdSN is the one after all of readBlock's.
func logout(t *testing.T, c *iscsi.Conn, r iscsi.InitiatorResult) {
	t.Helper()
	var b iscsi.BHS
	req := iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession, ITT: 9, CmdSN: r.CmdSN + 2, ExpStatSN: r.ExpStatSN + 2}
	req.Encode(&b)
	writeFlush(t, c, &b, nil)
	if _, err := c.ReadPDU(&b); err != nil {
		t.Fatal(err)
	}
	var rsp iscsi.LogoutResponse
	if err := rsp.Decode(&b); err != nil || rsp.Response != iscsi.LogoutClosed {
		t.Fatalf("logout: %v, %v", rsp.Response, err)
	}
}
