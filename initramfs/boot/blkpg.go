package boot

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blkpgPartition is struct blkpg_partition of linux/blkpg.h.
type blkpgPartition struct {
	start, length int64
	number        int32
	_             [64]byte // names, which the kernel does not look at
	_             [64]byte
	_             [4]byte
}

// deletePartition has the kernel forget a partition of a disk; what is on the disk stays.
func deletePartition(disk *os.File, number int) error {
	const del = 2 // BLKPG_DEL_PARTITION
	p := blkpgPartition{number: int32(number)}
	argument := struct {
		op, flags, length int32
		data              unsafe.Pointer
	}{op: del, length: int32(unsafe.Sizeof(p)), data: unsafe.Pointer(&p)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, disk.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&argument)))
	runtime.KeepAlive(&p)
	if errno != 0 {
		return errno
	}
	return nil
}
