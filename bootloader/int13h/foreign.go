package int13h

import "bytes"

// foreigners are words in the boot sectors of systems that are not handed over.
var foreigners = []struct{ word, name string }{
	{"BOOTMGR", "Windows"},
	{"NTLDR", "Windows"},
	{"KERNEL  SYS", "FreeDOS"},
	{"IO      SYS", "DOS"},
	{"IBMBIO  COM", "DOS"},
	{"BTX", "FreeBSD"},
	{"OpenBSD", "OpenBSD"},
	{"NetBSD", "NetBSD"},
}

// foreignSectors is how much of a disk's and of a partition's begin is looked at.
const foreignSectors = 16

// foreigner names the system whose boot program is at the disk's begin or at that
// of its active partition; empty if it is none that is known.
func (d *drive) foreigner() string {
	head := d.head(0)
	if name := nameOf(head); name != "" || len(head) < 512 {
		return name
	}
	for i := range 4 {
		if entry := head[446+16*i:]; entry[0] == 0x80 {
			return nameOf(d.head(int64(le.Uint32(entry[8:])) * d.sector))
		}
	}
	return ""
}

// head reads what is to be looked at; less if there is no more.
func (d *drive) head(at int64) []byte {
	b := make([]byte, max(0, min(foreignSectors*d.sector, d.Size()-at)))
	if n, err := d.ReadAt(b, at); n < len(b) && err != nil {
		return nil
	}
	return b
}

func nameOf(head []byte) string {
	for _, f := range foreigners {
		if bytes.Contains(head, []byte(f.word)) {
			return f.name
		}
	}
	return ""
}
