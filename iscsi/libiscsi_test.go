package iscsi_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
)

// TestServeLibiscsi lets libiscsi's iscsi-inq log in and ask one INQUIRY, in every
// way that it knows, of a target that can do just that.
func TestServeLibiscsi(t *testing.T) {
	inq := peers.Program(t, "iscsi-inq", "libiscsi-bin")
	server := &iscsi.CHAPServer{Users: []iscsi.CHAPUser{captureUser}, Target: captureTarget}
	tests := []struct {
		name        string
		access      iscsi.Access
		credentials string
		query       string
		status      iscsi.LoginStatus
		want        func(iscsi.TargetResult) bool
	}{
		{name: "plain", want: func(r iscsi.TargetResult) bool { return r.CHAPUser == "" && r.TargetName == tgtName }},
		{
			name: "header digest", access: iscsi.Access{Offer: iscsi.Offer{HeaderDigest: iscsi.DigestRequire}},
			query: "?header_digest=crc32c", want: func(r iscsi.TargetResult) bool { return r.Params.HeaderDigest },
		},
		{
			name: "CHAP", access: iscsi.Access{CHAP: server}, credentials: "boot%initiator secret@",
			want: func(r iscsi.TargetResult) bool { return r.CHAPUser == "boot" },
		},
		{
			name: "mutual CHAP", access: iscsi.Access{CHAP: server}, credentials: "boot%initiator secret@",
			query: "?target_user=storage&target_password=target secret 12",
			want:  func(r iscsi.TargetResult) bool { return r.CHAPUser == "boot" },
		},
		{
			name: "wrong secret", access: iscsi.Access{CHAP: server}, credentials: "boot%wrong@",
			status: iscsi.StatusAuthenticationFailed,
		},
		{name: "no CHAP", access: iscsi.Access{CHAP: server}, status: iscsi.StatusAuthenticationFailed},
		{name: "denied", access: iscsi.Access{Status: iscsi.StatusAuthorizationFailed}, status: iscsi.StatusAuthorizationFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- serveInquiry(t, l, tt.access, tt.want) }()
			out, err := run(t, inq, "iscsi://"+tt.credentials+l.Addr().String()+"/"+tgtName+"/1"+tt.query)
			serveErr := <-served
			if tt.status != 0 {
				var le *iscsi.LoginError
				if err == nil || !errors.As(serveErr, &le) || le.Status != tt.status {
					t.Errorf("iscsi-inq %v, login %v", err, serveErr)
				}
				return
			}
			if err != nil || serveErr != nil || !strings.Contains(out, "Vendor:BOOTLUN") {
				t.Errorf("iscsi-inq %v, login %v\n%s", err, serveErr, out)
			}
		})
	}
}

// serveInquiry is a target for one connection: login, INQUIRY, logout.
func serveInquiry(t *testing.T, l net.Listener, a iscsi.Access, want func(iscsi.TargetResult) bool) error {
	nc, err := l.Accept()
	l.Close() // or libiscsi would wait for another connection after a failure
	if err != nil {
		return err
	}
	defer nc.Close()
	c := iscsi.NewConn(nc)
	r, err := iscsi.ServeLogin(t.Context(), c, targetConfig(a))
	if err != nil {
		return err
	}
	if !want(r) {
		t.Errorf("%+v", r)
	}
	for statSN := r.StatSN; ; statSN++ {
		var b iscsi.BHS
		if _, err := c.ReadPDU(&b); err != nil {
			return err
		}
		expCmdSN := b.CmdSN()
		if !b.Immediate() {
			expCmdSN++
		}
		var data []byte
		switch b.Opcode() {
		case iscsi.OpSCSICommand:
			var cmd iscsi.SCSICommand
			if err := cmd.Decode(&b); err != nil {
				return err
			}
			if cmd.CDB[0] != 0x12 { // all but INQUIRY: GOOD
				rsp := iscsi.SCSIResponse{ITT: cmd.ITT, StatSN: statSN, ExpCmdSN: expCmdSN, MaxCmdSN: expCmdSN + 10}
				rsp.Encode(&b)
				break
			}
			data = []byte("\x00\x00\x06\x02\x1f\x00\x00\x00BOOTLUN login test      0001")
			in := iscsi.DataIn{
				Final: true, HasStatus: true, ITT: cmd.ITT, TTT: iscsi.ReservedTag,
				StatSN: statSN, ExpCmdSN: expCmdSN, MaxCmdSN: expCmdSN + 10,
				Underflow: true, ResidualCount: cmd.ExpectedLength - uint32(len(data)),
			}
			in.Encode(&b)
		case iscsi.OpLogoutRequest:
			(&iscsi.LogoutResponse{ITT: b.ITT(), StatSN: statSN, ExpCmdSN: expCmdSN, MaxCmdSN: expCmdSN}).Encode(&b)
			return errors.Join(c.WritePDU(&b, nil), c.Flush())
		default:
			return errors.New("unexpected " + b.String())
		}
		if err := errors.Join(c.WritePDU(&b, nil, data), c.Flush()); err != nil {
			return err
		}
	}
}
