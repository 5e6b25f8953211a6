package iscsi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// TestNames: every code has a name, unknown ones show their number, none panics.
func TestNames(t *testing.T) {
	tests := []struct {
		named   fmt.Stringer
		name    string
		unknown fmt.Stringer
	}{
		{iscsi.OpR2T, "R2T", iscsi.Opcode(0x3e)},
		{iscsi.CommandTargetFailure, "target failure", iscsi.CommandResponse(0x80)},
		{iscsi.QueryAsyncEvent, "QUERY ASYNCHRONOUS EVENT", iscsi.TaskFunction(0)},
		{iscsi.TaskFunctionRejected, "function rejected", iscsi.TaskResponse(9)},
		{iscsi.TaskFunctionSucceeded, "function succeeded", iscsi.TaskResponse(254)},
		{iscsi.AsyncVendor, "vendor-specific event", iscsi.AsyncEvent(6)},
		{iscsi.LogoutRecovery, "remove the connection for recovery", iscsi.LogoutReason(3)},
		{iscsi.LogoutCleanupFailed, "cleanup failed", iscsi.LogoutResult(4)},
		{iscsi.RejectWaitingForLogout, "waiting for logout", iscsi.RejectReason(1)},
		{iscsi.FullFeaturePhase, "FullFeaturePhase", iscsi.Stage(2)},
		{iscsi.CHAPSHA3256, "SHA3-256", iscsi.CHAPAlgorithm(99)},
		{iscsi.StatusSessionDoesNotExist, "session does not exist (0x020a)", iscsi.LoginStatus(0x0399)},
	}
	for _, tt := range tests {
		if got := tt.named.String(); got != tt.name {
			t.Errorf("%q, want %q", got, tt.name)
		}
		if got := tt.unknown.String(); !strings.ContainsAny(got, "0123456789") {
			t.Errorf("%T: unknown value %q shows no number", tt.unknown, got)
		}
	}
	for op := range 64 {
		p, err := iscsi.DecodePDU(&iscsi.BHS{byte(op)})
		if named := !strings.HasPrefix(iscsi.Opcode(op).String(), "opcode"); named != (err == nil) {
			t.Errorf("opcode %#x: name %v, PDU %v", op, iscsi.Opcode(op), p)
		}
	}
}

func TestLoginStatus(t *testing.T) {
	retry := map[iscsi.LoginStatus]bool{
		iscsi.StatusMovedTemporarily: true, iscsi.StatusMovedPermanently: true, iscsi.StatusTargetError: true,
		iscsi.StatusServiceUnavailable: true, iscsi.StatusOutOfResources: true, 0x0399: true,
	}
	for _, s := range []iscsi.LoginStatus{
		0x0101, 0x0102, 0x0200, 0x0201, 0x0202, 0x0203, 0x0204, 0x0205, 0x0206, 0x0207, 0x0208, 0x0209, 0x020a,
		0x020b, 0x0300, 0x0301, 0x0302, 0x0299, 0x0399, 0x0900,
	} {
		if s.Retry() != retry[s] {
			t.Errorf("%v: Retry %v", s, s.Retry())
		}
		if s.Advice() == "" {
			t.Errorf("%v: no advice", s)
		}
		if !strings.HasSuffix(s.String(), fmt.Sprintf("(0x%04x)", uint16(s))) {
			t.Errorf("%v: without its number", s)
		}
	}
	if s := iscsi.StatusSuccess; s.Advice() != "" || s.String() != "success (0x0000)" {
		t.Errorf("success: %v, %q", s, s.Advice())
	}
}

func TestLoginError(t *testing.T) {
	e := &iscsi.LoginError{
		Status: iscsi.StatusMovedTemporarily, Redirect: iscsi.TargetAddress{Host: "2001:db8::1", Port: 3261, Tag: 2},
	}
	if got, want := e.Error(), "iscsi: login refused: target moved temporarily (0x0101): go to [2001:db8::1]:3261,2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e = &iscsi.LoginError{Status: iscsi.StatusTargetNotFound, Reason: "iqn.x"}
	want := "iscsi: login refused: target not found (0x0203): iqn.x; check the target name, and that this portal serves it"
	if got := e.Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
