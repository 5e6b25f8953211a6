package bootloader

import (
	"bytes"
	"hash/crc32"
	"io"
	"maps"
	"strings"
	"testing"
)

// sparse is a disk of zeros, but for what is at some places.
type sparse map[int64][]byte

func (s sparse) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	for at, data := range s {
		if from := max(at, off); from < min(at+int64(len(data)), off+int64(len(b))) {
			copy(b[from-off:], data[from-at:])
		}
	}
	return len(b), nil
}

// What vgcreate, lvcreate and lvextend have made: the begin of a partition of 2045 MiB, with a root in two pieces.
const (
	lvmStart = 2 << 20
	lvmSize  = 2045 << 20
)

func lvmDisk(t testing.TB) (sparse, Disk, []Volume) {
	t.Helper()
	data := sparse{lvmStart: readGolden(t, "lvmgroup")}
	v := Volume{Partition: Partition{Number: 2, Start: lvmStart, Size: lvmSize}, Name: "sda2"}
	d := Disk{ReaderAt: data, Size: 2 << 30, Name: "sda"}
	var err error
	if v.FS, err = Probe(v.Reader(d), v.Size); err != nil {
		t.Fatal(err)
	}
	return data, d, []Volume{v}
}

func TestLogicalVolumes(t *testing.T) {
	data, d, partitions := lvmDisk(t)
	const first, second = lvmStart + 1<<20, lvmStart + 1<<20 + (600+64)<<20
	data[first] = readGolden(t, "ext4")
	data[first+600<<20-3] = []byte("abc")
	data[second] = []byte("def")
	volumes, err := LogicalVolumes(d, partitions)
	if err != nil || len(volumes) != 2 {
		t.Fatalf("LogicalVolumes = %v, %v", volumes, err)
	}
	root := volumes[0]
	if want := `mapper/debian--vg-root: ext4, 1400 MiB, LABEL="root", UUID=` + testUUID; root.String() != want {
		t.Errorf("%s, want %s", root, want)
	}
	if root.LVM.Group != "debian-vg" || root.LVM.Name != "root" || len(root.LVM.Pieces) != 2 ||
		root.LVM.GroupUUID != "jO836g-iTg9-g3Sg-c4gh-RsmJ-KhGc-UpXTFx" || root.LVM.UUID != "uDl8yh-TOVQ-4PcF-NhnJ-GXdR-XEMI-jlZmgb" {
		t.Errorf("%+v", root.LVM)
	}
	if volumes[1].Name != "mapper/debian--vg-swap_1" || volumes[1].Size != 64<<20 {
		t.Errorf("%s", volumes[1])
	}
	b := make([]byte, 6)
	if n, err := root.Reader(d).ReadAt(b, 600<<20-3); n != 6 || string(b) != "abcdef" {
		t.Errorf("over the border of two pieces: %d, %q, %v", n, b, err)
	}
	for at, want := range map[int64]int64{0: first, 600<<20 - 6: first + 600<<20 - 6, 600 << 20: second, 1400<<20 - 6: second + 800<<20 - 6} {
		if got, err := root.Offset(at, 6); err != nil || got != want {
			t.Errorf("byte %d is at %d of the disk, %v, want %d", at, got, err, want)
		}
	}
	for _, at := range []int64{-1, 600<<20 - 3, 1400<<20 - 5, 1 << 62} {
		if got, err := root.Offset(at, 6); err == nil {
			t.Errorf("byte %d is at %d of the disk", at, got)
		}
	}
	if got, err := partitions[0].Offset(7, 6); err != nil || got != lvmStart+7 {
		t.Errorf("a partition's byte 7 is at %d, %v", got, err)
	}
	if n, err := root.Reader(d).ReadAt(b, root.Size-2); n != 2 || err != io.EOF {
		t.Errorf("over the end: %d, %v", n, err)
	}
}

// changed changes a group's metadata and mends the checksum.
func changed(t testing.TB, data sparse, old, text string) {
	t.Helper()
	b := bytes.Clone(data[lvmStart])
	const header = 4096
	offset, length := superblock(b).le32(header+40), superblock(b).le32(header+48)
	metadata := b[header+offset:][:length]
	if len(old) != len(text) || !bytes.Contains(metadata, []byte(old)) {
		t.Fatalf("%q cannot become %q", old, text)
	}
	copy(metadata, bytes.ReplaceAll(metadata, []byte(old), []byte(text)))
	const seed = 0xf597a6cf
	sum := ^crc32.Update(^uint32(seed), crc32.IEEETable, metadata)
	copy(b[header+56:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	data[lvmStart] = b
}

func TestLogicalVolumesDamaged(t *testing.T) {
	for want, spoil := range map[string]func(data sparse){
		"the checksum of its metadata": func(data sparse) {
			b := bytes.Clone(data[lvmStart])
			b[4096+superblock(b).le32(4096+40)] = 'X'
			data[lvmStart] = b
		},
		"outside its physical volume": func(data sparse) { changed(t, data, "extent_count = 200", "extent_count = 900") },
		"makes no sense":              func(data sparse) { changed(t, data, "extent_size = 8192", "extent_size = 0000") },
		"a syntax error":              func(data sparse) { changed(t, data, "max_lv = 0", "max_lv = {") },
		`of type "mirror" with 1`:     func(data sparse) { changed(t, data, `type = "striped"`, `type = "mirror" `) },
		"has a gap":                   func(data sparse) { changed(t, data, "start_extent = 150", "start_extent = 151") },
		"which is not on this disk":   func(data sparse) { changed(t, data, `"tBqr68`, `"XXXXXX`) },
	} {
		data, d, partitions := lvmDisk(t)
		spoil(data)
		if volumes, err := LogicalVolumes(d, partitions); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("LogicalVolumes = %v, %v; want %q", volumes, err, want)
		}
	}
}

func FuzzLogicalVolumes(f *testing.F) {
	data, _, _ := lvmDisk(f)
	f.Add(data[lvmStart])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		size := int64(len(b))
		d := Disk{ReaderAt: bytes.NewReader(b), Size: size, Name: "sda"}
		v := Volume{Partition: Partition{Size: size}, FS: FileSystem{Type: "LVM2_member", UUID: "tBqr68-d6aX-xvAg-rRc3-83Ab-3DPw-8LfBs1"}, Name: "sda"}
		volumes, _ := LogicalVolumes(d, []Volume{v})
		for _, l := range volumes {
			for _, p := range l.LVM.Pieces {
				if p.Start < 0 || p.Size <= 0 || p.Start > size-p.Size {
					t.Errorf("a piece outside the disk: %+v", p)
				}
			}
		}
	})
}

func TestParseLVM(t *testing.T) {
	s, err := parseLVM("a = 1 # one\nb = [\"x\", 2,\n 3]\nc {\nd = \"q\\\"{\\\\\"\n e { f = 1.5 } }\n\x00")
	if err != nil {
		t.Fatal(err)
	}
	c := s.section("c")
	if s.number("a") != 1 || len(s.list("b")) != 3 || c.text("d") != `q"{\` || c.section("e").number("f") != 1 {
		t.Errorf("%v", s)
	}
	for _, bad := range []string{"a", "a =", "a = [", "a {", "}", "= 1", "a = x", `a = "x`, strings.Repeat("a {", 20)} {
		if s, err := parseLVM(bad); err == nil {
			t.Errorf("%q gives %v", bad, maps.Clone(s))
		}
	}
}
