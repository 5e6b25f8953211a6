package ibft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Where a BIOS leaves the table (iBFT, 1.4.3; the limits are Linux's): at a 16-byte boundary in the last 512 KiB
// of the first mebibyte, but not in the VGA window.
const (
	scanStart = 0x80000
	scanVGA   = 0xa0000
	scanROM   = 0xc0000
	scanEnd   = 0x100000
	scanAlign = 16
)

// ScanMemory looks for tables in physical memory as Linux does on a BIOS machine. mem is read by physical address,
// from 0x80000 to 0x100000; parts that cannot be read are passed over. What bears the signature and a length that
// stays below 1 MiB is returned, in order of address, with Err set when it is no good table otherwise.
func ScanMemory(mem io.ReaderAt) ([]Found, error) {
	var found []Found
	for _, window := range [][2]int{{scanStart, scanVGA}, {scanROM, scanEnd}} {
		b := make([]byte, window[1]-window[0])
		n, err := mem.ReadAt(b, int64(window[0]))
		if err != nil && !errors.Is(err, io.EOF) {
			return found, fmt.Errorf("ibft: memory %#x to %#x: %w", window[0], window[1], err)
		}
		found = append(found, scan(b[:n], window[0])...)
	}
	return found, nil
}

// scan finds the tables in b, which lies at address base.
func scan(b []byte, base int) []Found {
	var found []Found
	for at := 0; at+headerLen <= len(b); {
		length := binary.LittleEndian.Uint32(b[at+hdrLength:])
		s := Signature(b[at : at+4])
		if (s != SignatureIBFT && s != SignatureBroadcom) || uint64(base+at)+uint64(length) >= scanEnd {
			at += scanAlign
			continue
		}
		end := min(at+int(length), len(b))
		f := newFound(fmt.Sprintf("memory at %#x", base+at), b[at:end])
		found = append(found, f)
		at += scanAlign
		if f.Err == nil {
			at = (end + scanAlign - 1) / scanAlign * scanAlign
		}
	}
	return found
}

// newFound parses raw, and keeps a copy of it.
func newFound(source string, raw []byte) Found {
	f := Found{Source: source, Raw: append([]byte(nil), raw...)}
	f.Table, f.Err = Parse(raw)
	return f
}
