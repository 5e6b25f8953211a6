// Package files reads the files on a disk's volumes without mounting them: on a LUN that only a userspace initiator has open, say.
//
// [Open] makes an fs.FS of a volume with ext2, ext3, ext4 or FAT32 on it. go-diskfs does the reading. This package adds what a boot
// needs: links are followed inside the file system, what is not there is fs.ErrNotExist, small reads come from a cache of large
// ones, and a damaged file system is an error, where the library would panic, run out of memory or never return.
// [Overwrite] puts other bytes in the place of a small file's, as boot loaders do; [OverwriteMounted] does on volumes that Linux has
// mounted to be read, [OverwriteReserved] in what btrfs leaves free for boot loaders.
//
// # Limits
//
// Other file systems (FAT12 and FAT16, XFS, btrfs, whatever is encrypted) give an error that wraps [ErrUnsupported]; Linux
// reads most of them (bootloader.MountFiles). Files with holes and without extents (ext2, ext3) are refused: the library reads them
// wrong or not at all.
package files
