package boot

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/scsi"
)

// sgHeader is struct sg_io_hdr (Linux, include/scsi/sg.h).
type sgHeader struct {
	InterfaceID  int32
	Direction    int32
	CDBLength    uint8
	SenseLength  uint8
	Vectors      uint16
	DataLength   uint32
	Data         *byte
	CDB          *byte
	Sense        *byte
	Timeout      uint32 // in milliseconds
	Flags        uint32
	PackID       int32
	User         uintptr
	Status       uint8
	MaskedStatus uint8
	Message      uint8
	SenseWritten uint8
	HostStatus   uint16
	DriverStatus uint16
	Residual     int32
	Duration     uint32
	Info         uint32
}

const (
	sgIO       = 0x2285
	sgFromDisk = -3
	sgTimeout  = 10 * time.Second
)

// readSCSI has a disk carry out a command that yields data. A disk first tells what has happened to it since (unit attention), so
// what fails is tried again.
func readSCSI(device string, cdb scsi.CDB, data []byte) error {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	defer unix.Close(fd)
	for range 3 {
		if err = trySCSI(fd, &cdb, data); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", device, err)
}

func trySCSI(fd int, cdb *scsi.CDB, data []byte) error {
	sense := make([]byte, 64)
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(cdb)
	pinned.Pin(&data[0])
	pinned.Pin(&sense[0])
	h := sgHeader{
		InterfaceID: 'S', Direction: sgFromDisk, CDBLength: 12, SenseLength: uint8(len(sense)),
		DataLength: uint32(len(data)), Data: &data[0], CDB: &cdb[0], Sense: &sense[0], Timeout: uint32(sgTimeout.Milliseconds()),
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), sgIO, uintptr(unsafe.Pointer(&h))); errno != 0 {
		return fmt.Errorf("SG_IO: %w", errno)
	}
	if h.Status != 0 || h.HostStatus != 0 || h.DriverStatus != 0 {
		return fmt.Errorf("SG_IO: command 0x%02x: status 0x%02x, sense % x, host 0x%x, driver 0x%x",
			cdb[0], h.Status, sense[:min(int(h.SenseWritten), len(sense))], h.HostStatus, h.DriverStatus)
	}
	return nil
}
