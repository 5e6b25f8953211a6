package iscsi_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// TestSecretDoesNotPrint tries every way in which a secret could get out unasked.
func TestSecretDoesNotPrint(t *testing.T) {
	const text = "hunter2hunter2"
	s := iscsi.Secret(text)
	var out strings.Builder
	for _, verb := range "vsqxXdfT" {
		fmt.Fprintf(&out, "%"+string(verb)+"\n", s)
		fmt.Fprintf(&out, "%+"+string(verb)+"%#"+string(verb)+"\n", s, s)
	}
	user := iscsi.CHAPUser{Name: "boot", Secret: s}
	fmt.Fprintf(&out, "%v %+v %#v %s\n", user, user, &user, &user)
	fmt.Fprintln(&out, s, user)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("login", "secret", s, "user", user, "client", iscsi.CHAPClient{User: user})
	}
	j, err := json.Marshal(map[string]any{"s": s, "u": user})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	l, err := iscsi.NewInitiatorLogin(iscsi.InitiatorConfig{
		InitiatorName: testInitiator, TargetName: tgtName, CHAP: &iscsi.CHAPClient{User: user},
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v %+v %s\n", l, l, l)
	if strings.Contains(out.String(), "hunter") || strings.Contains(out.String(), fmt.Sprintf("%x", "hunter")) {
		t.Errorf("the secret is in:\n%s", &out)
	}
	if !strings.Contains(out.String(), "***") {
		t.Errorf("nothing stands for the secret in:\n%s", &out)
	}
	if s.Reveal() != text || iscsi.Secret("").String() != "" {
		t.Error("Reveal or an empty secret is wrong")
	}
	masked := iscsi.Text{{Key: "CHAP_N", Value: "boot"}, {Key: "CHAP_R", Value: "0x1234"}}
	if got := masked.String(); got != "CHAP_N=boot CHAP_R=***" {
		t.Error(got)
	}
}
