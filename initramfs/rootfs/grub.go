package rootfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

const grubDir = "/usr/lib/grub/i386-pc"

// Offsets in GRUB's boot.img (boot sector) and diskboot.img (first sector of
// the core image), as in grub-core/boot/i386/pc/boot.S and diskboot.S.
const (
	bootCodeLength  = 440 // of a boot sector; what follows is the disk's own
	bootCoreSector  = 0x5C
	bootDriveCheck  = 0x66
	coreBlockList   = 0x1F4 // first sector (8 bytes), number of sectors (2), segment (2)
	coreRestSegment = 0x820
)

// grubFiles tells what to install if GRUB's files are missing.
func grubFiles() error {
	if _, err := os.Stat(filepath.Join(grubDir, "boot.img")); err != nil {
		return fmt.Errorf("GRUB for BIOS is missing: %w; install it: apt install grub-pc-bin", err)
	}
	return nil
}

// grubPrefix is where GRUB looks for its configuration on disks that we make.
const grubPrefix = "(,gpt1)/boot/grub"

// InstallGRUB does by itself what grub-install does with a mounted disk: it puts
// GRUB's core image into the BIOS boot partition of the image f, or what stands
// there before a first partition at a mebibyte, and the boot sector that loads it
// into sector 0. The core has the modules on board that prefix/grub.cfg needs. It
// boots as the machine's first disk. log may be nil.
func InstallGRUB(ctx context.Context, f *os.File, prefix string, modules []string, log *slog.Logger) error {
	log = logger(log)
	log.Info("installing GRUB")
	core, err := grubCore(ctx, prefix, modules, log)
	if err != nil {
		return err
	}
	boot, err := os.ReadFile(filepath.Join(grubDir, "boot.img"))
	if err != nil {
		return err
	}
	boot, core, err = linkGRUB(boot, core)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(core, grubStart*sector); err != nil {
		return err
	}
	_, err = f.WriteAt(boot, 0)
	return err
}

// grubCore makes GRUB's core image.
func grubCore(ctx context.Context, prefix string, modules []string, log *slog.Logger) ([]byte, error) {
	return built(func(output string) error {
		args := []string{
			"--format=i386-pc", "--directory=" + grubDir, "--output=" + output,
			"--prefix=" + prefix,
		}
		return grubImage.run(ctx, log, nil, append(args, modules...)...)
	})
}

// linkGRUB tells the boot sector and the core image where on the disk the core
// image lies. It returns the code part of the boot sector and the core image in
// whole sectors.
func linkGRUB(boot, core []byte) (code, whole []byte, err error) {
	if len(boot) != sector || len(core) < 2*sector {
		return nil, nil, fmt.Errorf("GRUB's files have an unexpected form: boot.img of %d bytes, core of %d", len(boot), len(core))
	}
	sectors := (len(core) + sector - 1) / sector
	if sectors > grubSectors {
		return nil, nil, fmt.Errorf("GRUB's core image of %d sectors does not fit the %d of its partition", sectors, grubSectors)
	}
	le := binary.LittleEndian
	code = bytes.Clone(boot[:bootCodeLength])
	le.PutUint64(code[bootCoreSector:], grubStart)
	// Some firmware passes a wrong drive number; the jump that believes it
	// is made to fall through to the code that knows the first disk's.
	copy(code[bootDriveCheck:], []byte{0x90, 0x90})

	whole = make([]byte, sectors*sector)
	copy(whole, core)
	list := whole[coreBlockList:]
	le.PutUint64(list, grubStart+1)
	le.PutUint16(list[8:], uint16(sectors-1))
	le.PutUint16(list[10:], coreRestSegment)
	return code, whole, nil
}

// copySparse copies what src has to offset at of dst, which is all zeroes, and
// leaves its holes as holes.
func copySparse(ctx context.Context, dst *os.File, at int64, src io.Reader) error {
	var zeroes [64 << 10]byte
	chunk := make([]byte, len(zeroes))
	for ctx.Err() == nil {
		n, err := io.ReadFull(src, chunk)
		if !bytes.Equal(chunk[:n], zeroes[:n]) {
			if _, err := dst.WriteAt(chunk[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
