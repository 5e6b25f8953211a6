package bootloader

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// FileSystem is what a superblock says about the file system (or other content) behind it.
type FileSystem struct {
	// Type is the name Linux mounts it by ("ext4", "xfs", "btrfs", "vfat", "squashfs", "erofs", "f2fs"), or "swap",
	// "crypto_LUKS", "LVM2_member" for what cannot be mounted. Empty: nothing known was found.
	Type string
	// Label is the volume label without padding, empty if there is none.
	Label string
	// UUID is written as tools and fstab write it: 8-4-4-4-12 in lower case, "1234-ABCD" for FAT; empty if there is none.
	UUID string
}

// CanHoldRoot reports whether a Linux root can live in a file system of this type.
func (fs FileSystem) CanHoldRoot() bool {
	return slices.Contains([]string{"ext2", "ext3", "ext4", "xfs", "btrfs", "squashfs", "erofs", "f2fs"}, fs.Type)
}

// superblockSpan is how far into a volume the furthest superblock that we know (btrfs, at 64 KiB) reaches.
const superblockSpan = 64<<10 + 4096

// Probe reads the superblock of the volume of size bytes that r holds, in one read of at most 68 KiB.
// A volume with nothing known on it gives a zero FileSystem and no error.
func Probe(r io.ReaderAt, size int64) (FileSystem, error) {
	head := make([]byte, min(max(size, 0), superblockSpan))
	n, err := r.ReadAt(head, 0)
	if n < len(head) {
		return FileSystem{}, fmt.Errorf("read the superblocks (%d of the first %d bytes came): %w", n, len(head), noEOF(err))
	}
	return probe(head), nil
}

func noEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// probe asks each format in turn. Containers come first: what is inside them may look like a file system of its own.
func probe(head []byte) FileSystem {
	for _, p := range []func(superblock) FileSystem{
		probeLUKS, probeLVM, probeXFS, probeSquashfs, probeExt, probeBtrfs, probeErofs, probeF2FS, probeSwap, probeFAT,
	} {
		if fs := p(superblock(head)); fs.Type != "" {
			return fs
		}
	}
	return FileSystem{}
}

// superblock is the start of a volume. Fields beyond what was read are zero.
type superblock []byte

func (b superblock) bytes(off, n int) []byte {
	if off+n > len(b) {
		return make([]byte, n)
	}
	return b[off : off+n]
}

func (b superblock) has(off int, magic string) bool { return string(b.bytes(off, len(magic))) == magic }

func (b superblock) le16(off int) uint16 { return binary.LittleEndian.Uint16(b.bytes(off, 2)) }

func (b superblock) le32(off int) uint32 { return binary.LittleEndian.Uint32(b.bytes(off, 4)) }

// text is a NUL- or space-padded field. Labels are bytes by right; what is not UTF-8 is replaced.
func (b superblock) text(off, n int) string {
	s, _, _ := bytes.Cut(b.bytes(off, n), []byte{0})
	return strings.TrimRight(strings.ToValidUTF8(string(s), string(utf8.RuneError)), " ")
}

// uuid is a UUID stored in the order in which it is written.
func (b superblock) uuid(off int) string { return formatUUID([16]byte(b.bytes(off, 16))) }

func formatUUID(u [16]byte) string {
	if u == [16]byte{} {
		return ""
	}
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// probeExt: kernel documentation, ext4/globals, "Super Block": at 1024, magic at +0x38, features at +0x5C.
func probeExt(b superblock) FileSystem {
	const base = 1024
	if b.le16(base+0x38) != 0xEF53 {
		return FileSystem{}
	}
	compat, incompat, roCompat := b.le32(base+0x5C), b.le32(base+0x60), b.le32(base+0x64)
	const (
		hasJournal   = 0x4
		journalDev   = 0x8
		ext3Incompat = 0x2 | 0x4 | 0x10 // filetype, recover, meta_bg
		ext3RoCompat = 0x1 | 0x2 | 0x4  // sparse_super, large_file, btree_dir
	)
	fs := FileSystem{Type: "ext2", Label: b.text(base+0x78, 16), UUID: b.uuid(base + 0x68)}
	switch {
	case incompat&journalDev != 0:
		fs.Type = "jbd" // an external journal, not a file system
	case incompat&^ext3Incompat != 0 || roCompat&^ext3RoCompat != 0:
		fs.Type = "ext4"
	case compat&hasJournal != 0:
		fs.Type = "ext3"
	}
	return fs
}

// probeXFS: XFS on-disk format, "Superblocks" (sb_magicnum, sb_uuid, sb_fname).
func probeXFS(b superblock) FileSystem {
	if !b.has(0, "XFSB") {
		return FileSystem{}
	}
	return FileSystem{Type: "xfs", Label: b.text(108, 12), UUID: b.uuid(32)}
}

// probeBtrfs: btrfs on-disk format, "Superblock": at 64 KiB.
func probeBtrfs(b superblock) FileSystem {
	const base = 64 << 10
	if !b.has(base+0x40, "_BHRfS_M") {
		return FileSystem{}
	}
	return FileSystem{Type: "btrfs", Label: b.text(base+0x12B, 256), UUID: b.uuid(base + 0x20)}
}

// probeSquashfs: squashfs 4.0 has neither label nor UUID; the major version sits at 28.
func probeSquashfs(b superblock) FileSystem {
	if !b.has(0, "hsqs") || b.le16(28) != 4 {
		return FileSystem{}
	}
	return FileSystem{Type: "squashfs"}
}

// probeErofs: kernel documentation, "EROFS", struct erofs_super_block at 1024.
func probeErofs(b superblock) FileSystem {
	const base = 1024
	if b.le32(base) != 0xE0F5E1E2 {
		return FileSystem{}
	}
	return FileSystem{Type: "erofs", Label: b.text(base+64, 16), UUID: b.uuid(base + 48)}
}

// probeF2FS: kernel documentation, "F2FS", struct f2fs_super_block at 1024; the label is UTF-16.
func probeF2FS(b superblock) FileSystem {
	const base = 1024
	if b.le32(base) != 0xF2F52010 {
		return FileSystem{}
	}
	var label []uint16
	for off := base + 124; off < base+124+1024; off += 2 {
		c := b.le16(off)
		if c == 0 {
			break
		}
		label = append(label, c)
	}
	return FileSystem{Type: "f2fs", Label: string(utf16.Decode(label)), UUID: b.uuid(base + 108)}
}

// probeSwap: the signature ends the first page, so its place depends on the page size of the machine that made it.
func probeSwap(b superblock) FileSystem {
	for _, page := range []int{4 << 10, 16 << 10, 64 << 10} {
		if b.has(page-10, "SWAPSPACE2") {
			return FileSystem{Type: "swap", Label: b.text(1024+28, 16), UUID: b.uuid(1024 + 12)}
		}
	}
	return FileSystem{}
}

// probeLUKS: LUKS on-disk format 1.2.3 and LUKS2 1.0.0: the UUID is text at 168 in both, only the second has a label.
func probeLUKS(b superblock) FileSystem {
	if !b.has(0, "LUKS\xba\xbe") {
		return FileSystem{}
	}
	fs := FileSystem{Type: "crypto_LUKS", UUID: b.text(168, 40)}
	if b.has(6, "\x00\x02") {
		fs.Label = b.text(24, 48)
	}
	return fs
}

// probeLVM: the label of a physical volume is in one of the first four sectors.
func probeLVM(b superblock) FileSystem {
	for off := 0; off < 4*512; off += 512 {
		if b.has(off, "LABELONE") && b.has(off+24, "LVM2 001") {
			return FileSystem{Type: "LVM2_member", UUID: lvmUUID(b.text(off+32, 32))}
		}
	}
	return FileSystem{}
}

// lvmUUID puts in the dashes that LVM's tools print (6-4-4-4-4-4-6).
func lvmUUID(s string) string {
	if len(s) != 32 {
		return s
	}
	return strings.Join([]string{s[:6], s[6:10], s[10:14], s[14:18], s[18:22], s[22:26], s[26:]}, "-")
}

// probeFAT: Microsoft's FAT specification 1.03, "Boot Sector and BPB". A boot sector alone looks much like an MBR, hence
// the checks of the geometry.
func probeFAT(b superblock) FileSystem {
	sector, cluster := b.le16(11), b.bytes(13, 1)[0]
	if b.le16(510) != 0xAA55 || sector < 512 || sector&(sector-1) != 0 || cluster == 0 || cluster&(cluster-1) != 0 {
		return FileSystem{}
	}
	serial, label := 0, 0
	switch {
	case b.has(82, "FAT32   "):
		serial, label = 67, 71
	case b.has(54, "FAT16   "), b.has(54, "FAT12   "), b.has(54, "FAT     "):
		serial, label = 39, 43
	default:
		return FileSystem{}
	}
	fs := FileSystem{Type: "vfat", Label: b.text(label, 11)}
	if fs.Label == "NO NAME" {
		fs.Label = ""
	}
	if v := b.le32(serial); v != 0 {
		fs.UUID = fmt.Sprintf("%04X-%04X", v>>16, v&0xFFFF)
	}
	return fs
}
