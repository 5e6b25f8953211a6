package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/partition/gpt"
)

func TestCreateFailure(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	if err := create(path, minSize, "old", func(*os.File) error { return nil }); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := create(path, 2*minSize, "new", func(f *os.File) error {
		if _, err := f.WriteString("half"); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != minSize || !Fresh(path, "old") {
		t.Errorf("the old image has suffered: %v, %v", info, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPartition(t *testing.T) {
	for name, selfBooting := range map[string]bool{"plain": false, "self-booting": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			id := identify(name)
			// Not a whole number of mebibytes, as a LUN may be.
			const size = 100<<20 + 3*sector
			if err := create(path, size, name, func(f *os.File) error { return partition(f, size, id, selfBooting) }); err != nil {
				t.Fatal(err)
			}
			disk, err := diskfs.Open(path, diskfs.WithOpenMode(diskfs.ReadOnly))
			if err != nil {
				t.Fatal(err)
			}
			defer disk.Close()
			table, ok := disk.Table.(*gpt.Table)
			if !ok {
				t.Fatalf("the table is a %T", disk.Table)
			}
			if err := table.Verify(disk.Backend, size); err != nil {
				t.Error(err)
			}
			checkPartition(t, table, 1, gpt.LinuxRootX86_64, rootStart, rootSize(size))
			if selfBooting {
				checkPartition(t, table, 2, gpt.BIOSBoot, grubStart*sector, grubSectors*sector)
			}
			needs(t, sfdisk)
			output(t, sfdisk, "--verify", path)
		})
	}
}

func checkPartition(t *testing.T, table *gpt.Table, index int, kind gpt.Type, start, size int64) {
	t.Helper()
	for _, p := range table.Partitions {
		if p.GetIndex() != index {
			continue
		}
		if p.Type != kind || p.GetStart() != start || p.GetSize() != size {
			t.Errorf("partition %d is a %s of %d bytes at %d; want %s, %d, %d", index, p.Type, p.GetSize(), p.GetStart(), kind, size, start)
		}
		return
	}
	t.Errorf("there is no partition %d", index)
}
