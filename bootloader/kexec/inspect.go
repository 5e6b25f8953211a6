package kexec

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Maker is the program that made an initramfs.
type Maker string

// The makers that bring up an iSCSI root by the iBFT.
const (
	Unknown        Maker = ""
	InitramfsTools Maker = "initramfs-tools"
	Dracut         Maker = "dracut"
)

// Contents is what an initramfs shows of itself.
type Contents struct {
	Maker Maker
	// ISCSI says that it has what it takes to log in.
	ISCSI bool
}

// maxNames bounds how many entries of an archive are looked at.
const maxNames = 1 << 17

// Inspect reads the names in an initramfs: archives one after the other, the last of them maybe compressed. The error says why it
// could not; what was seen until then counts.
func Inspect(initramfs []byte) (Contents, error) {
	var c Contents
	for rest := initramfs; len(rest) > 0; {
		if rest[0] == 0 {
			rest = bytes.TrimLeft(rest, "\x00")
			continue
		}
		if bytes.HasPrefix(rest, []byte("0707")) {
			r := bytes.NewReader(rest)
			if err := c.walk(r); err != nil {
				return c, err
			}
			rest = rest[len(rest)-r.Len():]
			continue
		}
		r, done, err := decompress(rest)
		if err != nil {
			return c, err
		}
		defer done()
		return c, c.walk(bufio.NewReaderSize(r, 1<<20))
	}
	return c, nil
}

// decompress knows an archive's compression by its first bytes.
func decompress(b []byte) (r io.Reader, done func(), err error) {
	none := func() {}
	switch {
	case bytes.HasPrefix(b, []byte{0x1F, 0x8B}):
		r, err = gzip.NewReader(bytes.NewReader(b))
		return r, none, err
	case bytes.HasPrefix(b, []byte{0x28, 0xB5, 0x2F, 0xFD}):
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, none, err
		}
		return z, z.Close, nil
	case bytes.HasPrefix(b, []byte("\xFD7zXZ\x00")):
		r, err = xz.NewReader(bytes.NewReader(b))
		return r, none, err
	}
	return nil, none, fmt.Errorf("its compression is not known (it begins with % x)", b[:min(4, len(b))])
}

// walk looks at the names of one archive in the newc format (Linux's Documentation/driver-api/early-userspace/buffer-format), until
// its end or until all is known.
func (c *Contents) walk(r io.Reader) error {
	header := make([]byte, 110)
	for range maxNames {
		if _, err := io.ReadFull(r, header); err != nil {
			return fmt.Errorf("the archive has no end: %w", err)
		}
		if !bytes.HasPrefix(header, []byte("07070")) {
			return errors.New("what follows is no cpio archive")
		}
		size, err1 := strconv.ParseUint(string(header[54:62]), 16, 32)
		nameLen, err2 := strconv.ParseUint(string(header[94:102]), 16, 32)
		if err := errors.Join(err1, err2); err != nil || nameLen == 0 || nameLen > 4096 {
			return errors.New("a header of the archive is damaged")
		}
		name := make([]byte, (110+nameLen+3)&^3-110)
		if _, err := io.ReadFull(r, name); err != nil {
			return fmt.Errorf("the archive has no end: %w", err)
		}
		text := strings.TrimPrefix(string(name[:nameLen-1]), "./")
		if text == "TRAILER!!!" {
			return nil
		}
		c.see(text)
		if c.Maker != Unknown && c.ISCSI {
			return skip(r, int64(0))
		}
		if err := skip(r, int64(size+3)&^3); err != nil {
			return err
		}
	}
	return errors.New("the archive has too many files")
}

func skip(r io.Reader, n int64) error {
	_, err := io.CopyN(io.Discard, r, n)
	return err
}

// see knows makers by files of their own.
func (c *Contents) see(name string) {
	name = strings.TrimPrefix(name, "usr/")
	switch {
	case strings.HasPrefix(name, "lib/dracut/"):
		c.Maker = Dracut
	case name == "conf/initramfs.conf", name == "scripts/local-top/ORDER":
		c.Maker = InitramfsTools
	}
	switch name {
	case "scripts/local-top/iscsi", "sbin/iscsiroot", "bin/iscsiroot", "sbin/iscsistart", "bin/iscsistart":
		c.ISCSI = true
	}
}

// Complete adds to a command line what the initramfs needs to go by the iBFT, unless it is there already.
func Complete(cmdline string, maker Maker) string {
	has := func(prefixes ...string) bool {
		for _, w := range strings.Fields(cmdline) {
			for _, p := range prefixes {
				if w == p || strings.HasSuffix(p, "=") && strings.HasPrefix(w, p) {
					return true
				}
			}
		}
		return false
	}
	var more []string
	switch maker {
	case InitramfsTools:
		if !has("iscsi_auto", "iscsi_initiator=", "iscsi_target_name=") {
			more = append(more, "iscsi_auto")
		}
	case Dracut:
		if !has("rd.iscsi.firmware", "rd.iscsi.firmware=", "iscsi_firmware", "netroot=") {
			more = append(more, "rd.iscsi.firmware=1")
		}
		if !has("ip=", "ip") {
			more = append(more, "ip=ibft")
		}
	}
	if len(more) == 0 {
		return cmdline
	}
	// What follows " -- " is the init's.
	ours, inits, split := strings.Cut(" "+cmdline+" ", " -- ")
	line := strings.TrimSpace(ours) + " " + strings.Join(more, " ")
	if split {
		line += " -- " + strings.TrimSpace(inits)
	}
	return strings.TrimSpace(line)
}
