package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/bootlun/bootlun/target/store"
)

// Magic numbers ("Values").
const (
	magicServer     = 0x4e42444d41474943 // NBDMAGIC
	magicOption     = 0x49484156454f5054 // IHAVEOPT
	magicOptReply   = 0x0003e889045565a9
	magicRequest    = 0x25609513
	magicSimple     = 0x67446698
	magicStructured = 0x668e33ef
)

// Handshake flags, the server's and the client's alike.
const (
	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1
)

// Options ("Option types").
const (
	optStartTLS        = 5
	optGo              = 7
	optStructuredReply = 8
	optSetMetaContext  = 10
)

// Option replies ("Option reply types").
const (
	repAck         = 1
	repInfo        = 3
	repMetaContext = 4
	repError       = 1 << 31
)

// Information in an answer to NBD_OPT_GO.
const (
	infoExport    = 0
	infoBlockSize = 3
)

// transmission is the flags of an export ("Transmission flags").
type transmission uint16

const (
	hasFlags       transmission = 1 << 0
	readOnly       transmission = 1 << 1
	sendFlush      transmission = 1 << 2
	sendFUA        transmission = 1 << 3
	sendWriteZeros transmission = 1 << 6
	canMultiConn   transmission = 1 << 8
)

func (t transmission) has(f transmission) bool { return t&f == f }

// command is a request's type ("Request types").
type command uint16

const (
	cmdRead        command = 0
	cmdWrite       command = 1
	cmdDisconnect  command = 2
	cmdFlush       command = 3
	cmdWriteZeroes command = 6
	cmdBlockStatus command = 7
)

func (c command) String() string {
	switch c {
	case cmdRead:
		return "read"
	case cmdWrite:
		return "write"
	case cmdFlush:
		return "flush"
	case cmdWriteZeroes:
		return "write zeroes"
	case cmdBlockStatus:
		return "block status"
	}
	return fmt.Sprintf("command %d", uint16(c))
}

// Flags of requests ("Command flags").
const (
	flagFUA    = 1 << 0
	flagReqOne = 1 << 3
)

// Structured replies ("Structured reply flags", "Structured reply types").
const (
	chunkDone        = 1 << 0
	chunkNone        = 0
	chunkData        = 1
	chunkHole        = 2
	chunkBlockStatus = 5
	chunkError       = 1 << 15
)

// The metadata context base:allocation and its flags.
const (
	contextAllocation = "base:allocation"
	stateHole         = 1 << 0
	stateZero         = 1 << 1
)

const (
	requestLength    = 28
	simpleLength     = 16
	structuredLength = 20
)

// putRequest encodes a request's header.
func putRequest(b *[requestLength]byte, flags uint16, cmd command, cookie uint64, off int64, n uint32) {
	binary.BigEndian.PutUint32(b[0:], magicRequest)
	binary.BigEndian.PutUint16(b[4:], flags)
	binary.BigEndian.PutUint16(b[6:], uint16(cmd))
	binary.BigEndian.PutUint64(b[8:], cookie)
	binary.BigEndian.PutUint64(b[16:], uint64(off))
	binary.BigEndian.PutUint32(b[24:], n)
}

// errProtocol is an answer that no server may give. The link ends with it.
var errProtocol = errors.New("the server breaks the protocol")

// errShutdown is a server's word that it is about to end.
var errShutdown = errors.New("the server is shutting down")

// remoteError makes an error of the number in a reply to r ("Error values").
func remoteError(r *request, number uint32) error {
	switch number {
	case 1:
		if r.changes() {
			return fmt.Errorf("the server does not permit it: %w (%w)", store.ErrReadOnly, syscall.EPERM)
		}
		return fmt.Errorf("the server says: %w", syscall.EPERM)
	case 5:
		return fmt.Errorf("the server says: %w", syscall.EIO)
	case 12:
		return fmt.Errorf("the server says: %w", syscall.ENOMEM)
	case 22:
		return fmt.Errorf("the server says: %w", syscall.EINVAL)
	case 28:
		return fmt.Errorf("the server says: %w", syscall.ENOSPC)
	case 95:
		return fmt.Errorf("the server says: %w", errors.ErrUnsupported)
	case 108:
		return errShutdown
	}
	return fmt.Errorf("the server says: error %d: %w", number, syscall.EIO)
}
