package bootloader

import (
	"bytes"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	path := sfdisk(t, 8<<20, gptScript)
	d := openDisk(t, path, "nvme0n1")
	volumes, err := Scan(d)
	if err != nil || len(volumes) != 2 || volumes[0].Name != "nvme0n1p1" || volumes[1].Device() != "/dev/nvme0n1p2" {
		t.Errorf("Scan = %v, %v", volumes, err)
	}
	if want := "nvme0n1p2: nothing known, 2 MiB"; volumes[1].String() != want {
		t.Errorf("%q, want %q", volumes[1], want)
	}
}

func TestScanWholeDisk(t *testing.T) {
	head := readGolden(t, "ext4")
	volumes, err := Scan(Disk{ReaderAt: bytes.NewReader(head), Size: int64(len(head)), Name: "sdb"})
	if err != nil || len(volumes) != 1 {
		t.Fatalf("Scan = %v, %v", volumes, err)
	}
	want := `sdb: ext4, 0 MiB, LABEL="root", UUID=` + testUUID
	if v := volumes[0]; v.Name != "sdb" || v.Number != 0 || v.String() != want {
		t.Errorf("volume %q, number %d; want %q", v, v.Number, want)
	}
}

func TestScanNonsense(t *testing.T) {
	for want, d := range map[string]Disk{
		"empty":    {},
		"of 100 b": {ReaderAt: strings.NewReader(""), Size: 1, SectorSize: 100},
		"of 768 b": {ReaderAt: strings.NewReader(""), Size: 1, SectorSize: 768},
	} {
		if _, err := Scan(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, want %q in it", err, want)
		}
	}
}

// FuzzScan holds Scan to its promise: any bytes give volumes that lie in the disk, or an error.
func FuzzScan(f *testing.F) {
	for name := range goldenFormats() {
		head := readGolden(f, name)
		f.Add(head[:min(len(head), 8192)], uint16(0))
	}
	f.Add(buildGPT(nil, gptEntry(40, 50), gptEntry(60, 100))[:20000], uint16(512))
	f.Add(buildGPT(nil, gptEntry(40, 50))[:20000], uint16(4096))
	f.Fuzz(func(t *testing.T, b []byte, sector uint16) {
		d := Disk{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), SectorSize: int(sector), Name: "sda"}
		volumes, err := Scan(d)
		if err != nil {
			return
		}
		for _, v := range volumes {
			if v.Start < 0 || v.Size <= 0 || v.Start+v.Size > d.Size {
				t.Fatalf("%v at %d+%d lies outside a disk of %d", v, v.Start, v.Size, d.Size)
			}
		}
	})
}

// TestProbeTruncated cuts every format short at every place a field could be.
func TestProbeTruncated(t *testing.T) {
	for name := range goldenFormats() {
		head := readGolden(t, name)
		for n := 0; n < min(len(head), 4096); n += 7 {
			if _, err := Probe(bytes.NewReader(head[:n]), int64(n)); err != nil {
				t.Fatalf("%s cut at %d: %v", name, n, err)
			}
		}
	}
}
