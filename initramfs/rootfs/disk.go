package rootfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/google/uuid"
)

const (
	sector   = 512
	mebibyte = 1 << 20

	// The root partition starts at the first mebibyte; before it lies GRUB's
	// image, in a partition of its own, where there is one.
	rootStart   = mebibyte
	grubSectors = rootStart/sector - grubStart
	grubStart   = 64

	// minSize is the size of the smallest image that is made.
	minSize = 32 * mebibyte
)

// identity are the names by which others tell an image, its root partition and
// its file system. They follow from the recipe's key, so that the same recipe
// makes the same image again.
type identity struct {
	disk, partition, boot, filesystem uuid.UUID
}

func identify(key string) identity {
	name := func(what string) uuid.UUID {
		return uuid.NewSHA1(uuid.NameSpaceURL, []byte("bootlun/"+key+"/"+what))
	}
	return identity{disk: name("disk"), partition: name("partition"), boot: name("boot"), filesystem: name("filesystem")}
}

// rootSize is how many bytes of an image are its root partition's: whole
// mebibytes, as the second partition table needs some of the last one.
func rootSize(imageSize int64) int64 {
	return imageSize/mebibyte*mebibyte - rootStart - mebibyte
}

// partition writes the partition tables: the root file system is partition 1,
// GRUB's image, if the disk is to boot by itself, partition 2 in front of it.
func partition(f *os.File, size int64, id identity, selfBooting bool) error {
	table := &gpt.Table{
		LogicalSectorSize:  sector,
		PhysicalSectorSize: sector,
		ProtectiveMBR:      true,
		GUID:               guid(id.disk),
		Partitions: []*gpt.Partition{{
			Index: 1,
			Start: rootStart / sector,
			End:   uint64(rootStart+rootSize(size))/sector - 1,
			Type:  gpt.LinuxRootX86_64,
			Name:  "root",
			GUID:  guid(id.partition),
		}},
	}
	if selfBooting {
		table.Partitions = append(table.Partitions, &gpt.Partition{
			Index: 2,
			Start: grubStart,
			End:   grubStart + grubSectors - 1,
			Type:  gpt.BIOSBoot,
			Name:  "grub",
			GUID:  guid(id.boot),
		})
	}
	if err := table.Write(f, size); err != nil {
		return fmt.Errorf("write the partition table of %s: %w", f.Name(), err)
	}
	return nil
}

func guid(id uuid.UUID) string { return strings.ToUpper(id.String()) }

// create makes an image of size bytes at path by fill, and notes the key of its
// recipe beside it. Whatever is at path stays until the new image is whole.
func create(path string, size int64, key string, fill func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	defer func() {
		f.Close()
		os.Remove(f.Name()) // has another name by now if all went well
		if err != nil {
			err = fmt.Errorf("make %s: %w", path, err)
		}
	}()
	if err := f.Truncate(size); err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// The note goes first: an old note must never stand beside a new image.
	if err := os.Remove(recipePath(path)); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return os.WriteFile(recipePath(path), []byte(key+"\n"), 0o644)
}

func recipePath(path string) string { return path + ".recipe" }

// Fresh reports whether the image at path was made by the recipe with that key
// (see [TinyConfig.Key], [DebianConfig.Key]). What a machine has written to the
// image since does not count.
func Fresh(path, key string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	noted, err := os.ReadFile(recipePath(path))
	return err == nil && strings.TrimSpace(string(noted)) == key
}
