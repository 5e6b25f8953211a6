package bootserver_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/control"
)

func TestMediumRefuses(t *testing.T) {
	for want, m := range map[string]control.Medium{
		"one of them":            {},
		"give it a path or nbd":  {Path: "a", NBD: "nbd://b/"},
		"with nbd they are the":  {NBD: "nbd://b/", Direct: true},
		"is no duration":         {Path: "a", Timeout: "soon"},
		"TCP needs a host":       {NBD: "nbd:///"},
		"make it first, for exa": {Path: filepath.Join(t.TempDir(), "none")},
	} {
		_, err := control.New(control.Config{Targets: []control.Target{{Name: killTarget, LUNs: []control.LUN{{Medium: m}}}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q in it", m, err, want)
		}
	}
}

// A golden image served by NBD below an overlay stays as it is.
func TestOverlayOfNBD(t *testing.T) {
	path := emptyDisk(t, 1<<20)
	p := startServed(t, control.Medium{NBD: peers.QEMU(t, "raw", path).URI(), Overlay: true})
	s, lun := p.attach(t)
	want, got := stampedBlock(0, 0, 1), make([]byte, killBlock)
	if _, err := lun.WriteAt(want, 0); err != nil {
		t.Error(err)
	}
	if _, err := lun.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read back something else (error %v)", err)
	}
	s.Close()
	p.kill()
	if got, _ := os.ReadFile(path); !bytes.Equal(got, make([]byte, 1<<20)) {
		t.Error("the base has changed")
	}
}

// An error of a real server arrives at an initiator as the sense data that says
// so, and the data from before is still there.
func TestErrorsReachTheInitiator(t *testing.T) {
	for name, want := range map[string]struct {
		key scsi.SenseKey
		asc scsi.ASC
	}{
		"EIO":    {scsi.KeyMediumError, scsi.ASCWriteError},
		"ENOSPC": {scsi.KeyDataProtect, scsi.ASCSpaceAllocationFailed},
		"EPERM":  {scsi.KeyDataProtect, scsi.ASCWriteProtected},
	} {
		t.Run(name, func(t *testing.T) {
			trigger := filepath.Join(t.TempDir(), "fail")
			nbd := peers.NBDKit(t, "--filter=error", "memory", "1M", "error="+name, "error-rate=100%", "error-file="+trigger)
			s, lun := startServed(t, control.Medium{NBD: nbd.URI()}).attach(t)
			defer s.Close()
			before := stampedBlock(0, 0, 1)
			if _, err := lun.WriteAt(before, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(trigger, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := lun.WriteAt(stampedBlock(0, 0, 2), 0)
			wantSense(t, err, want.key, want.asc)
			os.Remove(trigger)
			got := make([]byte, killBlock)
			if _, err := lun.ReadAt(got, 0); err != nil || !bytes.Equal(got, before) {
				t.Errorf("the medium is not as it was (error %v)", err)
			}
		})
	}
}

// A write that was answered and then cannot be taken to the medium shows in
// SYNCHRONIZE CACHE, and from then on in each: the server behind has failed one
// flush, and no later success tells what became of the data.
func TestLostWriteFailsEveryFlush(t *testing.T) {
	trigger := filepath.Join(t.TempDir(), "fail")
	nbd := peers.NBDKit(t, "eval", "get_size=echo 1M", "pread=head -c $3 /dev/zero", "can_write=exit 0", "pwrite=cat >/dev/null",
		"can_flush=exit 0", "flush=if [ -e "+trigger+" ]; then echo EIO >&2; exit 1; fi")
	s, lun := startServed(t, control.Medium{NBD: nbd.URI()}).attach(t)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := lun.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := lun.WriteAt(stampedBlock(0, 0, 1), 0); err != nil {
		t.Fatalf("a write that goes to the cache: %v", err)
	}
	if err := os.WriteFile(trigger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantSense(t, lun.Flush(ctx), scsi.KeyMediumError, scsi.ASCWriteError)
	os.Remove(trigger)
	wantSense(t, lun.Flush(ctx), scsi.KeyMediumError, scsi.ASCWriteError)
}

func wantSense(t *testing.T, err error, key scsi.SenseKey, asc scsi.ASC) {
	t.Helper()
	var cond *scsi.Error
	if !errors.As(err, &cond) || cond.Sense.Key != key || cond.Sense.ASC != asc {
		t.Errorf("%v, want %v, %v", err, key, asc)
	}
}

const fullDisk = "BOOTLUN_TEST_FULL" // says to a copy of this test that /mnt is a small tmpfs of its own

// A thin LUN on a file system that is really full: a write that needs space is
// refused for want of it, one that needs none goes on, and space given back by
// UNMAP serves again.
func TestFileSystemFull(t *testing.T) {
	if os.Getenv(fullDisk) == "" {
		unshare := peers.Program(t, "unshare", "util-linux")
		if err := exec.Command(unshare, "--mount", "mount", "-t", "tmpfs", "none", "/mnt").Run(); err != nil {
			t.Skipf("SKIP: needs a mount namespace of its own (root): %v", err)
		}
		cmd := exec.Command(unshare, "--mount", "sh", "-c", `mount -t tmpfs -o size=1m none /mnt && exec "$0" -test.run='^TestFileSystemFull$' -test.v`, os.Args[0])
		cmd.Env = append(os.Environ(), fullDisk+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return
	}
	path := "/mnt/disk.img"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4<<20); err != nil {
		t.Fatal(err)
	}
	s, lun := startServed(t, control.Medium{Path: path}).attach(t)
	defer s.Close()
	var full error
	at := 0
	for ; full == nil && at < 4<<20/killBlock; at++ {
		_, full = lun.WriteAt(stampedBlock(0, at, 1), int64(at)*killBlock)
	}
	wantSense(t, full, scsi.KeyDataProtect, scsi.ASCSpaceAllocationFailed)
	at-- // which has not been written
	if _, err := lun.WriteAt(stampedBlock(0, 0, 2), 0); err != nil {
		t.Errorf("a write that needs no space: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	data := scsi.AppendUnmap(nil, []scsi.UnmapRange{{LBA: killBlock / 512, Blocks: killBlock / 512}})
	if _, err := s.Execute(ctx, initiator.Command{CDB: scsi.Unmap{Length: uint16(len(data))}.CDB(), Out: data}); err != nil {
		t.Fatalf("UNMAP: %v", err)
	}
	if _, err := lun.WriteAt(stampedBlock(0, at, 1), int64(at)*killBlock); err != nil {
		t.Errorf("a write after space was given back: %v", err)
	}
	got := make([]byte, killBlock)
	for i := range at + 1 {
		want := stampedBlock(0, i, 1)
		switch i {
		case 0:
			want = stampedBlock(0, 0, 2)
		case 1:
			want = make([]byte, killBlock)
		}
		if _, err := lun.ReadAt(got, int64(i)*killBlock); err != nil || !bytes.Equal(got, want) {
			t.Errorf("block %d is not what was acknowledged (error %v)", i, err)
		}
	}
}
