package netboot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The packets of TFTP (RFC 1350, 5; RFC 2347).
const (
	tftpRRQ   = 1
	tftpWRQ   = 2
	tftpDATA  = 3
	tftpACK   = 4
	tftpERROR = 5
	tftpOACK  = 6
)

// The error codes that are sent (RFC 1350, appendix I; RFC 2347).
const (
	tftpUndefined    = 0
	tftpNotFound     = 1
	tftpViolation    = 2
	tftpIllegal      = 4
	tftpUnknownTID   = 5
	tftpHeaderLength = 4
)

// Block sizes in bytes (RFC 1350, 5; RFC 2348).
const (
	tftpDefaultBlock = 512
	tftpMinBlock     = 8
	// tftpMaxBlock keeps a block in one Ethernet frame: firmware often cannot put fragments together.
	tftpMaxBlock = 1500 - udpHeaders - tftpHeaderLength
)

// tftpRequest is a read or write request. Options not named here are not known, and so not acknowledged.
type tftpRequest struct {
	write     bool
	file      string
	mode      string
	blockSize int  // RFC 2348; 0: not asked for
	timeout   int  // seconds, RFC 2349; 0: not asked for
	size      bool // the file's size is asked for, RFC 2349
}

var errNotRequest = errors.New("not a read or write request")

// parseTFTPRequest reads a request. A bad option counts as one that is not known (RFC 2347).
func parseTFTPRequest(packet []byte) (r tftpRequest, err error) {
	if len(packet) < 2 {
		return r, errNotRequest
	}
	switch binary.BigEndian.Uint16(packet) {
	case tftpRRQ:
	case tftpWRQ:
		r.write = true
	default:
		return r, errNotRequest
	}
	fields := bytes.Split(packet[2:], []byte{0})
	if len(fields) < 3 { // The last is what follows the last NUL.
		return r, errors.New("a request without a file name or a mode")
	}
	fields = fields[:len(fields)-1]
	r.file, r.mode = string(fields[0]), strings.ToLower(string(fields[1]))
	for i := 2; i+1 < len(fields); i += 2 {
		r.option(strings.ToLower(string(fields[i])), string(fields[i+1]))
	}
	return r, nil
}

func (r *tftpRequest) option(name, value string) {
	n, err := strconv.Atoi(value)
	if err != nil {
		return
	}
	switch {
	case name == "blksize" && n >= tftpMinBlock && n <= 65464:
		r.blockSize = min(n, tftpMaxBlock)
	case name == "timeout" && n >= 1 && n <= 255:
		r.timeout = n
	case name == "tsize":
		r.size = true
	}
}

// optionAck is the answer to the options, nil where none was known.
func (r *tftpRequest) optionAck(size int64) []byte {
	b := binary.BigEndian.AppendUint16(nil, tftpOACK)
	if r.blockSize != 0 {
		b = fmt.Appendf(b, "blksize\x00%d\x00", r.blockSize)
	}
	if r.timeout != 0 {
		b = fmt.Appendf(b, "timeout\x00%d\x00", r.timeout)
	}
	if r.size {
		b = fmt.Appendf(b, "tsize\x00%d\x00", size)
	}
	if len(b) == 2 {
		return nil
	}
	return b
}

func tftpErrorPacket(code uint16, text string) []byte {
	b := binary.BigEndian.AppendUint16(nil, tftpERROR)
	b = binary.BigEndian.AppendUint16(b, code)
	return append(append(b, text[:min(len(text), tftpDefaultBlock-1)]...), 0)
}

// tftpPeerError is the client's refusal to go on.
type tftpPeerError struct {
	code uint16
	text string
}

func (e *tftpPeerError) Error() string {
	return fmt.Sprintf("the client broke off: %q (code %d)", e.text, e.code)
}

// parseTFTPAck returns the block that a packet acknowledges. Packets that are neither an acknowledgement nor an error
// are passed over.
func parseTFTPAck(packet []byte) (block uint16, ok bool, err error) {
	if len(packet) < 4 {
		return 0, false, nil
	}
	value := binary.BigEndian.Uint16(packet[2:])
	switch binary.BigEndian.Uint16(packet) {
	case tftpACK:
		return value, true, nil
	case tftpERROR:
		text, _, _ := strings.Cut(string(packet[4:]), "\x00")
		return 0, false, &tftpPeerError{code: value, text: text}
	}
	return 0, false, nil
}
