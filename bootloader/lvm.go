package bootloader

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
)

// LogicalVolume is what LVM2 says of a volume.
type LogicalVolume struct {
	Group, Name string
	// GroupUUID and UUID are written as LVM's tools write them.
	GroupUUID, UUID string
	// Pieces are where on the disk its bytes lie, in their order.
	Pieces []Piece
}

// Piece is a stretch of a disk, in bytes.
type Piece struct{ Start, Size int64 }

// LogicalVolumes lists the logical volumes whose physical volumes are among the partitions of d: those made of plain stretches, in
// the order of their names. The error says what could not be read or is of another kind; what there is besides is given all the same.
//
// A volume's name is that of the device that it has once it is active, such as "mapper/debian--vg-root". Its Start means nothing.
func LogicalVolumes(d Disk, partitions []Volume) ([]Volume, error) {
	var errs []error
	members := make(map[string]Volume) // by the physical volume's UUID
	groups := make(map[string]volumeGroup)
	for _, v := range partitions {
		if v.FS.Type != "LVM2_member" {
			continue
		}
		members[v.FS.UUID] = v
		g, err := readGroup(v.Reader(d), v.Size)
		if err != nil {
			errs = append(errs, fmt.Errorf("LVM on %s: %w", v.Name, err))
			continue
		}
		if old, ok := groups[g.id]; !ok || old.text.number("seqno") < g.text.number("seqno") {
			groups[g.id] = g
		}
	}
	var volumes []Volume
	for _, g := range groups {
		list, err := g.volumes(d, members)
		volumes, errs = append(volumes, list...), append(errs, err)
	}
	slices.SortFunc(volumes, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return volumes, errors.Join(errs...)
}

// Reader gives the volume's bytes from those of its disk.
func (v Volume) Reader(disk io.ReaderAt) io.ReaderAt {
	if v.LVM == nil {
		return io.NewSectionReader(disk, v.Start, v.Size)
	}
	return pieces{disk, v.LVM.Pieces}
}

// Offset gives where on the disk n bytes of the volume from at on are, if they are in one piece.
func (v Volume) Offset(at, n int64) (int64, error) {
	list := []Piece{{Start: v.Start, Size: v.Size}}
	if v.LVM != nil {
		list = v.LVM.Pieces
	}
	for _, p := range list {
		if at >= 0 && at <= p.Size-n {
			return p.Start + at, nil
		}
		at -= p.Size
	}
	return 0, fmt.Errorf("%d bytes at byte %d of %s are not in one piece of the disk", n, at, v.Name)
}

// pieces are stretches of a disk as one.
type pieces struct {
	disk io.ReaderAt
	list []Piece
}

func (r pieces) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read before the volume's start")
	}
	for _, p := range r.list {
		if off >= p.Size {
			off -= p.Size
			continue
		}
		part := b[n:min(int64(len(b)), int64(n)+p.Size-off)]
		done, err := r.disk.ReadAt(part, p.Start+off)
		if n += done; done < len(part) {
			return n, noEOF(err)
		}
		if off = 0; n == len(b) {
			return n, nil
		}
	}
	return n, io.EOF
}

// Bounds of ours. LVM's own metadata areas have 1 MiB unless told otherwise.
const (
	maxLVMText  = 16 << 20
	maxSegments = 1 << 14
)

// readGroup reads the metadata of a physical volume (LVM2's lib/format_text/layout.h and lib/label/label.h). r holds its size bytes.
func readGroup(r io.ReaderAt, size int64) (volumeGroup, error) {
	head := make([]byte, min(size, superblockSpan))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		return volumeGroup{}, noEOF(err)
	}
	for off := 0; off < 4*512; off += 512 {
		b := superblock(head)
		if !b.has(off, "LABELONE") || !b.has(off+24, "LVM2 001") {
			continue
		}
		area, ok := metadataArea(head, off+int(min(b.le32(off+20), 512)))
		if !ok {
			return volumeGroup{}, errors.New("it has no metadata of its own")
		}
		return readMetadata(r, size, area)
	}
	return volumeGroup{}, errors.New("it has no label")
}

// metadataArea is the first one that a physical volume's header lists: after its UUID and size, and the list of its data areas, that
// of its metadata. A list ends with an offset of zero.
func metadataArea(head []byte, header int) (Piece, bool) {
	le := binary.LittleEndian
	at, lists := header+40, 0
	for ; at+16 <= len(head); at += 16 {
		p := Piece{int64(le.Uint64(head[at:])), int64(le.Uint64(head[at+8:]))}
		switch {
		case p.Start == 0:
			if lists++; lists == 2 {
				return Piece{}, false
			}
		case lists == 1:
			return p, true
		}
	}
	return Piece{}, false
}

// readMetadata reads the text that an area's header, of 512 bytes, leads to. The text goes round from the area's end to behind the
// header.
func readMetadata(r io.ReaderAt, size int64, area Piece) (volumeGroup, error) {
	const headerSize, magic = 512, " LVM2 x[5A%r0N*>"
	if area.Start < 0 || area.Size <= headerSize || area.Start > size-area.Size {
		return volumeGroup{}, errors.New("its metadata lies outside the volume")
	}
	header := make([]byte, headerSize)
	if n, err := r.ReadAt(header, area.Start); n < headerSize {
		return volumeGroup{}, noEOF(err)
	}
	le := binary.LittleEndian
	offset, length, sum := int64(le.Uint64(header[40:])), int64(le.Uint64(header[48:])), le.Uint32(header[56:])
	if string(header[4:20]) != magic || offset < headerSize || offset >= area.Size || length <= 0 || length > min(area.Size-headerSize, maxLVMText) {
		return volumeGroup{}, errors.New("the header of its metadata is damaged")
	}
	text := make([]byte, length)
	first := min(length, area.Size-offset)
	if n, err := r.ReadAt(text[:first], area.Start+offset); int64(n) < first {
		return volumeGroup{}, noEOF(err)
	}
	if n, err := r.ReadAt(text[first:], area.Start+headerSize); int64(n) < length-first {
		return volumeGroup{}, noEOF(err)
	}
	const seed = 0xf597a6cf
	if ^crc32.Update(^uint32(seed), crc32.IEEETable, text) != sum {
		return volumeGroup{}, errors.New("the checksum of its metadata is wrong")
	}
	root, err := parseLVM(string(text))
	if err != nil {
		return volumeGroup{}, fmt.Errorf("its metadata: %w", err)
	}
	for name, value := range root {
		if g, ok := value.(lvmSection); ok {
			return volumeGroup{name: name, id: g.text("id"), text: g}, nil
		}
	}
	return volumeGroup{}, errors.New("its metadata names no volume group")
}

// volumeGroup is a group's metadata.
type volumeGroup struct {
	name, id string
	text     lvmSection
}

// volumes are the group's volumes that are seen from outside.
func (g volumeGroup) volumes(d Disk, members map[string]Volume) (list []Volume, err error) {
	var errs []error
	all := g.text.section("logical_volumes")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l := all.section(name)
		if !slices.Contains(l.list("status"), any("VISIBLE")) {
			continue
		}
		pieces, err := g.pieces(l, members)
		if err != nil {
			errs = append(errs, fmt.Errorf("logical volume %s/%s: %w", g.name, name, err))
			continue
		}
		v := Volume{
			Name: "mapper/" + mapperName(g.name) + "-" + mapperName(name),
			LVM:  &LogicalVolume{Group: g.name, Name: name, GroupUUID: g.id, UUID: l.text("id"), Pieces: pieces},
		}
		for _, p := range pieces {
			v.Size += p.Size
		}
		if v.FS, err = Probe(v.Reader(d), v.Size); err != nil {
			errs = append(errs, fmt.Errorf("logical volume %s/%s: %w", g.name, name, err))
			continue
		}
		list = append(list, v)
	}
	return list, errors.Join(errs...)
}

// mapperName doubles the dashes in a name: a single one comes between group and volume.
func mapperName(s string) string { return strings.ReplaceAll(s, "-", "--") }

// pieces finds the segments of a volume, each of which begins where the one before it ends.
func (g volumeGroup) pieces(volume lvmSection, members map[string]Volume) ([]Piece, error) {
	extent, count := g.text.number("extent_size")*512, volume.number("segment_count")
	if extent <= 0 || extent > 1<<40 || count <= 0 || count > maxSegments {
		return nil, errors.New("its metadata makes no sense")
	}
	var list []Piece
	next := int64(0)
	for i := range count {
		s := volume.section(fmt.Sprintf("segment%d", i+1))
		if kind := s.text("type"); kind != "striped" || s.number("stripe_count") != 1 {
			return nil, fmt.Errorf("a segment is of type %q with %d stripes; only plain ones are read", kind, max(s.number("stripe_count"), 1))
		}
		p, err := g.piece(s, extent, members)
		if err != nil {
			return nil, err
		}
		if s.number("start_extent") != next {
			return nil, errors.New("it has a gap")
		}
		next += s.number("extent_count")
		list = append(list, p)
	}
	return list, nil
}

// piece is one segment: extents of a physical volume from a place on.
func (g volumeGroup) piece(s lvmSection, extent int64, members map[string]Volume) (Piece, error) {
	stripe := s.list("stripes")
	if len(stripe) != 2 {
		return Piece{}, errors.New("a segment does not say where it lies")
	}
	name, _ := stripe[0].(string)
	first, _ := stripe[1].(int64)
	physical := g.text.section("physical_volumes").section(name)
	on, ok := members[physical.text("id")]
	if !ok {
		return Piece{}, fmt.Errorf("it is partly on physical volume %s (%s), which is not on this disk", cmp.Or(physical.text("id"), name), name)
	}
	begin, count := physical.number("pe_start"), s.number("extent_count")
	if most := on.Size / extent; first < 0 || count <= 0 || first > most || count > most-first || begin < 0 || begin > on.Size/512 ||
		begin*512+(first+count)*extent > on.Size {
		return Piece{}, errors.New("a segment lies outside its physical volume")
	}
	return Piece{on.Start + begin*512 + first*extent, count * extent}, nil
}
