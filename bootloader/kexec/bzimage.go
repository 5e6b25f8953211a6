package kexec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// ErrDamaged marks a kernel or initramfs whose bytes are not those that were built.
var ErrDamaged = errors.New("it is damaged")

// bzImage is what the setup header of a kernel says (Linux's Documentation/arch/x86/boot, "The Real-Mode Kernel Header").
type bzImage struct {
	setup   []byte // boot sector and setup, as zero page to be
	code    []byte // protected-mode code
	version string // "6.1.0-9-amd64 (…)"

	protocol    uint16
	xloadflags  uint16
	alignment   uint32
	initrdMax   uint32
	cmdlineSize uint32
	preferred   uint64
	initSize    uint32
	headerEnd   int // of the header in setup
	limit       int // of what the CRC covers in the file
}

// parseKernel takes a bzImage apart.
func parseKernel(b []byte) (k bzImage, err error) {
	if len(b) < 0x400 || b[0x1FE] != 0x55 || b[0x1FF] != 0xAA || string(b[0x202:0x206]) != "HdrS" {
		return k, errors.New("it is no bzImage")
	}
	le := binary.LittleEndian
	sectors := int(b[0x1F1])
	if sectors == 0 {
		sectors = 4
	}
	start := (sectors + 1) * 512
	k.limit = start + int(le.Uint32(b[0x1F4:]))*16
	if k.limit > len(b) || start > len(b) {
		return k, fmt.Errorf("%w: the file ends after %d of %d bytes", ErrDamaged, len(b), k.limit)
	}
	k.setup, k.code = b[:start], b[start:k.limit]
	k.protocol = le.Uint16(b[0x206:])
	if at := int(le.Uint16(b[0x20E:])) + 0x200; at > 0x200 && at < start {
		text, _, _ := bytes.Cut(b[at:start], []byte{0})
		k.version = string(text)
	}
	k.xloadflags, k.alignment, k.initrdMax = le.Uint16(b[0x236:]), le.Uint32(b[0x230:]), le.Uint32(b[0x22C:])
	k.cmdlineSize, k.preferred, k.initSize = le.Uint32(b[0x238:]), le.Uint64(b[0x258:]), le.Uint32(b[0x260:])
	k.headerEnd = 0x202 + int(b[0x201])
	return k, nil
}

// CheckKernel tells a kernel that the disk or the network has damaged from a sound one, as far as the file shows it: by the digest of
// its signature (whoever signed), or without one by the checksum that kernels before 6.16 end with. It wraps ErrDamaged.
func CheckKernel(b []byte) error {
	k, err := parseKernel(b)
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	signed, good := checkSignedDigest(b)
	switch {
	case signed && !good:
		return fmt.Errorf("kernel: %w: its content is not what its signature is for", ErrDamaged)
	case !signed && k.hasCRC() && crc32.ChecksumIEEE(b[:k.limit]) != ^uint32(0):
		return fmt.Errorf("kernel: %w: its checksum is wrong", ErrDamaged)
	}
	return nil
}

// Version is the release that a kernel names itself by, such as "6.1.0-9-amd64"; empty if it names none.
func Version(kernel []byte) string {
	k, err := parseKernel(kernel)
	if err != nil {
		return ""
	}
	release, _, _ := strings.Cut(k.version, " ")
	return release
}

// TakesTables reports whether a kernel that was built by a configuration takes ACPI tables from before its initramfs.
func TakesTables(config []byte) bool {
	return bytes.Contains(config, []byte("\nCONFIG_ACPI_TABLE_UPGRADE=y\n"))
}

// hasCRC reports whether the last four bytes make the CRC of the whole zero: boot protocol 2.08 on, Linux before 6.16.
func (k *bzImage) hasCRC() bool {
	var major, minor int
	if _, err := fmt.Sscanf(k.version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return k.protocol >= 0x0208 && (major < 6 || major == 6 && minor < 16)
}

// checkSignedDigest looks for the SHA-256 of the image in its certificate table (Microsoft's PE format, "Attribute Certificate
// Table"; "Windows Authenticode Portable Executable Signature Format", "Calculating the PE Image Hash"). That says nothing of who
// signed it.
func checkSignedDigest(b []byte) (signed, good bool) {
	le := binary.LittleEndian
	optional := int64(le.Uint32(b[0x3C:])) + 24
	directory := optional + 112 + 4*8 // of PE32+, the fifth entry
	if string(b[:2]) != "MZ" || directory+8 > int64(len(b)) || le.Uint16(b[optional:]) != 0x20B {
		return false, false
	}
	start, size := int64(le.Uint32(b[directory:])), int64(le.Uint32(b[directory+4:]))
	if start == 0 || size == 0 || start < directory+8 || start > int64(len(b)) {
		return false, false
	}
	table := b[start:min(start+size, int64(len(b)))]
	sha256OID := []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01}
	if !bytes.Contains(table, sha256OID) {
		return false, false
	}
	h := sha256.New()
	h.Write(b[:optional+64])
	h.Write(b[optional+68 : directory])
	h.Write(b[directory+8 : start])
	return true, bytes.Contains(table, h.Sum(nil))
}
