package rootfs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
)

// BootFiles copies the kernel and the initramfs of a Debian image with
// [DebianConfig.SelfBooting] to the folder dir, for whoever starts them in
// another way than the image's own GRUB.
func BootFiles(image, dir string) (kernel, initramfs string, err error) {
	disk, err := diskfs.Open(image, diskfs.WithOpenMode(diskfs.ReadOnly))
	if err != nil {
		return "", "", fmt.Errorf("kernel of %s: %w", image, err)
	}
	defer disk.Close()
	root, err := disk.GetFilesystem(1)
	if err != nil {
		return "", "", fmt.Errorf("kernel of %s: %w", image, err)
	}
	kernel, initramfs = filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd.img")
	for _, file := range []string{kernel, initramfs} {
		if err := copyLinked(root, filepath.Base(file), file); err != nil {
			return "", "", fmt.Errorf("/%s of %s: %w", filepath.Base(file), image, err)
		}
	}
	return kernel, initramfs, nil
}

// copyLinked copies what a link in the root folder leads to.
func copyLinked(root filesystem.FileSystem, link, file string) (err error) {
	linux, ok := root.(*ext4.FileSystem)
	if !ok {
		return fmt.Errorf("the first partition has no ext4 file system")
	}
	target, err := linux.ReadLink(link)
	if err != nil {
		return err
	}
	src, err := linux.OpenFile(target, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}
