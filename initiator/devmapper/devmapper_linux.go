package devmapper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layout of struct dm_ioctl and struct dm_target_spec (Linux, include/uapi/linux/dm-ioctl.h).
const (
	headerSize   = 312
	dataSizeAt   = 12
	dataStartAt  = 16
	countAt      = 20
	flagsAt      = 28
	devAt        = 40
	nameAt       = 48
	nameSize     = 128
	uuidAt       = 176
	uuidSize     = 129
	specSize     = 40
	specLengthAt = 8
	specNextAt   = 20
	specTypeAt   = 24
	specTypeSize = 16

	flagBufferFull = 1 << 8
	flagSkipLockFS = 1 << 10
	flagNoFlush    = 1 << 11
)

// Commands, by their numbers.
const (
	cmdCreate      = 3
	cmdRemove      = 4
	cmdSuspend     = 6 // and resume, which is what it is used for here
	cmdTableLoad   = 9
	cmdTableStatus = 12
	cmdMessage     = 14
)

// Mapper is device-mapper's control device. Its methods may be called from several goroutines.
type Mapper struct{ control *os.File }

// Open opens the control device, such as /dev/mapper/control.
func Open(path string) (*Mapper, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w; is module dm_mod loaded?", err)
	}
	return &Mapper{f}, nil
}

// Close closes the control device. Mapped devices stay.
func (m *Mapper) Close() error { return m.control.Close() }

// Target is a stretch of a mapped device, in sectors of 512 bytes, and what it is mapped to.
type Target struct {
	Start, Length uint64
	Type, Params  string
}

// Create makes a device of targets, each of which starts where the one before it ends, and gives its name in /dev, such as "dm-0".
// The UUID says whose it is.
func (m *Mapper) Create(name, uuid string, targets ...Target) (string, error) {
	dev, err := m.call(cmdCreate, name, uuid, 0, nil)
	if err != nil {
		return "", err
	}
	if err := m.Replace(name, targets...); err != nil {
		return "", errors.Join(fmt.Errorf("map %s: %w", name, err), m.Remove(name))
	}
	return fmt.Sprintf("dm-%d", unix.Minor(binary.NativeEndian.Uint64(dev[devAt:]))), nil
}

// Replace gives a device a new table. The device may be in use, and I/O that waits goes on by the new one: nothing is flushed, and
// no file system is asked to hold still.
func (m *Mapper) Replace(name string, targets ...Target) error {
	var table []byte
	var lines []string
	for _, t := range targets {
		table = append(table, encodeTarget(t)...)
		lines = append(lines, t.Type+" "+t.Params)
	}
	_, err := m.call(cmdTableLoad, name, "", uint32(len(targets)), table)
	if err == nil {
		_, err = m.call(cmdSuspend, name, "", 0, nil)
	}
	if err != nil {
		return fmt.Errorf("%w: %q", err, lines)
	}
	return nil
}

// Remove takes a device away. It must not be in use.
func (m *Mapper) Remove(name string) error {
	_, err := m.call(cmdRemove, name, "", 0, nil)
	return err
}

// Message sends a message to the target at the device's start.
func (m *Mapper) Message(name, text string) error {
	_, err := m.call(cmdMessage, name, "", 0, append(make([]byte, 8), text+"\x00"...))
	return err
}

// Status is what a device's only target says of itself.
func (m *Mapper) Status(name string) (string, error) {
	b, err := m.call(cmdTableStatus, name, "", 0, make([]byte, 16<<10))
	if err != nil {
		return "", err
	}
	start := int(binary.NativeEndian.Uint32(b[dataStartAt:]))
	if binary.NativeEndian.Uint32(b[flagsAt:])&flagBufferFull != 0 || start+specSize > len(b) {
		return "", fmt.Errorf("status of %s: its answer has no room", name)
	}
	return unix.ByteSliceToString(b[start+specSize:]), nil
}

// encodeTarget is a dm_target_spec with its parameters.
func encodeTarget(t Target) []byte {
	b := make([]byte, (specSize+len(t.Params)+1+7)&^7)
	ne := binary.NativeEndian
	ne.PutUint64(b, t.Start)
	ne.PutUint64(b[specLengthAt:], t.Length)
	ne.PutUint32(b[specNextAt:], uint32(len(b)))
	copy(b[specTypeAt:specTypeAt+specTypeSize-1], t.Type)
	copy(b[specSize:], t.Params)
	return b
}

// call does one ioctl and gives the buffer as the kernel left it.
func (m *Mapper) call(cmd uint, name, uuid string, count uint32, data []byte) ([]byte, error) {
	if len(name) >= nameSize || len(uuid) >= uuidSize {
		return nil, fmt.Errorf("device-mapper: name %q or UUID %q is too long", name, uuid)
	}
	b := make([]byte, headerSize+len(data))
	ne := binary.NativeEndian
	ne.PutUint32(b, 4) // the interface's version; its minor numbers only add
	ne.PutUint32(b[dataSizeAt:], uint32(len(b)))
	ne.PutUint32(b[dataStartAt:], headerSize)
	ne.PutUint32(b[countAt:], count)
	if cmd == cmdSuspend {
		ne.PutUint32(b[flagsAt:], flagSkipLockFS|flagNoFlush)
	}
	copy(b[nameAt:], name)
	copy(b[uuidAt:], uuid)
	copy(b[headerSize:], data)
	const readWrite, dmType = 3, 0xfd
	request := readWrite<<30 | headerSize<<16 | dmType<<8 | cmd
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, m.control.Fd(), uintptr(request), uintptr(unsafe.Pointer(&b[0])))
	runtime.KeepAlive(m)
	if errno != 0 {
		return nil, fmt.Errorf("device-mapper: %s: %w", commandName(cmd, name), errno)
	}
	return b, nil
}

func commandName(cmd uint, name string) string {
	verb := map[uint]string{
		cmdCreate: "make", cmdRemove: "remove", cmdSuspend: "resume", cmdTableLoad: "load the table of",
		cmdTableStatus: "look at", cmdMessage: "message",
	}[cmd]
	return verb + " " + name
}
