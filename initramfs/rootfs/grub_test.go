package rootfs

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

func TestLinkGRUB(t *testing.T) {
	boot := bytes.Repeat([]byte{0xAA}, sector)
	core := bytes.Repeat([]byte{0xBB}, 100*sector+1)
	code, whole, err := linkGRUB(boot, core)
	if err != nil {
		t.Fatal(err)
	}
	if len(code) != bootCodeLength {
		t.Errorf("the boot code has %d bytes; what is behind %d belongs to the partition table", len(code), bootCodeLength)
	}
	le := binary.LittleEndian
	if at := le.Uint64(code[0x5C:]); at != 64 {
		t.Errorf("the boot sector loads sector %d", at)
	}
	if len(whole) != 101*sector || whole[100*sector] != 0xBB || whole[100*sector+1] != 0 {
		t.Errorf("the core image has %d bytes", len(whole))
	}
	if at, count, segment := le.Uint64(whole[0x1F4:]), le.Uint16(whole[0x1FC:]), le.Uint16(whole[0x1FE:]); at != 65 || count != 100 || segment != 0x820 {
		t.Errorf("its first sector loads %d from %d to segment %#x", count, at, segment)
	}
	if boot[0x5C] != 0xAA || core[0x1F4] != 0xBB {
		t.Error("the arguments were changed")
	}
}

func TestLinkGRUBRefuses(t *testing.T) {
	for name, sizes := range map[string][2]int{
		"short boot sector": {sector - 1, 2 * sector},
		"short core":        {sector, sector},
		"long core":         {sector, grubSectors*sector + 1},
	} {
		if _, _, err := linkGRUB(make([]byte, sizes[0]), make([]byte, sizes[1])); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestInstallGRUB uses the real GRUB and looks whether the partition tables
// have survived it.
func TestInstallGRUB(t *testing.T) {
	needs(t, grubImage)
	if err := grubFiles(); err != nil {
		t.Skip("SKIP: ", err)
	}
	f := newFile(t, 64<<20)
	if err := partition(f, 64<<20, identify("test"), true); err != nil {
		t.Fatal(err)
	}
	before := head(t, f)
	if err := InstallGRUB(t.Context(), f, grubPrefix, grubModules[:], testLog(t)); err != nil {
		t.Fatal(err)
	}
	after := head(t, f)
	if !bytes.Equal(before[bootCodeLength:grubStart*sector], after[bootCodeLength:grubStart*sector]) {
		t.Error("the partition tables have changed")
	}
	boot, err := os.ReadFile(filepath.Join(grubDir, "boot.img"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(after[:bootCoreSector], boot[:bootCoreSector]) {
		t.Error("the boot sector is not GRUB's")
	}
	if bytes.Equal(after[grubStart*sector:(grubStart+1)*sector], make([]byte, sector)) {
		t.Error("there is no core image")
	}
	needs(t, sfdisk)
	output(t, sfdisk, "--verify", f.Name())
}

// head reads what is before the first mebibyte.
func head(t *testing.T, f *os.File) []byte {
	t.Helper()
	b := make([]byte, rootStart)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCopySparse(t *testing.T) {
	const hole = 8 << 20
	content := append(append([]byte("front"), make([]byte, hole)...), "back"...)
	dst := newFile(t, 4096+int64(len(content)))
	if err := copySparse(t.Context(), dst, 4096, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dst.Name())
	if err != nil || !bytes.Equal(got[4096:], content) || !bytes.Equal(got[:4096], make([]byte, 4096)) {
		t.Errorf("the copy differs: %v", err)
	}
}
