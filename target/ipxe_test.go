package target_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/target/store"
)

// TestIPXE boots a virtual machine from a LUN by iPXE's own initiator: one
// command at a time, write data in 512-byte Data-Out PDUs, the T bit in every
// login request, no logout. The boot sector reads and writes its disk.
func TestIPXE(t *testing.T) {
	boot, err := os.ReadFile("testdata/boot.bin")
	if err != nil {
		t.Fatal(err)
	}
	const text = "read from the LUN\r\n\x00"
	blocks := pattern(8*512, 1)
	copy(blocks, text)
	memory := store.NewMemory(diskSize)
	for off, data := range map[int64][]byte{0: boot, 512: blocks} {
		if _, err := memory.WriteAt(data, off); err != nil {
			t.Fatal(err)
		}
	}
	_, port, err := net.SplitHostPort(serveDisk(t, memory))
	if err != nil {
		t.Fatal(err)
	}
	tftp := t.TempDir()
	script := fmt.Sprintf("#!ipxe\nsanboot iscsi:10.0.2.2::%s:0:%s\n", port, testTarget)
	if err := os.WriteFile(filepath.Join(tftp, "boot.ipxe"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "qemu-system-x86 ipxe-qemu", "qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-nodefaults", "-vga", "none",
		"-no-reboot", "-serial", "stdio", "-device", "sga", "-device", "e1000,netdev=lan,bootindex=0",
		"-netdev", "user,id=lan,tftp="+tftp+",bootfile=boot.ipxe")
	if err != nil && strings.Contains(out, "not find ROM") {
		t.Skipf("SKIP: needs iPXE's ROM (apt install ipxe-qemu): %s", out)
	}
	for _, want := range []string{"BOOTED", strings.TrimRight(text, "\r\n\x00"), "WRITTEN"} {
		if !strings.Contains(out, want) {
			t.Errorf("the console lacks %q (%v):\n%s", want, err, out)
		}
	}
	got := make([]byte, len(blocks))
	if _, err := memory.ReadAt(got, 64*512); err != nil || !bytes.Equal(got, blocks) {
		t.Errorf("what iPXE wrote is not what it read (%v)", err)
	}
}
