// Package bare is TCP under a disk's load, with as many bytes each way as iSCSI needs and nothing else: what a session of the kernel
// is measured against. The measuring guest and the host beside it share it.
package bare

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// Workload is what is measured.
type Workload struct {
	Name  string `json:"name"`
	Write bool   `json:"write"`
	// Size is the bytes of a command, Depth how many are outstanding. A command of less than 64 KiB goes to a random place.
	Size  int `json:"size"`
	Depth int `json:"depth"`
}

// Result is one measurement, of the disk or of TCP.
type Result struct {
	Workload
	TCP     bool    `json:"tcp"`
	Ops     int     `json:"ops"`
	Seconds float64 `json:"seconds"`
}

// Order is what the guest is told to do.
type Order struct {
	Target, Portal, Bare string
	Rounds               int
	Seconds              float64
	Workloads            []Workload
}

// Mark begins the lines of the guest's console that have a Result, and EndMark the last one.
const (
	Mark    = "bench-result: "
	EndMark = "bench-end: "
)

const (
	headerLength = 48 // as a PDU's
	maxSize      = 1 << 20
)

var errHeader = errors.New("bare: not a header of ours")

func header(write bool, size int) (h [headerLength]byte) {
	h[0] = 'r'
	if write {
		h[0] = 'w'
	}
	binary.BigEndian.PutUint32(h[4:], uint32(size))
	return h
}

func parse(h *[headerLength]byte) (write bool, size int, err error) {
	n := binary.BigEndian.Uint32(h[4:])
	if h[0] != 'r' && h[0] != 'w' || n > maxSize {
		return false, 0, errHeader
	}
	return h[0] == 'w', int(n), nil
}

// Serve answers commands until the other side hangs up.
func Serve(c net.Conn) error {
	defer c.Close()
	in := bufio.NewReaderSize(c, 256<<10)
	data := make([]byte, headerLength+maxSize)
	for {
		var h [headerLength]byte
		if _, err := io.ReadFull(in, h[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		write, size, err := parse(&h)
		if err != nil {
			return err
		}
		answer := data[:headerLength+size]
		if write {
			if _, err := io.ReadFull(in, data[:size]); err != nil {
				return err
			}
			answer = data[:headerLength]
		}
		if _, err := c.Write(answer); err != nil {
			return err
		}
	}
}

// Load has as many commands outstanding as the workload says, until done says that it is enough, which hears of each that is done.
func Load(c net.Conn, w Workload, done func() bool) error {
	in := bufio.NewReaderSize(c, 256<<10)
	h := header(w.Write, w.Size)
	request := append(h[:], make([]byte, w.Size)...)
	answer := make([]byte, headerLength+w.Size)
	if w.Write {
		answer = answer[:headerLength]
	} else {
		request = request[:headerLength]
	}
	for range w.Depth {
		if _, err := c.Write(request); err != nil {
			return err
		}
	}
	for {
		if _, err := io.ReadFull(in, answer); err != nil {
			return err
		}
		if done() {
			return nil
		}
		if _, err := c.Write(request); err != nil {
			return err
		}
	}
}
