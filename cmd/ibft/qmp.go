package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/qemu/qmp"
)

// qmpTimeout bounds what one request may take: QEMU answers its monitor at once, or is busy with another client's.
const qmpTimeout = 20 * time.Second

// readQMP returns the tables in the memory of a running QEMU, at least one. address is its monitor's: the name of a
// Unix socket, or host:port. The machine runs on meanwhile.
func readQMP(ctx context.Context, address string) ([]ibft.Found, error) {
	dialing, stop := context.WithTimeout(ctx, qmpTimeout)
	defer stop()
	network := "unix"
	if _, _, err := net.SplitHostPort(address); err == nil && !strings.Contains(address, "/") {
		network = "tcp"
	}
	conn, err := new(net.Dialer).DialContext(dialing, network, address)
	if err != nil {
		return nil, fmt.Errorf("%w (QEMU listens there with -qmp unix:SOCKET,server=on,wait=off)", err)
	}
	client, err := qmp.New(dialing, conn, nil)
	if err != nil {
		return nil, fmt.Errorf("%w (is another program connected to the monitor?)", err)
	}
	defer client.Close()
	return searchGuest(guestMemory{ctx, client})
}

// searchGuest looks where firmware of both kinds leaves a table. UEFI's root of the ACPI tables may be anywhere; in a
// virtual machine it is near the end of the memory below 4 GiB.
func searchGuest(m guestMemory) ([]ibft.Found, error) {
	top, err := m.top()
	if err != nil {
		return nil, err
	}
	found, err := ibft.SearchMemory(m, top...)
	if len(found) == 0 && err == nil {
		err = errors.New("the machine has no table, neither in low memory nor in its ACPI tables (has its firmware done its work yet?)")
	}
	return found, err
}

// guestMemory is the physical memory of a QEMU's machine. It is read as text, by the monitor's command for people: the
// others write files where QEMU runs, as the user it runs as.
type guestMemory struct {
	ctx    context.Context
	client *qmp.Client
}

const (
	// guestPiece is how many bytes are read at once.
	guestPiece = 64 << 10
	// guestTop is how much of the memory below 4 GiB is searched for UEFI's tables, guestStep bytes at a time.
	guestTop  = 32 << 20
	guestStep = 1 << 20
)

// command runs a command of the monitor for people.
func (m guestMemory) command(line string) (text string, err error) {
	ctx, stop := context.WithTimeout(m.ctx, qmpTimeout)
	defer stop()
	err = m.client.Execute(ctx, "human-monitor-command", map[string]string{"command-line": line}, &text)
	return text, err
}

// ReadAt implements io.ReaderAt.
func (m guestMemory) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		words := (min(len(p)-n, guestPiece) + 7) / 8
		text, err := m.command(fmt.Sprintf("xp /%dxg %#x", words, off+int64(n)))
		if err != nil {
			return n, err
		}
		b := memoryWords(text)
		if len(b) == 0 {
			return n, io.EOF // no memory there
		}
		n += copy(p[n:], b)
		if len(b) < 8*words && n < len(p) {
			return n, io.EOF
		}
	}
	return n, nil
}

// memoryWords reads lines such as "0000000000080000: 0xf000ff53f000ff53 0xf000ff53f000e2c3", as far as they go on.
func memoryWords(text string) []byte {
	var b []byte
	for line := range strings.Lines(text) {
		_, words, ok := strings.Cut(line, ": ")
		if !ok {
			return b
		}
		for word := range strings.FieldsSeq(words) {
			v, err := strconv.ParseUint(word, 0, 64)
			if err != nil {
				return b
			}
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	return b
}

// top returns the end of the largest piece of RAM below 4 GiB, cut into steps, the last first.
func (m guestMemory) top() ([]ibft.Region, error) {
	text, err := m.command("info mtree -f")
	if err != nil {
		return nil, err
	}
	largest := largestRAM(text)
	var steps []ibft.Region
	for end, left := largest.Addr+largest.Length, min(largest.Length, guestTop); left >= guestStep; left -= guestStep {
		end -= guestStep
		steps = append(steps, ibft.Region{Addr: end, Length: guestStep + 64}) // a structure may lie across the border
	}
	return steps, nil
}

// largestRAM reads what "info mtree -f" prints:
// "  0000000000100000-0000000003ffffff (prio 0, ram): pc.ram @0000000000100000".
func largestRAM(text string) (largest ibft.Region) {
	for line := range strings.Lines(text) {
		span, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		from, to, ok := strings.Cut(span, "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if !ok || err1 != nil || err2 != nil || !strings.Contains(what, ", ram)") || end >= 1<<32 || end < start {
			continue
		}
		if size := end + 1 - start; size > largest.Length {
			largest = ibft.Region{Addr: start, Length: size}
		}
	}
	return largest
}
