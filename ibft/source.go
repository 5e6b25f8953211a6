package ibft

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Decode finds the tables in what somebody kept of a machine: a table's bytes, the same as plain hexadecimal or as
// printed by xxd, hexdump -C or acpidump, an early initial RAM disk as [EarlyCPIO] makes it, a memory image that
// begins at address 0, or an ELF core as made by QEMU's dump-guest-memory. Memory is searched as Linux does it, low memory first, then from the RSDP by XSDT or
// RSDT. Each table's Source says what it was found in, and where; it is empty for bytes as they are.
//
// Bytes that are none of these are returned as a table too, with Err set, for Check to judge. An error means that
// data is one of these and broken, or holds no table.
func Decode(data []byte) ([]Found, error) {
	switch {
	case isText(data): // first of all, as acpidump's begins with the table's signature
		return decodeText(string(data))
	case len(data) >= 4 && Signature(data[:4]).known():
		return []Found{newFound("", data)}, nil
	case bytes.HasPrefix(data, []byte(cpioMagic)) && len(data) > cpioHeaderLen:
		return decodeCPIO(data)
	case bytes.HasPrefix(data, []byte("\x7fELF")):
		return decodeCore(data)
	case len(data) > scanStart:
		return memoryTables("memory image", image{{0, data}})
	}
	return []Found{newFound("", data)}, nil
}

// isText says whether data looks like text: its first part is judged.
func isText(data []byte) bool {
	for _, b := range data[:min(len(data), 4096)] {
		if (b < ' ' || b > '~') && b != '\n' && b != '\r' && b != '\t' {
			return false
		}
	}
	return len(data) > 0
}

// dumpLine takes one line of a dump apart: its address, and its bytes in hexadecimal.
type dumpLine func(line string) (addr uint64, digits string, ok bool)

func decodeText(s string) ([]Found, error) {
	if tables, err := acpidump(s); len(tables) > 0 || err != nil {
		return tables, err
	}
	first, _, _ := strings.Cut(strings.TrimLeft(s, "\r\n"), "\n")
	first = strings.TrimRight(first, " \r")
	for _, dump := range []struct {
		name string
		line dumpLine
	}{{"hexdump -C", hexdumpLine}, {"xxd", colonLine}} {
		if _, _, ok := dump.line(first); !ok {
			continue
		}
		b, err := decodeDump(strings.Split(s, "\n"), dump.line)
		if err != nil {
			return nil, fmt.Errorf("ibft: %s: %w", dump.name, err)
		}
		return []Found{newFound(dump.name, b)}, nil
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		return nil, errors.New("ibft: text that is neither hexadecimal nor printed by xxd, hexdump -C or acpidump")
	}
	return []Found{newFound("hex", b)}, nil
}

// acpidump finds the tables in what acpidump prints: each begins with its signature and address, as in
// "iBFT @ 0x000000007FFE1A40", and ends with an empty line.
func acpidump(s string) ([]Found, error) {
	lines := strings.Split(s, "\n")
	var found []Found
	for i, line := range lines {
		name, addr, ok := strings.Cut(strings.TrimSpace(line), " @ ")
		if !ok || !Signature(name).known() || !strings.HasPrefix(addr, "0x") {
			continue
		}
		end := i + 1
		for end < len(lines) && strings.TrimSpace(lines[end]) != "" {
			end++
		}
		b, err := decodeDump(lines[i+1:end], colonLine)
		if err != nil {
			return nil, fmt.Errorf("ibft: acpidump: table %s: %w", name, err)
		}
		found = append(found, newFound("acpidump of "+addr, b))
	}
	return found, nil
}

// colonLine is xxd's and acpidump's: "00000010: 6950 5845 0000 0000  iPXE....".
func colonLine(line string) (addr uint64, digits string, ok bool) {
	at, rest, ok := strings.Cut(strings.TrimSpace(line), ": ")
	if !ok {
		return 0, "", false
	}
	addr, err := strconv.ParseUint(at, 16, 64)
	digits, _, _ = strings.Cut(strings.TrimLeft(rest, " "), "  ")
	return addr, digits, err == nil
}

// hexdumpLine is that of hexdump -C: "00000010  69 50 58 45 00 00 00 00  00 00 ...  |iPXE............|". The last
// line has an address alone.
func hexdumpLine(line string) (addr uint64, digits string, ok bool) {
	at, rest, _ := strings.Cut(line, "  ")
	if digits, _, ok = strings.Cut(rest, "|"); !ok && rest != "" {
		return 0, "", false
	}
	addr, err := strconv.ParseUint(at, 16, 64)
	return addr, digits, err == nil && len(at) >= 7
}

// decodeDump reads the lines of a dump. An asterisk stands for lines equal to the one before.
func decodeDump(lines []string, take dumpLine) ([]byte, error) {
	var out, last []byte
	var base uint64
	repeat := false
	for i, line := range lines {
		if line = strings.TrimRight(line, " \r"); line == "" {
			continue
		}
		if line == "*" {
			repeat = true
			continue
		}
		addr, digits, ok := take(line)
		if !ok {
			return nil, fmt.Errorf("line %d: no address and bytes in %q", i+1, cutLong(line))
		}
		if len(out) == 0 {
			base = addr
		}
		if repeat {
			if addr < base || addr-base > maxACPITable || len(last) == 0 {
				return nil, fmt.Errorf("line %d: address %#x behind an asterisk is out of reach", i+1, addr)
			}
			for uint64(len(out)) < addr-base {
				out = append(out, last...)
			}
		}
		repeat = false
		if addr-base != uint64(len(out)) {
			return nil, fmt.Errorf("line %d: address %#x, want %#x", i+1, addr, base+uint64(len(out)))
		}
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		out, last = append(out, b...), b
	}
	return out, nil
}

func cutLong(s string) string { return s[:min(len(s), 80)] }
