//go:build linux && !386

package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// Disk is a LUN as Linux's block device.
type Disk struct {
	// Name is the kernel's, such as "sda"; Device the path of its node.
	Name, Device string
	// Address is the SCSI address "host:channel:target:lun".
	Address string
	// Size is in bytes, SectorSize the logical block size in bytes.
	Size       int64
	SectorSize int
}

// Disk has the kernel scan for the session's LUN, and waits until its block device can be opened or ctx ends. Scanning again
// for a disk that is there already does no harm.
//
// The wait polls sysfs: a scan ends within milliseconds of the disk's arrival, and unlike kernel events, a directory cannot be
// missed.
func (s *Session) Disk(ctx context.Context) (Disk, error) {
	d, err := s.disk(ctx)
	if err != nil {
		return Disk{}, at(fmt.Sprintf("wait for the disk of LUN %v", s.LUN), s.Target, s.Portal, err)
	}
	return d, nil
}

func (s *Session) disk(ctx context.Context) (Disk, error) {
	targetID := s.dir().text("target_id")
	lun := scanNumber(s.LUN)
	if err := s.scan(ctx, targetID, lun); err != nil {
		return Disk{}, err
	}
	address := fmt.Sprintf("%d:0:%s:%d", s.Host, targetID, lun)
	device := s.dir().sub("device", fmt.Sprintf("target%d:0:%s", s.Host, targetID), address)
	// Attaching the device is part of the scan, so it is there now or not at all; its block device follows.
	if !device.exists() {
		return Disk{}, &Error{
			Step: fmt.Sprintf("scan for LUN %v", s.LUN), Target: s.Target, Portal: s.Portal, Err: ErrNoLUN,
			Remedy: "check the LUN's number, and whether the target gives it to this initiator",
		}
	}
	if kind := device.text("type"); kind != "0" {
		return Disk{}, &Error{
			Step: fmt.Sprintf("scan for LUN %v", s.LUN), Target: s.Target, Portal: s.Portal,
			Err:    fmt.Errorf("%w: it is a device of SCSI type %s", ErrNoLUN, kind),
			Remedy: "check the LUN's number: tgtd, for one, has its first disk at LUN 1",
		}
	}
	d, err := s.await(ctx, address, device)
	if err == nil && s.cfg.Timeouts.Replacement < 0 {
		s.retryForEver(address, device)
	}
	return d, err
}

// retryForEver lifts the kernel's bound on how old a command may grow that is being repeated. By default that is 180 s, six times
// the SCSI timeout: what waited longer for its connection is repeated, hears of the target's reset, and fails for its age.
func (s *Session) retryForEver(address string, device sysDir) {
	const noLimit = "-1" // SCSI_CMD_RETRIES_NO_LIMIT, since Linux 5.11
	if err := writeFile(string(device.sub("scsi_disk", address, "max_retries")), noLimit); err != nil {
		s.cfg.Logger.Warn("I/O that waits for its connection for more than three minutes will fail", "err", err)
	}
}

// scanNumber is a LUN as Linux counts: the first of its four levels lowest.
func scanNumber(l iscsi.LUN) uint64 {
	return uint64(l>>48&0xFFFF) | uint64(l>>32&0xFFFF)<<16 | uint64(l>>16&0xFFFF)<<32 | uint64(l&0xFFFF)<<48
}

// scan asks for one LUN of the session. Writing blocks until the kernel has asked the target, and while the connection is
// being recovered that can take until the recovery timeout. No signal ends it, so when ctx ends first the write is left to
// itself; it ends with the session at the latest.
func (s *Session) scan(ctx context.Context, targetID string, lun uint64) error {
	path := filepath.Join(s.cfg.Roots.Sys, fmt.Sprintf("class/scsi_host/host%d/scan", s.Host))
	done := make(chan error, 1)
	go func() { done <- writeFile(path, fmt.Sprintf("0 %s %d", targetID, lun)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the kernel is still scanning: %w", context.Cause(ctx))
	}
}

// writeFile writes to an attribute, which must be there.
func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// await waits for the block device of a SCSI device.
func (s *Session) await(ctx context.Context, address string, device sysDir) (Disk, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		d, missing := s.look(address, device)
		if missing == nil {
			return d, nil
		}
		select {
		case <-ctx.Done():
			return Disk{}, fmt.Errorf("%w: %w", context.Cause(ctx), missing)
		case <-time.After(pause):
		}
	}
}

// look gives the disk if it is complete, or what is missing.
func (s *Session) look(address string, device sysDir) (Disk, error) {
	names, err := filepath.Glob(string(device.sub("block", "*")))
	if err != nil || len(names) != 1 {
		return Disk{}, fmt.Errorf("%s has no block device yet; is module sd_mod loaded?", address)
	}
	block := sysDir(names[0])
	name := filepath.Base(names[0])
	d := Disk{
		Name: name, Device: filepath.Join(s.cfg.Roots.Dev, name), Address: address,
		Size: block.number("size") * 512, SectorSize: int(block.sub("queue").number("logical_block_size")),
	}
	if d.Size == 0 || d.SectorSize == 0 {
		return Disk{}, fmt.Errorf("%s has no size yet (state %s)", name, device.text("state"))
	}
	f, err := os.Open(d.Device)
	if err != nil {
		return Disk{}, fmt.Errorf("%w; is devtmpfs on %s?", err, s.cfg.Roots.Dev)
	}
	return d, f.Close()
}

// devices are the SCSI devices of the session.
func (s *Session) devices() []sysDir {
	paths, _ := filepath.Glob(string(s.dir().sub("device", "target*", fmt.Sprintf("%d:*", s.Host)))) // the pattern is well-formed
	dirs := make([]sysDir, len(paths))
	for i, p := range paths {
		dirs[i] = sysDir(p)
	}
	return dirs
}

// removeDevices takes the disks away from the system. The kernel flushes their caches while the connection still works.
// For why a write may outlive ctx see scan.
func (s *Session) removeDevices(ctx context.Context) error {
	for _, d := range s.devices() {
		done := make(chan error, 1)
		go func() { done <- writeFile(string(d.sub("delete")), "1") }()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("the kernel is still removing %s: %w", filepath.Base(string(d)), context.Cause(ctx))
		}
	}
	return nil
}

// checkUnused looks for what still uses the session's disks.
func (s *Session) checkUnused() error {
	mounts, err := os.ReadFile(filepath.Join(s.cfg.Roots.Proc, "self/mountinfo"))
	if err != nil {
		return err
	}
	swaps, err := os.ReadFile(filepath.Join(s.cfg.Roots.Proc, "swaps"))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without swap has no such file
		return err
	}
	for _, d := range s.devices() {
		disks, _ := filepath.Glob(string(d.sub("block", "*")))
		parts, _ := filepath.Glob(string(d.sub("block", "*", "*", "partition")))
		for _, p := range parts {
			disks = append(disks, filepath.Dir(p))
		}
		for _, block := range disks {
			if use := blockUse(sysDir(block), string(mounts), string(swaps)); use != "" {
				return fmt.Errorf("%w: %s %s", ErrInUse, filepath.Base(block), use)
			}
		}
	}
	return nil
}

// blockUse says how a disk or partition is used; empty if it is not.
func blockUse(block sysDir, mounts, swaps string) string {
	number, name := block.text("dev"), filepath.Base(string(block))
	for line := range strings.Lines(mounts) {
		// "36 35 98:0 /sub /mnt rw,noatime master:1 - ext4 /dev/sda1 rw": proc(5), mountinfo. Some file systems show a number of
		// their own, hence the look at the source.
		place, source, _ := strings.Cut(line, " - ")
		f, src := strings.Fields(place), strings.Fields(source)
		if len(f) > 4 && (f[2] == number || len(src) > 1 && src[1] == "/dev/"+name) {
			return "is mounted on " + f[4]
		}
	}
	for line := range strings.Lines(swaps) {
		if f := strings.Fields(line); len(f) > 0 && filepath.Base(f[0]) == name {
			return "is swap space"
		}
	}
	if holders, _ := os.ReadDir(string(block.sub("holders"))); len(holders) > 0 {
		return "is part of " + strconv.Quote(holders[0].Name())
	}
	return ""
}
