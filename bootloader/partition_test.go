package bootloader

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

const (
	rootType  = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
	espType   = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	linuxType = "0fc63daf-8483-4772-8e79-3d69d8477de4"
)

const gptScript = `label: gpt
label-id: 11111111-2222-3333-4444-555555555555
first-lba: 34
start=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=AAAAAAAA-0000-0000-0000-000000000001, name="ESP"
start=4096, size=4096, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=aaaaaaaa-0000-0000-0000-000000000002, name="rööt fs"
`

const mbrScript = `label: dos
label-id: 0x1234abcd
start=2048, size=2048, type=83, bootable
start=4096, size=12288, type=5
start=6144, size=2048, type=82
start=10240, size=2048, type=83
`

func sfdisk(t *testing.T, size int64, script string) string {
	t.Helper()
	needs(t, "fdisk", "sfdisk")
	path := image(t, size)
	run(t, script, "sfdisk", "-q", path)
	return path
}

func partitionsOf(t *testing.T, d Disk, sector int) []Partition {
	t.Helper()
	parts, err := readPartitions(d, d.Size, sector)
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func TestGPT(t *testing.T) {
	d := openDisk(t, sfdisk(t, 8<<20, gptScript), "sda")
	want := []Partition{
		{Number: 1, Start: 1 << 20, Size: 1 << 20, Type: espType, UUID: "aaaaaaaa-0000-0000-0000-000000000001", Label: "ESP"},
		{Number: 2, Start: 2 << 20, Size: 2 << 20, Type: rootType, UUID: "aaaaaaaa-0000-0000-0000-000000000002", Label: "rööt fs"},
	}
	if got := partitionsOf(t, d, 512); !reflect.DeepEqual(got, want) {
		t.Errorf("partitions\n %+v\nwant\n %+v", got, want)
	}
}

func TestMBR(t *testing.T) {
	d := openDisk(t, sfdisk(t, 8<<20, mbrScript), "sda")
	want := []Partition{
		{Number: 1, Start: 1 << 20, Size: 1 << 20, Type: "0x83", UUID: "1234abcd-01"},
		{Number: 5, Start: 3 << 20, Size: 1 << 20, Type: "0x82", UUID: "1234abcd-05"},
		{Number: 6, Start: 5 << 20, Size: 1 << 20, Type: "0x83", UUID: "1234abcd-06"},
	}
	if got := partitionsOf(t, d, 512); !reflect.DeepEqual(got, want) {
		t.Errorf("partitions\n %+v\nwant\n %+v", got, want)
	}
}

// TestLikeSfdisk compares with what sfdisk reads back from the same disks, at both sector sizes.
func TestLikeSfdisk(t *testing.T) {
	needsRoot(t)
	needs(t, "fdisk util-linux", "losetup", "sfdisk")
	for _, c := range []struct {
		name, script string
		sector       int
	}{
		{"GPT", gptScript, 512},
		{"MBR", mbrScript, 512},
		{"GPT of 4096", strings.NewReplacer("2048", "256", "4096", "512", "first-lba: 34", "first-lba: 6").Replace(gptScript), 4096},
		{"MBR of 4096", strings.NewReplacer("2048", "256", "4096", "512", "12288", "1536", "6144", "768", "10240", "1280").Replace(mbrScript), 4096},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := image(t, 8<<20)
			loop := attachLoop(t, path, c.sector)
			run(t, c.script, "sfdisk", "-q", loop)
			got := make(map[string]string)
			for _, p := range partitionsOf(t, openDisk(t, path, "x"), c.sector) {
				got[partitionName(loop, p.Number)] = fmt.Sprint(p.Start, p.Size)
			}
			if want := sfdiskPartitions(t, loop, int64(c.sector)); !reflect.DeepEqual(got, want) || len(got) < 2 {
				t.Errorf("start and size: %v, sfdisk has %v", got, want)
			}
		})
	}
}

// attachLoop makes a block device of a file.
func attachLoop(t *testing.T, path string, sector int) string {
	t.Helper()
	out := run(t, "", "losetup", "--find", "--show", "--sector-size", strconv.Itoa(sector), path)
	loop := strings.TrimSpace(out)
	t.Cleanup(func() { cleanup(t, "losetup", "--detach", loop) })
	return loop
}

// sfdiskPartitions gives start and size in bytes by device, without extended partitions, which hold nothing themselves.
func sfdiskPartitions(t *testing.T, disk string, sector int64) map[string]string {
	t.Helper()
	var dump struct {
		PartitionTable struct {
			Partitions []struct {
				Node, Type  string
				Start, Size int64
			}
		}
	}
	if err := json.Unmarshal([]byte(run(t, "", "sfdisk", "--json", disk)), &dump); err != nil {
		t.Fatal(err)
	}
	parts := make(map[string]string)
	for _, p := range dump.PartitionTable.Partitions {
		if p.Type != "5" {
			parts[p.Node] = fmt.Sprint(p.Start*sector, p.Size*sector)
		}
	}
	return parts
}

// buildGPT makes a disk with a GPT of the given entries, then lets the test spoil the header before it is summed.
func buildGPT(spoil func(header []byte), entries ...[]byte) []byte {
	disk := make([]byte, 1<<20)
	disk[450], disk[510], disk[511] = 0xEE, 0x55, 0xAA
	table := disk[1024 : 1024+128*128]
	for i, e := range entries {
		copy(table[128*i:], e)
	}
	h := disk[512:]
	copy(h, "EFI PART")
	le := binary.LittleEndian
	le.PutUint32(h[12:], 92)
	le.PutUint64(h[72:], 2)
	le.PutUint32(h[80:], 128)
	le.PutUint32(h[84:], 128)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(table))
	if spoil != nil {
		spoil(h)
	}
	le.PutUint32(h[16:], 0)
	if size := le.Uint32(h[12:]); size <= 512 {
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:size]))
	}
	return disk
}

func gptEntry(first, last uint64) []byte {
	e := make([]byte, 128)
	e[0] = 1 // a type
	binary.LittleEndian.PutUint64(e[32:], first)
	binary.LittleEndian.PutUint64(e[40:], last)
	return e
}

func TestDamagedGPT(t *testing.T) {
	le := binary.LittleEndian
	for name, spoil := range map[string]func([]byte){
		"no header":           func(h []byte) { h[0] = 'X' },
		"claims 4294967295 b": func(h []byte) { le.PutUint32(h[12:], 1<<32-1) },
		"claims 0 bytes":      func(h []byte) { le.PutUint32(h[12:], 0) },
		"claims 4294967295 e": func(h []byte) { le.PutUint32(h[80:], 1<<32-1) },
		"entries of 8 bytes":  func(h []byte) { le.PutUint32(h[84:], 8) },
		"outside the disk":    func(h []byte) { le.PutUint64(h[72:], 1<<63) },
		"lie outside":         func(h []byte) { le.PutUint64(h[72:], 2040) },
		"checksum of its ent": func(h []byte) { le.PutUint32(h[88:], 0) },
	} {
		disk := buildGPT(spoil)
		_, err := readPartitions(bytes.NewReader(disk), int64(len(disk)), 512)
		if e := (*tableError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), name) {
			t.Errorf("err = %v, want %q in it", err, name)
		}
	}
	disk := buildGPT(nil)
	disk[512+60] ^= 1
	if _, err := readPartitions(bytes.NewReader(disk), int64(len(disk)), 512); err == nil || !strings.Contains(err.Error(), "checksum of its header") {
		t.Errorf("err = %v, want the header's checksum in it", err)
	}
}

func TestGPTEntriesOutside(t *testing.T) {
	disk := buildGPT(nil, gptEntry(40, 50), gptEntry(60, 59), gptEntry(60, 2048), gptEntry(1<<63, 1<<63+9), gptEntry(2000, 2047))
	parts, err := readPartitions(bytes.NewReader(disk), int64(len(disk)), 512)
	if err != nil || len(parts) != 2 || parts[0].Number != 1 || parts[1].Number != 5 {
		t.Errorf("partitions %+v, %v; want numbers 1 and 5", parts, err)
	}
}

// TestExtendedRing ends though the chain of extended boot records leads back to its start.
func TestExtendedRing(t *testing.T) {
	disk := make([]byte, 1<<20)
	sector := func(n int, entries ...[3]uint32) {
		b := disk[512*n:]
		b[510], b[511] = 0x55, 0xAA
		for i, e := range entries {
			b[446+16*i+4] = byte(e[0])
			binary.LittleEndian.PutUint32(b[446+16*i+8:], e[1])
			binary.LittleEndian.PutUint32(b[446+16*i+12:], e[2])
		}
	}
	sector(0, [3]uint32{5, 100, 1000})
	sector(100, [3]uint32{0x83, 1, 10}, [3]uint32{5, 0, 1000})
	parts, err := readPartitions(bytes.NewReader(disk), int64(len(disk)), 512)
	if err != nil || len(parts) != 100 {
		t.Errorf("%d partitions, %v; want the 100 after which Linux stops too", len(parts), err)
	}
}

func TestNoTable(t *testing.T) {
	for name, disk := range map[string][]byte{
		"zero":           make([]byte, 4096),
		"small":          make([]byte, 100),
		"FAT, no table":  readGolden(t, "vfat16"),
		"ext4, no table": readGolden(t, "ext4"),
	} {
		parts, err := readPartitions(bytes.NewReader(disk), int64(len(disk)), 512)
		if err != nil || len(parts) != 0 {
			t.Errorf("%s: %+v, %v", name, parts, err)
		}
	}
	_, err := readPartitions(strings.NewReader("short"), 1<<20, 512)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("err = %v, want %v", err, io.ErrUnexpectedEOF)
	}
}
