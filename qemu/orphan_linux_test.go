package qemu_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bootlun/bootlun/qemu"
)

// lanOfOrphan names, in a test process that is to leave an orphan behind, the LAN that its machine is plugged into.
const lanOfOrphan = "BOOTLUN_TEST_LAN_OF_ORPHAN"

// TestNoOrphans kills a process that runs a machine, and sees the machine end with it.
func TestNoOrphans(t *testing.T) {
	ctx := needQEMU(t)
	if socket := os.Getenv(lanOfOrphan); socket != "" {
		if _, err := (qemu.Machine{Memory: 64, NICs: []qemu.NIC{{LAN: socket}}}).Start(ctx); err != nil {
			t.Fatal(err)
		}
		select {} // Until it is killed.
	}
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "lan"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	parent := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestNoOrphans$")
	parent.Env = append(os.Environ(), lanOfOrphan+"="+ln.Addr().String())
	parent.Stderr = os.Stderr
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	machine, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	if deadline, ok := ctx.Deadline(); ok {
		machine.SetReadDeadline(deadline)
	}
	if _, err := io.Copy(io.Discard, machine); err != nil {
		t.Errorf("the machine outlived its parent: %v", err)
	}
}
