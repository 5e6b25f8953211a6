package iscsi_test

import (
	"path/filepath"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
)

// The CHAP accounts of the transcripts, public by being in this file.
var (
	captureUser   = iscsi.CHAPUser{Name: "boot", Secret: "initiator secret"}
	captureTarget = iscsi.CHAPUser{Name: "storage", Secret: "target secret 12"}
)

// captures says how each transcript is made: how tgt is set up, and what runs
// against it.
var captures = []struct {
	name         string
	headerDigest bool // in force after the login
	dataDigest   bool
	prepare      func(*testing.T, *tgt)
	run          func(t *testing.T, addr string) // addr is the recorder's
}{
	{
		name: "libiscsi-discovery",
		run:  libiscsi("iscsi-ls", "", ""),
	},
	{
		name: "libiscsi-inquiry",
		run:  libiscsi("iscsi-inq", "", "/"+tgtName+"/1"),
	},
	{
		name:    "libiscsi-chap",
		prepare: chapOneWay,
		run:     libiscsi("iscsi-inq", "boot%initiator secret@", "/"+tgtName+"/1"),
	},
	{
		name:    "libiscsi-mutual",
		prepare: chapMutual,
		run: libiscsi("iscsi-inq", "boot%initiator secret@",
			"/"+tgtName+"/1?target_user=storage&target_password=target secret 12"),
	},
	{
		name:         "libiscsi-headerdigest",
		headerDigest: true,
		prepare:      func(t *testing.T, g *tgt) { g.set(t, "HeaderDigest", "CRC32C") },
		run:          libiscsi("iscsi-inq", "", "/"+tgtName+"/1?header_digest=crc32c"),
	},
	{
		name: "libiscsi-write",
		run:  libiscsi("iscsi-test-cu", "", "/"+tgtName+"/1", "-d", "-t", "SCSI.Write10.DpoFua"),
	},
	{
		name: "libiscsi-residuals", // with R2Ts, for want of unsolicited data
		prepare: func(t *testing.T, g *tgt) {
			g.set(t, "InitialR2T", "Yes")
			g.set(t, "ImmediateData", "No")
		},
		run: libiscsi("iscsi-test-cu", "", "/"+tgtName+"/1", "-d", "-t", "iSCSI.iSCSIResiduals.Write10Residuals"),
	},
	{
		name: "libiscsi-taskmanagement",
		run:  libiscsi("iscsi-test-cu", "", "/"+tgtName+"/1", "-d", "-t", "iSCSI.iSCSITMF"),
	},
	{
		// No initiator at hand but our own knows data digests; tgt's half is
		// what matters here.
		name:         "bootlun-digests",
		headerDigest: true,
		dataDigest:   true,
		prepare: func(t *testing.T, g *tgt) {
			g.set(t, "HeaderDigest", "CRC32C")
			g.set(t, "DataDigest", "CRC32C")
		},
		run: func(t *testing.T, addr string) {
			c := iscsi.NewConn(dial(t, addr))
			r, err := iscsi.Login(t.Context(), c, iscsi.InitiatorConfig{
				InitiatorName: testInitiator,
				TargetName:    tgtName,
				Offer: iscsi.Offer{
					HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire,
					MaxRecvDataSegmentLength: 3000, // several Data-Ins, and padding
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			readBlock(t, c, r, false)
			logout(t, c, r)
			c.Close()
		},
	},
}

func chapOneWay(t *testing.T, g *tgt) {
	g.account(t, captureUser.Name, captureUser.Secret.Reveal(), false)
}

func chapMutual(t *testing.T, g *tgt) {
	chapOneWay(t, g)
	g.account(t, captureTarget.Name, captureTarget.Secret.Reveal(), true)
}

// libiscsi returns a function that runs one of libiscsi's programs on the URL made
// of credentials, address and path.
func libiscsi(name, credentials, path string, args ...string) func(*testing.T, string) {
	return func(t *testing.T, addr string) {
		t.Helper()
		_, err := run(t, peers.Program(t, name, "libiscsi-bin"), append(args, "iscsi://"+credentials+addr+path)...)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func transcriptPath(name string) string {
	return filepath.Join("testdata", "transcripts", name+".txt")
}

// TestCapture makes the transcripts again with -update. Of a program that makes
// several connections it keeps the last, where the work is done.
func TestCapture(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	for _, c := range captures {
		t.Run(c.name, func(t *testing.T) {
			g := startTGT(t)
			if c.prepare != nil {
				c.prepare(t, g)
			}
			rec := startRecorder(t, g.Portal)
			c.run(t, rec.addr)
			list := rec.stop()
			if len(list) == 0 {
				t.Fatal("nothing was recorded")
			}
			list[len(list)-1].write(t, transcriptPath(c.name))
		})
	}
}
