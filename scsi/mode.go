package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Mode pages (SPC-4, 7.5; SBC-4, 6.5).
const (
	ModePageRecovery      = 0x01
	ModePageCaching       = 0x08
	ModePageControl       = 0x0a
	ModePageInformational = 0x1c
	ModePageCapabilities  = 0x2a
	ModePageAll           = 0x3f
	ModeSubpageAll        = 0xff
)

// ModeData is what MODE SENSE returns and MODE SELECT sends (SPC-4, 7.5.4).
type ModeData struct {
	MediumType   uint8
	WriteProtect bool // WP; reserved in MODE SELECT
	DPOFUA       bool // the device knows DPO and FUA; reserved in MODE SELECT
	// Blocks and BlockLength are the block descriptor, which is there if
	// BlockLength is not zero. Of the short form, Blocks 1<<32-1 means that
	// many or more.
	Blocks      uint64
	BlockLength uint32
	LongLBA     bool   // the descriptor has the long form; 10-byte header only
	Pages       []byte // see AppendModePage and ParseModePages
}

// Append appends the data, with the header of the 10-byte commands if ten, and
// the length as MODE SENSE has it.
func (m *ModeData) Append(dst []byte, ten bool) []byte {
	start := len(dst)
	flags := bit(m.WriteProtect, 0x80) | bit(m.DPOFUA, 0x10)
	descriptor := m.descriptor(ten)
	if ten {
		dst = append(dst, 0, 0, m.MediumType, flags, bit(m.LongLBA, 0x01), 0, 0, byte(len(descriptor)))
	} else {
		dst = append(dst, 0, m.MediumType, flags, byte(len(descriptor)))
	}
	dst = append(dst, descriptor...)
	dst = append(dst, m.Pages...)
	if n := len(dst) - start; ten {
		binary.BigEndian.PutUint16(dst[start:], uint16(n-2))
	} else {
		dst[start] = byte(n - 1)
	}
	return dst
}

func (m *ModeData) descriptor(ten bool) []byte {
	if m.BlockLength == 0 {
		return nil
	}
	if ten && m.LongLBA {
		d := binary.BigEndian.AppendUint64(nil, m.Blocks)
		d = append(d, 0, 0, 0, 0)
		return binary.BigEndian.AppendUint32(d, m.BlockLength)
	}
	d := binary.BigEndian.AppendUint32(nil, uint32(min(m.Blocks, 1<<32-1)))
	return binary.BigEndian.AppendUint32(d, m.BlockLength&0xffffff)
}

// ParseModeData reads the data, with the header of the 10-byte commands if ten. The
// length in the header is not looked at, as MODE SELECT reserves it. Pages shares
// memory with b.
func ParseModeData(b []byte, ten bool) (ModeData, error) {
	header := 4
	if ten {
		header = 8
	}
	if len(b) < header {
		return ModeData{}, fmt.Errorf("scsi: mode data: %d bytes, want at least %d", len(b), header)
	}
	m := ModeData{MediumType: b[1], WriteProtect: b[2]&0x80 != 0, DPOFUA: b[2]&0x10 != 0}
	n := int(b[3])
	if ten {
		m = ModeData{MediumType: b[2], WriteProtect: b[3]&0x80 != 0, DPOFUA: b[3]&0x10 != 0, LongLBA: b[4]&0x01 != 0}
		n = int(binary.BigEndian.Uint16(b[6:]))
	}
	b = b[header:]
	if n > len(b) {
		return ModeData{}, fmt.Errorf("scsi: mode data: block descriptors of %d bytes, only %d follow", n, len(b))
	}
	switch d := b[:n]; {
	case m.LongLBA && n >= 16:
		m.Blocks, m.BlockLength = binary.BigEndian.Uint64(d), binary.BigEndian.Uint32(d[12:])
	case !m.LongLBA && n >= 8:
		m.Blocks, m.BlockLength = uint64(binary.BigEndian.Uint32(d)), binary.BigEndian.Uint32(d[4:])&0xffffff
	}
	m.Pages = b[n:]
	return m, nil
}

// ModePage is one mode page (SPC-4, 7.5.7).
type ModePage struct {
	Saveable bool // PS; reserved in MODE SELECT
	Page     uint8
	Subpage  uint8
	Body     []byte // after the page length
}

// AppendModePage appends a page, in the sub-page format if it has a subpage.
func AppendModePage(dst []byte, p ModePage) []byte {
	first := p.Page&0x3f | bit(p.Saveable, 0x80)
	if p.Subpage == 0 {
		dst = append(dst, first, byte(len(p.Body)))
	} else {
		dst = append(dst, first|0x40, p.Subpage)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(p.Body)))
	}
	return append(dst, p.Body...)
}

// ErrModePageCut is what ParseModePages returns for a page that is not whole,
// with the pages before it.
var ErrModePageCut = errors.New("scsi: mode page is cut off")

// ParseModePages reads pages. Bodies share memory with b.
func ParseModePages(b []byte) ([]ModePage, error) {
	var pages []ModePage
	for len(b) > 0 {
		p := ModePage{Saveable: b[0]&0x80 != 0, Page: b[0] & 0x3f}
		header := 2
		if b[0]&0x40 != 0 {
			header = 4
		}
		if len(b) < header {
			return pages, ErrModePageCut
		}
		n := int(b[1])
		if header == 4 {
			p.Subpage, n = b[1], int(binary.BigEndian.Uint16(b[2:]))
		}
		if header+n > len(b) {
			return pages, ErrModePageCut
		}
		p.Body = b[header : header+n : header+n]
		pages = append(pages, p)
		b = b[header+n:]
	}
	return pages, nil
}

// CachingPage is the part of the caching mode page that matters for a disk without
// a mechanism (SBC-4, 6.5.6).
type CachingPage struct {
	WriteCache       bool // WCE: the device has a volatile write cache
	ReadCacheDisable bool // RCD
}

// Page returns the mode page.
func (c CachingPage) Page() ModePage {
	body := make([]byte, 18)
	body[0] = bit(c.WriteCache, 0x04) | bit(c.ReadCacheDisable, 0x01)
	return ModePage{Page: ModePageCaching, Body: body}
}

// ParseCachingPage reads the body of a caching mode page.
func ParseCachingPage(body []byte) CachingPage {
	if len(body) == 0 {
		return CachingPage{}
	}
	return CachingPage{WriteCache: body[0]&0x04 != 0, ReadCacheDisable: body[0]&0x01 != 0}
}

// ControlPage is the part of the control mode page that a target without
// auto contingent allegiance needs (SPC-4, 7.5.8).
type ControlPage struct {
	TaskSets        uint8  // TST: 0 one task set for all nexuses, 1 one for each
	DescriptorSense bool   // D_SENSE: sense data in descriptor format
	Reorder         uint8  // QUEUE ALGORITHM MODIFIER: 1 unrestricted
	ErrorPolicy     uint8  // QERR
	WriteProtect    bool   // SWP
	TaskAborted     bool   // TAS
	BusyTimeout     uint16 // BUSY TIMEOUT PERIOD, 100 ms each; 0xffff no limit
}

// Page returns the mode page.
func (c ControlPage) Page() ModePage {
	body := make([]byte, 10)
	body[0] = c.TaskSets<<5 | bit(c.DescriptorSense, 0x04)
	body[1] = c.Reorder<<4 | c.ErrorPolicy&3<<1
	body[2] = bit(c.WriteProtect, 0x08)
	body[3] = bit(c.TaskAborted, 0x40)
	binary.BigEndian.PutUint16(body[6:], c.BusyTimeout)
	return ModePage{Page: ModePageControl, Body: body}
}

// ParseControlPage reads the body of a control mode page; what is missing is zero.
func ParseControlPage(body []byte) ControlPage {
	var b [10]byte
	copy(b[:], body)
	return ControlPage{
		TaskSets:        b[0] >> 5,
		DescriptorSense: b[0]&0x04 != 0,
		Reorder:         b[1] >> 4,
		ErrorPolicy:     b[1] >> 1 & 3,
		WriteProtect:    b[2]&0x08 != 0,
		TaskAborted:     b[3]&0x40 != 0,
		BusyTimeout:     binary.BigEndian.Uint16(b[6:]),
	}
}
