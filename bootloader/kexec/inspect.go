package kexec

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Maker is the program that made an initramfs.
type Maker string

// The makers that are known by files of their own. Genkernel tries the iBFT without being told; mkinitcpio and booster have nothing
// for it, unless somebody has added it.
const (
	Unknown        Maker = ""
	InitramfsTools Maker = "initramfs-tools"
	Dracut         Maker = "dracut"
	Genkernel      Maker = "genkernel"
	Mkinitcpio     Maker = "mkinitcpio"
	Booster        Maker = "booster"
)

// Contents is what an initramfs shows of itself.
type Contents struct {
	Maker Maker
	// ISCSI says that it has what it takes to log in.
	ISCSI bool
	// Network says of dracut's that it sets up interfaces by the iBFT, as its network-legacy and network-manager do, but not its
	// systemd-networkd.
	Network bool
	// Words are of the command line that it brings with it, as far as they say how to find an iSCSI root: names, with "=" instead of
	// a value, each with a space before it.
	Words string
}

// maxNames bounds how many entries of an archive are looked at.
const maxNames = 1 << 17

// Inspect reads an initramfs to its end: archives one after the other, any of them compressed. It tells who made it and whether it is
// whole: an error that wraps ErrDamaged says that Linux would not unpack it. Any other says why it could not be looked into; what was
// seen until then counts.
func Inspect(initramfs []byte) (Contents, error) {
	var c Contents
	for rest := initramfs; len(rest) > 0; {
		if rest[0] == 0 {
			rest = bytes.TrimLeft(rest, "\x00")
			continue
		}
		r := bytes.NewReader(rest)
		if bytes.HasPrefix(rest, []byte("0707")) {
			if err := c.walk(r); err != nil {
				return c, fmt.Errorf("initramfs: %w", err)
			}
		} else if err := c.walkCompressed(r, rest[:min(6, len(rest))]); err != nil {
			return c, fmt.Errorf("initramfs: %w", err)
		}
		rest = rest[len(rest)-r.Len():]
	}
	return c, nil
}

// walkCompressed looks at an archive that begins with magic, and has its checksum compared.
func (c *Contents) walkCompressed(r *bytes.Reader, magic []byte) error {
	var archive io.Reader
	var err error
	switch {
	case bytes.HasPrefix(magic, []byte{0x1F, 0x8B}):
		var z *gzip.Reader
		if z, err = gzip.NewReader(r); err == nil {
			z.Multistream(false) // what follows is for the caller
			archive = z
		}
	case bytes.HasPrefix(magic, []byte{0x28, 0xB5, 0x2F, 0xFD}):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20)); err == nil {
			defer z.Close()
			archive = z
		}
	case bytes.HasPrefix(magic, []byte("\xFD7zXZ\x00")):
		archive, err = xz.ReaderConfig{SingleStream: true}.NewReader(r)
	default:
		return fmt.Errorf("its compression is not known (it begins with % x)", magic[:min(4, len(magic))])
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	buffered := bufio.NewReaderSize(archive, 1<<20)
	if err := c.walk(buffered); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, buffered)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zstd.ErrMagicMismatch), strings.Contains(err.Error(), "unexpected data after stream"):
		// These readers have read on behind the archive, and what is there is not looked into.
		_, err = r.Seek(0, io.SeekEnd)
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// walk looks at the names of one archive in the newc format (Linux's Documentation/driver-api/early-userspace/buffer-format), until
// its end.
func (c *Contents) walk(r io.Reader) error {
	header := make([]byte, 110)
	for range maxNames {
		if _, err := io.ReadFull(r, header); err != nil {
			return fmt.Errorf("%w: the archive has no end: %w", ErrDamaged, err)
		}
		if !bytes.HasPrefix(header, []byte("07070")) {
			return fmt.Errorf("%w: what follows is no cpio archive", ErrDamaged)
		}
		size, err1 := strconv.ParseUint(string(header[54:62]), 16, 32)
		nameLen, err2 := strconv.ParseUint(string(header[94:102]), 16, 32)
		if err := errors.Join(err1, err2); err != nil || nameLen == 0 || nameLen > 4096 {
			return fmt.Errorf("%w: a header of the archive makes no sense", ErrDamaged)
		}
		name := make([]byte, (110+nameLen+3)&^3-110)
		if _, err := io.ReadFull(r, name); err != nil {
			return fmt.Errorf("%w: the archive has no end: %w", ErrDamaged, err)
		}
		text := strings.TrimPrefix(string(name[:nameLen-1]), "./")
		if text == "TRAILER!!!" {
			return nil
		}
		c.see(text)
		rest := int64(size+3) &^ 3
		if c.brings(text) && size <= maxSettings {
			settings := make([]byte, size)
			if _, err := io.ReadFull(r, settings); err != nil {
				return fmt.Errorf("%w: the archive has no end: %w", ErrDamaged, err)
			}
			c.settings(string(settings))
			rest -= int64(size)
		}
		if err := skip(r, rest); err != nil {
			return fmt.Errorf("%w: the archive has no end: %w", ErrDamaged, err)
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
	case c.Maker != Unknown:
	case strings.HasPrefix(name, "lib/dracut/"):
		c.Maker = Dracut
	case name == "conf/initramfs.conf", name == "scripts/local-top/ORDER":
		c.Maker = InitramfsTools
	case name == "etc/initrd.defaults":
		c.Maker = Genkernel
	case name == "init_functions":
		c.Maker = Mkinitcpio
	case name == "etc/booster.init.yaml":
		c.Maker = Booster
	}
	if base := path.Base(name); strings.HasSuffix(base, "-parse-ibft.sh") || base == "nm-initrd-generator" {
		c.Network = true
	}
	switch name {
	case "scripts/local-top/iscsi", "sbin/iscsiroot", "bin/iscsiroot", "sbin/iscsistart", "bin/iscsistart":
		c.ISCSI = true
	}
}
