package boot

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/efivarfs"

	"github.com/bootlun/bootlun/bootloader/kexec"
	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/store/storetest"
	"github.com/bootlun/bootlun/target/targettest"
)

// These tests are about LUNs that are not as they should be: real images behind our target, read through our initiator. Only the
// call of the kernel at the end is not real.

// soundKernel is a file with what makes a bzImage, its checksum right.
func soundKernel(size int) []byte {
	b := make([]byte, size)
	le := binary.LittleEndian
	b[0x1F1], b[0x1FE], b[0x1FF], b[0x201] = 4, 0x55, 0xAA, 0x6A
	le.PutUint32(b[0x1F4:], uint32(size-5*512)/16)
	copy(b[0x202:], "HdrS\x0F\x02")
	le.PutUint16(b[0x20E:], 0x300)
	copy(b[0x500:], "6.1.0-test (x)\x00")
	for i := 5 * 512; i < size-4; i++ {
		b[i] = byte(i>>9) + byte(i) | 1 // not a block of it is zero, or like another
	}
	le.PutUint32(b[size-4:], ^crc32.ChecksumIEEE(b[:size-4]))
	return b
}

func soundInitramfs(t *testing.T) []byte {
	t.Helper()
	raw, err := testTable(t, "127.0.0.1:3260").Build(ibft.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := ibft.EarlyCPIO(raw)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(archive)
	z.Close()
	return b.Bytes()
}

func testTable(t *testing.T, portal string) *ibft.Table {
	t.Helper()
	host, port, _ := strings.Cut(portal, ":")
	table, err := ibft.Settings{
		RootPaths: []string{"iscsi:" + host + "::" + port + ":0:" + targettest.Name}, InitiatorName: "iqn.2026-11.org.bootlun:tester",
	}.Table(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// menuOf is a grub.cfg with an entry for each pair of a kernel and an initramfs.
func menuOf(pairs ...string) string {
	text := "set timeout=0\n"
	for i := 0; i < len(pairs); i += 2 {
		text += fmt.Sprintf("menuentry 'entry %d' {\n linux %s root=LABEL=x entry=%d\n initrd %s\n}\n", i/2, pairs[i], i/2, pairs[i+1])
	}
	return text
}

// bootPartition is a disk with an MBR and one ext4 file system with these files.
func bootPartition(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		t.Skip("SKIP: needs mke2fs (apt install e2fsprogs)")
	}
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "ext4.img")
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(mke2fs, "-q", "-t", "ext4", "-L", "x", "-d", dir, image, "30M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return partitioned(0x83, content)
}

// partitioned is a disk with an MBR and one partition.
func partitioned(kind byte, content []byte) []byte {
	const start = 1 << 20
	disk := append(make([]byte, start), content...)
	entry := disk[446:]
	entry[4] = kind
	binary.LittleEndian.PutUint32(entry[8:], start/512)
	binary.LittleEndian.PutUint32(entry[12:], uint32(len(content)/512))
	disk[510], disk[511] = 0x55, 0xAA
	return disk
}

// attempt is a machine that boots from a disk, as far as the call of the kernel, which fails.
type attempt struct {
	*machine
	srv *targettest.Server

	mu     sync.Mutex
	shown  bytes.Buffer
	loaded []kexec.Config // what was to be loaded
}

var errNotHere = errors.New("no kexec in a test")

func newAttempt(t *testing.T, o targettest.Options) *attempt {
	t.Helper()
	a := &attempt{srv: targettest.NewServer(t, o)}
	cfg := Config{Handoff: HandoffKexec, Timeout: 5 * time.Second, Menu: new(time.Duration)}
	a.machine = &machine{
		cfg: cfg, log: slog.New(slog.NewTextHandler(a, nil)), netDevs: make(map[uint8]string), began: time.Now(),
		table: testTable(t, a.srv.Portal), freeMemory: func() int64 { return 1 << 30 },
		efiVars: func(context.Context) efivarfs.EFIVar { return nil },
		kexec: func(c kexec.Config) (*kexec.Loaded, error) {
			a.loaded = append(a.loaded, c)
			return nil, errNotHere
		},
	}
	return a
}

// Write takes the console and the log.
func (a *attempt) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shown.Write(b)
}

func (a *attempt) console() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shown.String()
}

// boot is what Run does once the network is there.
func (a *attempt) boot(t *testing.T) error {
	t.Helper()
	for _, s := range ownKernelSteps[len(stepsToNetwork):] {
		if _, err := runStep(t.Context(), s, a.machine); err != nil {
			return err
		}
		if a.own.session != nil {
			t.Cleanup(func() { a.own.session.Close() })
		}
	}
	return a.startOwnKernel(t.Context(), console{a})
}

// entries are the numbers of those that came as far as the kernel's call.
func (a *attempt) entries() (numbers []string) {
	for _, c := range a.loaded {
		_, number, _ := strings.Cut(c.Cmdline, "entry=")
		numbers = append(numbers, number)
	}
	return numbers
}

func memory(t *testing.T, disk []byte) store.Store {
	t.Helper()
	s := store.NewMemory(int64(len(disk)))
	if _, err := s.WriteAt(disk, 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBadDisks(t *testing.T) {
	sound := bootPartition(t, map[string][]byte{
		"boot/vmlinuz": soundKernel(64 << 10), "boot/initrd": soundInitramfs(t), "boot/grub/grub.cfg": []byte(menuOf("/boot/vmlinuz", "/boot/initrd")),
	})
	tests := []struct {
		name  string
		disk  []byte
		wants []string // in the error
	}{
		{"blank", make([]byte, 8<<20), []string{"entries: ", "no partition table and no file system", "handoff=switch_root"}},
		{"no system", bootPartition(t, map[string][]byte{"file": []byte("x")}), []string{"no configuration of a boot loader and no kernel", "lun1", "ext4"}},
		{"truncated in the file system", sound[:4<<20], []string{"lun1", "cut short: its partitions go on for 27 MiB beyond its end"}},
		{"truncated before it", sound[:512<<10], []string{"cut short: its partitions go on for 31 MiB beyond its end"}},
		{"circular", bootPartition(t, map[string][]byte{
			"boot/grub/grub.cfg": []byte("source /boot/a.cfg\n"), "boot/a.cfg": []byte("configfile /boot/b.cfg\n"), "boot/b.cfg": []byte("source /boot/a.cfg\n"),
		}), []string{"includes itself", "a.cfg → lun1:/boot/b.cfg → lun1:/boot/a.cfg"}},
		{"a loop without end", bootPartition(t, map[string][]byte{"boot/grub/grub.cfg": []byte("while true; do x=1; done\n")}), []string{"does not come to an end"}},
		{"no files of its only entry", bootPartition(t, map[string][]byte{"boot/grub/grub.cfg": []byte(menuOf("/none", "/none"))}), []string{"none of 1 entries", "lun1:/none", "not exist"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAttempt(t, targettest.Options{Store: memory(t, tt.disk)})
			err := a.boot(t)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v\nwant %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
			if len(a.loaded) > 0 {
				t.Errorf("entries %v were loaded", a.entries())
			}
		})
	}
}

// What is wrong with an entry costs that entry.
func TestNextEntry(t *testing.T) {
	kernel, initramfs := soundKernel(64<<10), soundInitramfs(t)
	brokenKernel, brokenInitramfs := bytes.Clone(kernel), bytes.Clone(initramfs)
	brokenKernel[40_000] ^= 1
	brokenInitramfs[len(brokenInitramfs)-6] ^= 1 // its checksum
	disk := bootPartition(t, map[string][]byte{
		"k": kernel, "i": initramfs, "kb": brokenKernel, "ib": brokenInitramfs, "short": kernel[:20_000], "text": bytes.Repeat([]byte("x"), 4096),
		"half": initramfs[:len(initramfs)/2], "empty": nil, "huge": bytes.Repeat([]byte("0123456789abcdef"), 8<<16),
		"boot/grub/grub.cfg": []byte(menuOf("/none", "/i", "/kb", "/i", "/short", "/i", "/text", "/i", "/k", "/none", "/k", "/ib", "/k", "/half", "/k", "/empty", "/k", "/huge", "/k", "/i")),
	})
	a := newAttempt(t, targettest.Options{Store: memory(t, disk)})
	a.machine.freeMemory = func() int64 { return 3 << 20 }
	err := a.boot(t)
	if !errors.Is(err, errNotHere) {
		t.Errorf("error = %v", err)
	}
	if got := a.entries(); !slices.Equal(got, []string{"9"}) {
		t.Fatalf("entries %v came as far as the kernel's call, want 9 alone\n%s", got, a.console())
	}
	if !bytes.Equal(a.loaded[0].Kernel, kernel) || !bytes.Equal(a.loaded[0].Initramfs, initramfs) {
		t.Error("kernel or initramfs is not as on the disk")
	}
	for _, want := range []string{
		`"entry 0": open lun1:/none`, `lun1:/kb and [lun1:/i]: kernel: it is damaged: its checksum is wrong`, "the file ends after 20000 of 65536 bytes",
		"lun1:/text: it is no bzImage", "lun1:/none", "[lun1:/ib]: initramfs: it is damaged: gzip: invalid checksum", "[lun1:/half]: initramfs: it is damaged",
		"lun1:/empty: a file of 0 bytes", "kernel and initramfs have 8 MiB, this machine has room for 1", `trying the next entry, "entry 9"`,
	} {
		if !strings.Contains(a.console(), want) {
			t.Errorf("the console says nothing of %q:\n%s", want, a.console())
		}
	}
	if n := strings.Count(a.console(), "trying the next entry"); n != 9 {
		t.Errorf("%d entries were given up for the next, want 9", n)
	}
}

// badSectors fails reads of a part of the disk.
type badSectors struct {
	store.Store
	from, to int64
}

func (b badSectors) ReadAt(p []byte, off int64) (int, error) {
	if off < b.to && off+int64(len(p)) > b.from {
		return 0, syscall.EIO
	}
	return b.Store.ReadAt(p, off)
}

func TestUnreadableSectors(t *testing.T) {
	bad, good := soundKernel(512<<10), soundKernel(384<<10)
	disk := bootPartition(t, map[string][]byte{
		"bad": bad, "good": good, "i": soundInitramfs(t), "boot/grub/grub.cfg": []byte(menuOf("/bad", "/i", "/good", "/i")),
	})
	at := int64(bytes.Index(disk, bad[200<<10:200<<10+512]))
	if at < 0 {
		t.Fatal("the kernel is not in the image")
	}
	tests := []struct {
		name     string
		from, to int64
		entries  []string
		want     string
	}{
		{"in a kernel", at, at + 512, []string{"1"}, "UNRECOVERED READ ERROR"},
		{"the partition table", 0, 4096, nil, "UNRECOVERED READ ERROR"},
		{"the superblock", 1<<20 + 1024, 1<<20 + 2048, nil, "UNRECOVERED READ ERROR"},
		{"everything", 0, 1 << 40, nil, "UNRECOVERED READ ERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAttempt(t, targettest.Options{Store: badSectors{memory(t, disk), tt.from, tt.to}})
			err := a.boot(t)
			if err == nil || !strings.Contains(strings.ToUpper(err.Error()+a.console()), tt.want) {
				t.Errorf("error = %v\nand the console says\n%s\nwant %q", err, a.console(), tt.want)
			}
			if got := a.entries(); !slices.Equal(got, tt.entries) {
				t.Errorf("entries %v came as far as the kernel's call, want %v", got, tt.entries)
			}
		})
	}
}

// A LUN that goes away while it is read ends the boot, once: the other entries are not waited for.
func TestLUNDisappears(t *testing.T) {
	disk := bootPartition(t, map[string][]byte{
		"k": soundKernel(12 << 20), "i": soundInitramfs(t), "boot/grub/grub.cfg": []byte(menuOf("/k", "/i", "/k", "/i", "/k", "/i")),
	})
	tests := []struct {
		name, want string
		vanish     func(*attempt, *storetest.Faulty)
	}{
		{"the target ends", "the connection is lost", func(a *attempt, _ *storetest.Faulty) { go a.srv.Close() }},
		{"its store hangs", "the LUN has not answered for", func(_ *attempt, f *storetest.Faulty) { f.Hang(storetest.Read) }},
		{"the LUN is taken away", "none of 3 entries", func(a *attempt, _ *storetest.Faulty) { go a.srv.RemoveLUN(context.Background(), targettest.Name, 0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			faulty := storetest.NewFaulty(memory(t, disk))
			trap := &trapped{Faulty: faulty}
			a := newAttempt(t, targettest.Options{Store: trap})
			trap.spring = sync.OnceFunc(func() { tt.vanish(a, faulty) })
			a.cfg.Timeout = time.Second
			err := a.boot(t)
			faulty.Release()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
			if len(a.loaded) > 0 {
				t.Errorf("entries %v were loaded", a.entries())
			}
		})
	}
}

// trapped springs when a large read shows that a kernel is being read.
type trapped struct {
	*storetest.Faulty
	spring func()
}

func (s *trapped) ReadAt(p []byte, off int64) (int, error) {
	if off > 8<<20 {
		s.spring()
	}
	return s.Faulty.ReadAt(p, off)
}

// The next entry of GRUB's environment counts once: it is gone at the next boot, unless nothing may be written.
func TestNextEntryCountsOnce(t *testing.T) {
	env := []byte("# GRUB Environment Block\nsaved_entry=0\nnext_entry=1\n" + strings.Repeat("#", 972))
	disk := bootPartition(t, map[string][]byte{
		"k": soundKernel(64 << 10), "i": soundInitramfs(t), "boot/grub/grubenv": env,
		"boot/grub/grub.cfg": []byte("load_env\nset default=$saved_entry\nif [ \"$next_entry\" ]; then set default=$next_entry; set next_entry=; save_env next_entry; fi\n" +
			menuOf("/k", "/i", "/k", "/i")),
	})
	tests := []struct {
		name   string
		set    func(*attempt)
		second string // first entry of the second boot
	}{
		{"written", func(*attempt) {}, "0"},
		{"bootlun.readonly", func(a *attempt) { a.cfg.ReadOnly = true }, "1"},
		{"chosen by bootlun.entry", func(a *attempt) { a.cfg.Entry = "1" }, "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			medium := memory(t, disk)
			for i, want := range []string{"1", tt.second} {
				a := newAttempt(t, targettest.Options{Store: medium})
				if i == 0 {
					tt.set(a)
				}
				if err := a.boot(t); !errors.Is(err, errNotHere) {
					t.Fatal(err)
				}
				if got := a.entries(); len(got) != 2 || got[0] != want {
					t.Errorf("boot %d began with entries %v, want %s\n%s", i, got, want, a.console())
				}
			}
		})
	}
}
