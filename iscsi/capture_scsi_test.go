package iscsi_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
)

// scsiTestdata is where package scsi keeps its golden bytes. They are made here,
// since they come over iSCSI.
const scsiTestdata = "../scsi/testdata"

// cdbTests are tests of iscsi-test-cu that between them send every kind of CDB and
// little data.
var cdbTests = []string{
	"Inquiry", "ModeSense6", "PreventAllow.Simple", "PrinReadKeys", "ProutRegister.Simple", "Read6.BeyondEol",
	"Read10.BeyondEol", "Read10.ReadProtect", "Read10.DpoFua", "Read12.ReadProtect", "Read12.DpoFua",
	"Read16.BeyondEol", "Read16.ReadProtect", "Read16.DpoFua", "ReadCapacity10", "ReadCapacity16",
	"ReportSupportedOpcodes", "StartStopUnit", "TestUnitReady", "Unmap.ZeroBlocks", "Verify10.Flags",
	"Verify12.VerifyProtect", "Verify16.Dpo", "Write10.DpoFua", "Write12.DpoFua", "Write16.DpoFua",
	"Write16.BeyondEol", "WriteSame10.Unmap", "WriteSame16.Unmap", "WriteSame10.Check", "WriteSame16.WriteProtect",
	"WriteVerify10.Flags", "WriteVerify12.Dpo", "WriteVerify16.WriteProtect", "Prefetch10.Flags",
	"Prefetch16.Flags", "OrWrite.DpoFua", "CompareAndWrite.DpoFua", "GetLBAStatus.Simple", "WriteAtomic16.ZeroBlocks",
}

// TestCaptureCDBs makes a list of CDBs that libiscsi built: up to three of each
// operation code with the same flags.
func TestCaptureCDBs(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	program := peers.Program(t, "iscsi-test-cu", "libiscsi-bin")
	g := startThinTGT(t)
	seen := map[string]int{}
	var list []string
	for _, name := range cdbTests {
		rec := startRecorder(t, g.Portal)
		// tgt fails some of the tests; what counts is what they send.
		run(t, program, "-d", "-t", "SCSI."+name, "iscsi://"+rec.addr+"/"+tgtName+"/1")
		for _, tr := range rec.stop() {
			for _, cdb := range cdbs(t, tr) {
				kind := hex.EncodeToString(cdb[:2])
				line := hex.EncodeToString(cdb[:])
				if seen[line] == 0 && seen[kind] < 3 {
					seen[line]++
					seen[kind]++
					list = append(list, line)
				}
			}
		}
	}
	sort.Strings(list)
	var b bytes.Buffer
	for _, line := range list {
		fmt.Fprintln(&b, line)
	}
	writeFile(t, filepath.Join(scsiTestdata, "libiscsi-cdbs.txt"), b.Bytes())
}

// cdbs returns the CDBs of a connection.
func cdbs(t *testing.T, tr transcript) (list [][16]byte) {
	t.Helper()
	c := iscsi.NewConn(half{bytes.NewReader(tr.stream(true))})
	c.SetRecvLimit(iscsi.MaxDataSegmentLength)
	for {
		var b iscsi.BHS
		_, err := c.ReadPDU(&b)
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		var cmd iscsi.SCSICommand
		if cmd.Decode(&b) == nil {
			list = append(list, cmd.CDB)
		}
	}
}

func startThinTGT(t *testing.T) *tgt {
	t.Helper()
	g := startTGT(t)
	g.admin(t, "--mode", "logicalunit", "--op", "update", "--tid", "1", "--lun", "1", "--params", "thin_provisioning=1,scsi_id=bootlun-id,scsi_sn=bootlun-sn")
	return g
}

// TestCaptureData makes what tgt's disk answers to commands.
func TestCaptureData(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	g := startThinTGT(t)
	c := iscsi.NewConn(dial(t, g.Portal))
	r, err := iscsi.Login(t.Context(), c, iscsi.InitiatorConfig{InitiatorName: testInitiator, TargetName: tgtName})
	if err != nil {
		t.Fatal(err)
	}
	cmdSN := r.CmdSN
	var out bytes.Buffer
	for _, q := range []struct {
		name string
		cdb  [16]byte
	}{
		{"sense: unit attention", [16]byte{0x00}},
		{"inquiry", [16]byte{0x12, 3: 0x01}},
		{"vpd 00", [16]byte{0x12, 1, 0x00, 0x01}},
		{"vpd 80", [16]byte{0x12, 1, 0x80, 0x01}},
		{"vpd 83", [16]byte{0x12, 1, 0x83, 0x01}},
		{"vpd b0", [16]byte{0x12, 1, 0xb0, 0x01}},
		{"vpd b2", [16]byte{0x12, 1, 0xb2, 0x01}},
		{"read capacity 10", [16]byte{0x25}},
		{"read capacity 16", [16]byte{0x9e, 0x10, 13: 32}},
		{"report luns", [16]byte{0xa0, 8: 1}},
		{"mode sense 6", [16]byte{0x1a, 2: 0x3f, 4: 255}},
		{"mode sense 10", [16]byte{0x5a, 2: 0x3f, 7: 1}},
		{"supported opcodes", [16]byte{0xa3, 0x0c, 8: 8}},
		{"supported opcode 28", [16]byte{0xa3, 0x0c, 0x01, 0x28, 8: 1}},
		{"supported opcode ff", [16]byte{0xa3, 0x0c, 0x01, 0xff, 8: 1}},
		{"lba status", [16]byte{0x9e, 0x12, 12: 1}},
		{"sense: out of range", [16]byte{0x28, 2: 0xff, 8: 1}},
		{"sense: invalid command", [16]byte{0xff}},
		{"sense: invalid field", [16]byte{0x12, 0, 0x83, 0, 0xff}},
	} {
		data := ask(t, c, cmdSN, q.cdb)
		cmdSN++
		fmt.Fprintf(&out, "%s\n%s", q.name, hex.Dump(data))
	}
	writeFile(t, filepath.Join(scsiTestdata, "tgt-data.txt"), out.Bytes())
}

// ask runs a command on LUN 1 and returns what it read, or its sense data.
func ask(t *testing.T, c *iscsi.Conn, cmdSN uint32, cdb [16]byte) (data []byte) {
	t.Helper()
	cmd := iscsi.SCSICommand{
		Final: true, Read: true, Attribute: iscsi.Simple, LUN: 1 << 48, ITT: cmdSN, ExpectedLength: 8192, CmdSN: cmdSN, CDB: cdb,
	}
	var b iscsi.BHS
	cmd.Encode(&b)
	writeFlush(t, c, &b, nil)
	for {
		p, err := c.ReadPDU(&b)
		if err != nil {
			t.Fatal(err)
		}
		var in iscsi.DataIn
		var rsp iscsi.SCSIResponse
		switch {
		case in.Decode(&b) == nil:
			data = append(data, p...)
			if in.HasStatus {
				return data
			}
		case rsp.Decode(&b) != nil:
			t.Fatalf("unexpected %v", &b)
		case rsp.Status != 0:
			sense, _, err := iscsi.SplitSense(p)
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Clone(sense)
		default:
			return data
		}
	}
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
