package main

import (
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli"
)

func TestShowHex(t *testing.T) {
	const table = goldenDir + "ipxe-chap.bin"
	code, out, errout := runIn(t, "", "show --hex "+table)
	if code != cli.ExitOK || errout != "" {
		t.Fatalf("exit %d: %s", code, errout)
	}
	for _, want := range []string{
		"header\n  0000  69 42 46 54                                      signature  iBFT\n",
		"  0042  14 zeros                                         padding\n",
		"NIC 0\n  00a0  03                                               id  3 (NIC)\n",
		"  00a6  00 00 00 00 00 00 00 00 00 00 ff ff 0a 00 02 0f  IP address  10.0.2.15\n",
		"  0254  ** ** ** ** ** ** ** ** ** ** ** ** ** **        target 0 CHAP secret  ********\n",
		"  0200  69 71 6e 2e 32 30 32 36 2d 30 31 2e 63 6f 6d 2e  initiator 0 name  iqn.2026-01.com.example:machine\n" +
			"  0210  65 78 61",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if secret := "6d 61 63 68 69 6e 65 2d 73"; strings.Contains(out, secret) {
		t.Error("the bytes of a secret are told")
	}
	_, out, _ = runIn(t, "", "show --hex --reveal-secrets "+table)
	if want := "6d 61 63 68 69 6e 65 2d 73 65 63 72 65 74        target 0 CHAP secret  machine-secret\n"; !strings.Contains(out, want) {
		t.Errorf("no %q in:\n%s", want, out)
	}
}

// A table that does not parse is shown too, and does not reach the terminal as it is.
func TestShowHexBroken(t *testing.T) {
	code, out, _ := runIn(t, "\x1b[2Jx", "show --hex -")
	if code != cli.ExitOK || strings.Contains(out, "\x1b") || !strings.Contains(out, "1b 5b 32 4a 78") {
		t.Errorf("exit %d: %q", code, out)
	}
}

func TestShowHexTooLong(t *testing.T) {
	if code, _, errout := runIn(t, "iBFT"+string(make([]byte, maxHex)), "show --hex -"); code != cli.ExitFailed || !strings.Contains(errout, "too many to print") {
		t.Errorf("exit %d: %s", code, errout)
	}
}
