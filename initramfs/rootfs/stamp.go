package rootfs

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"time"

	"github.com/google/uuid"
)

// Offsets in an ext4 superblock, group descriptor and inode, as in the kernel's
// Documentation/filesystems/ext4.
const (
	superblockAt     = 1024 // in the first group; elsewhere at the group's start
	superblockLength = 1024

	superBlocks         = 0x04
	superBlocksPerGroup = 0x20
	superInodesPerGroup = 0x28
	superMountTime      = 0x2C
	superWriteTime      = 0x30
	superMagic          = 0x38 // 0xEF53
	superCheckTime      = 0x40
	superInodeSize      = 0x58
	superHashSeed       = 0xEC // 16 bytes
	superDescriptorSize = 0xFE
	superMakeTime       = 0x108
	superChecksumSeed   = 0x270
	superChecksum       = 0x3FC

	descriptorInodeTable = 0x08

	inodeAccessTime = 0x08
	inodeChangeTime = 0x0C
	inodeModifyTime = 0x10
	inodeLinks      = 0x1A
	inodeGeneration = 0x64
	inodeSumLow     = 0x7C // 2 bytes
	inodeSumHigh    = 0x82 // 2 bytes
	inodeExtra      = 0x84 // nanoseconds of change, modification, access
	inodeCreateTime = 0x90
	inodeExtraEnd   = 0x98
)

// stamper rewrites the traces that the moment of making left in an ext4 file
// system: go-diskfs takes the present time and a random hash seed and offers
// no other way, and an image made twice shall be the same twice. It knows the
// file systems of writeExt4 only: 4 KiB blocks, with checksums.
type stamper struct {
	f        *os.File
	start    int64 // of the file system in f
	seconds  uint32
	hashSeed uuid.UUID
	sumSeed  uint32
}

func stampExt4(f *os.File, start int64, id uuid.UUID, when time.Time) error {
	s := stamper{f: f, start: start, seconds: uint32(when.Unix()), hashSeed: uuid.NewSHA1(id, []byte("hash seed"))}
	if err := s.stamp(); err != nil {
		return fmt.Errorf("set the time stamps of the file system: %w", err)
	}
	return nil
}

func (s stamper) stamp() error {
	super, err := s.read(superblockAt, superblockLength)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	var (
		blocksPerGroup = int64(le.Uint32(super[superBlocksPerGroup:]))
		groups         = (int64(le.Uint32(super[superBlocks:])) + blocksPerGroup - 1) / blocksPerGroup
		inodes         = int64(le.Uint32(super[superInodesPerGroup:]))
		inodeSize      = int64(le.Uint16(super[superInodeSize:]))
		descriptorSize = int64(le.Uint16(super[superDescriptorSize:]))
	)
	s.sumSeed = le.Uint32(super[superChecksumSeed:])
	descriptors, err := s.read(blockSize, groups*descriptorSize)
	if err != nil {
		return err
	}
	for group := range groups {
		at := group * blocksPerGroup * blockSize
		if group == 0 {
			at = superblockAt
		}
		if err := s.superblock(at); err != nil {
			return err
		}
		table := int64(le.Uint32(descriptors[group*descriptorSize+descriptorInodeTable:]))
		if err := s.inodes(table*blockSize, group*inodes, inodes, inodeSize); err != nil {
			return err
		}
	}
	return nil
}

// superblock stamps the superblock or its copy at offset at, if one is there.
func (s stamper) superblock(at int64) error {
	super, err := s.read(at, superblockLength)
	if err != nil || binary.LittleEndian.Uint16(super[superMagic:]) != 0xEF53 {
		return err
	}
	for _, field := range []int{superMountTime, superWriteTime, superCheckTime, superMakeTime} {
		binary.LittleEndian.PutUint32(super[field:], s.seconds)
	}
	copy(super[superHashSeed:], s.hashSeed[:])
	binary.LittleEndian.PutUint32(super[superChecksum:], crc32c(^uint32(0), super[:superChecksum]))
	return s.write(super, at)
}

// inodes stamps those in use of the table at offset at. before is how many
// there are in the tables before this one.
func (s stamper) inodes(at, before, count, size int64) error {
	table, err := s.read(at, count*size)
	if err != nil {
		return err
	}
	for i := range count {
		inode := table[i*size : (i+1)*size]
		if binary.LittleEndian.Uint16(inode[inodeLinks:]) == 0 {
			continue
		}
		s.inode(inode, uint32(before+i+1)) // they count from 1
		if err := s.write(inode, at+i*size); err != nil {
			return err
		}
	}
	return nil
}

func (s stamper) inode(inode []byte, number uint32) {
	le := binary.LittleEndian
	clear(inode[inodeExtra:inodeExtraEnd])
	for _, field := range []int{inodeAccessTime, inodeChangeTime, inodeModifyTime, inodeCreateTime} {
		le.PutUint32(inode[field:], s.seconds)
	}
	le.PutUint16(inode[inodeSumLow:], 0)
	le.PutUint16(inode[inodeSumHigh:], 0)
	sum := crc32c(s.sumSeed, le.AppendUint32(nil, number))
	sum = crc32c(sum, inode[inodeGeneration:inodeGeneration+4])
	sum = crc32c(sum, inode)
	le.PutUint16(inode[inodeSumLow:], uint16(sum))
	le.PutUint16(inode[inodeSumHigh:], uint16(sum>>16))
}

// crc32c is the checksum as ext4 uses it: not inverted before and after.
func crc32c(seed uint32, b []byte) uint32 {
	return ^crc32.Update(^seed, crc32.MakeTable(crc32.Castagnoli), b)
}

func (s stamper) read(at, n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := s.f.ReadAt(b, s.start+at)
	return b, err
}

func (s stamper) write(b []byte, at int64) error {
	_, err := s.f.WriteAt(b, s.start+at)
	return err
}
