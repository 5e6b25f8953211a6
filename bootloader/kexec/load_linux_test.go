package kexec

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExplain(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.EKEYREJECTED: "signature by a key that it knows", unix.EPERM: "locked down", unix.ENOMEM: "memory", unix.ENOEXEC: "for a kernel",
	} {
		err := explain(errno)
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

func TestLoadRefusesBadTable(t *testing.T) {
	if _, err := Load(Config{Kernel: []byte("x"), Table: []byte("no table")}); err == nil || !strings.Contains(err.Error(), "hand the table on") {
		t.Errorf("error = %v", err)
	}
}
