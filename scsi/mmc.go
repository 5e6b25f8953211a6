package scsi

import (
	"encoding/binary"
)

// BytesPerDiscBlock is the size of a block of a CD-ROM or DVD (MMC-6).
const BytesPerDiscBlock = 2048

// LeadOut is the number by which a table of contents names a disc's lead-out area.
const LeadOut = 0xaa

// ReadTOC is READ TOC/PMA/ATIP (MMC-6, 6.26).
type ReadTOC struct {
	MSF    bool  // addresses as minutes, seconds and frames
	Format uint8 // 0 table of contents, 1 sessions, 2 full table
	Track  uint8 // first track (or session) to tell of
	Length uint16
}

// CDB builds the command.
func (r ReadTOC) CDB() CDB {
	c := CDB{byte(OpReadTOC), bit(r.MSF, 0x02), r.Format & 0xf}
	c[6] = r.Track
	c.put16(7, r.Length)
	return c
}

// ParseReadTOC takes the command apart. Drives that are older than MMC have the
// format in the control byte, and so have some initiators.
func ParseReadTOC(c *CDB) ReadTOC {
	r := ReadTOC{MSF: c[1]&0x02 != 0, Format: c[2] & 0xf, Track: c[6], Length: c.u16(7)}
	if r.Format == 0 {
		r.Format = c[9] >> 6
	}
	return r
}

// Append appends the answer for a disc with one data track of so many blocks; ok
// is false if the format or the track does not exist.
func (r ReadTOC) Append(dst []byte, blocks uint32) (data []byte, ok bool) {
	const dataTrack = 0x14 // ADR 1, CONTROL data
	var body []byte
	switch {
	case r.Format == 0 && (r.Track <= 1 || r.Track == LeadOut):
		if r.Track <= 1 {
			body = append(body, 0, dataTrack, 1, 0)
			body = r.appendAddress(body, 0)
		}
		body = append(body, 0, dataTrack, LeadOut, 0)
		body = r.appendAddress(body, blocks)
	case r.Format == 1: // the first track of the last session
		body = append(body, 0, dataTrack, 1, 0)
		body = r.appendAddress(body, 0)
	case r.Format == 2 && r.Track <= 1: // always in MSF
		r.MSF = true
		entry := func(point, minute, second, frame byte) {
			body = append(body, 1, dataTrack, 0, point, 0, 0, 0, 0, minute, second, frame)
		}
		entry(0xa0, 1, 0, 0) // first track
		entry(0xa1, 1, 0, 0) // last track
		end := r.appendAddress(nil, blocks)
		entry(0xa2, end[1], end[2], end[3])
		entry(1, 0, 2, 0)
	default:
		return nil, false
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(body)+2))
	return append(append(dst, 1, 1), body...), true
}

// appendAddress appends an address in the form that is asked for. Time starts two
// seconds before the first block, and ends where a CD's ends.
func (r ReadTOC) appendAddress(dst []byte, lba uint32) []byte {
	if !r.MSF {
		return binary.BigEndian.AppendUint32(dst, lba)
	}
	frames := min(lba+150, 99*60*75+59*75+74)
	return append(dst, 0, byte(frames/75/60), byte(frames/75%60), byte(frames%75))
}

// Profiles of drives (MMC-6, 5.3.1).
const (
	ProfileNone = 0x0000
	ProfileCD   = 0x0008
	ProfileDVD  = 0x0010
)

// Features of drives (MMC-6, 5.3).
const (
	FeatureProfiles   = 0x0000
	FeatureCore       = 0x0001
	FeatureMorphing   = 0x0002
	FeatureRemovable  = 0x0003
	FeatureRandomRead = 0x0010
	FeatureCDRead     = 0x001e
	FeatureDVDRead    = 0x001f
)

// Feature is a feature descriptor.
type Feature struct {
	Code       uint16
	Version    uint8
	Persistent bool
	Current    bool
	Data       []byte // a multiple of four bytes
}

// GetConfiguration is GET CONFIGURATION (MMC-6, 6.6).
type GetConfiguration struct {
	// Requested says which features: 0 all, 1 those that are current, 2 the one
	// with the code First; of 0 and 1 those from First on.
	Requested uint8
	First     uint16
	Length    uint16
}

// CDB builds the command.
func (g GetConfiguration) CDB() CDB {
	c := CDB{byte(OpGetConfiguration), g.Requested & 3}
	c.put16(2, g.First)
	c.put16(7, g.Length)
	return c
}

// ParseGetConfiguration takes the command apart.
func ParseGetConfiguration(c *CDB) GetConfiguration {
	return GetConfiguration{Requested: c[1] & 3, First: c.u16(2), Length: c.u16(7)}
}

// Append appends the answer of a drive with a current profile and features in
// ascending order.
func (g GetConfiguration) Append(dst []byte, profile uint16, all []Feature) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, byte(profile>>8), byte(profile))
	for _, f := range all {
		switch {
		case g.Requested == 2 && f.Code != g.First, f.Code < g.First, g.Requested == 1 && !f.Current:
			continue
		}
		dst = binary.BigEndian.AppendUint16(dst, f.Code)
		dst = append(dst, f.Version<<2|bit(f.Persistent, 0x02)|bit(f.Current, 0x01), byte(len(f.Data)))
		dst = append(dst, f.Data...)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// GetEventStatus is GET EVENT STATUS NOTIFICATION (MMC-6, 6.7).
type GetEventStatus struct {
	Polled  bool
	Classes uint8 // a bit for each class that is asked for
	Length  uint16
}

// CDB builds the command.
func (g GetEventStatus) CDB() CDB {
	c := CDB{byte(OpGetEventStatus), bit(g.Polled, 0x01)}
	c[4] = g.Classes
	c.put16(7, g.Length)
	return c
}

// ParseGetEventStatus takes the command apart.
func ParseGetEventStatus(c *CDB) GetEventStatus {
	return GetEventStatus{Polled: c[1]&0x01 != 0, Classes: c[4], Length: c.u16(7)}
}

// MediaClass is the class of events about the medium, the only one told of here.
const MediaClass = 4

// Media events (MMC-6, 6.7.2.5).
const (
	MediaUnchanged    = 0
	MediaEjectRequest = 1
	MediaNew          = 2
	MediaRemoval      = 3
)

// MediaEvent is what has happened to the medium, and how it is.
type MediaEvent struct {
	Event    uint8
	Present  bool
	TrayOpen bool
}

// Append appends the answer about the medium, or, if that was not asked for, that
// there are no other events.
func (g GetEventStatus) Append(dst []byte, e MediaEvent) []byte {
	const none, supported = 0x80, 1 << MediaClass
	if g.Classes&supported == 0 {
		return append(dst, 0, 2, none, supported)
	}
	return append(dst, 0, 6, MediaClass, supported, e.Event&0xf, bit(e.Present, 0x02)|bit(e.TrayOpen, 0x01), 0, 0)
}

// ParseMediaEvent reads an answer about the medium; ok is false if it is about
// something else.
func ParseMediaEvent(b []byte) (e MediaEvent, ok bool) {
	if len(b) < 8 || b[2] != MediaClass {
		return MediaEvent{}, false
	}
	return MediaEvent{Event: b[4] & 0xf, Present: b[5]&0x02 != 0, TrayOpen: b[5]&0x01 != 0}, true
}

// AppendDiscInformation appends READ DISC INFORMATION data of a finished disc with
// one session of one data track (MMC-6, 6.22.3.2).
func AppendDiscInformation(dst []byte) []byte {
	var b [34]byte
	b[1] = byte(len(b) - 2)
	b[2] = 0x0e // complete, and so is the last session
	b[3], b[4], b[5], b[6] = 1, 1, 1, 1
	b[7] = 0x20 // URU: for any purpose
	for i := 16; i < 24; i++ {
		b[i] = 0xff // no more can be written
	}
	return append(dst, b[:]...)
}

// AppendTrackInformation appends READ TRACK INFORMATION data of the one data
// track (MMC-6, 6.27.3).
func AppendTrackInformation(dst []byte, blocks uint32) []byte {
	var b [36]byte
	b[1] = byte(len(b) - 2)
	b[2], b[3] = 1, 1 // track, session
	b[5], b[6] = 0x04, 0x01
	binary.BigEndian.PutUint32(b[24:], blocks)
	return append(dst, b[:]...)
}

// AppendMechanismStatus appends MECHANISM STATUS data of a drive without a changer
// (MMC-6, 6.11).
func AppendMechanismStatus(dst []byte, open bool) []byte {
	return append(dst, 0, bit(open, 0x10), 0, 0, 0, 0, 0, 0)
}

// AppendDVDPhysical appends READ DISC STRUCTURE data, format 0 of a DVD-ROM: one
// layer of so many blocks (MMC-6, 6.22.2.5).
func AppendDVDPhysical(dst []byte, blocks uint32) []byte {
	const firstSector = 0x30000
	var b [2052]byte
	binary.BigEndian.PutUint16(b[0:], uint16(len(b)-2))
	b[4], b[5], b[6] = 0x01, 0x0f, 0x01 // DVD-ROM version 1; 120 mm, rate not said; one layer, embossed
	binary.BigEndian.PutUint32(b[8:], firstSector)
	binary.BigEndian.PutUint32(b[12:], firstSector+blocks-1)
	return append(dst, b[:]...)
}

// CapabilitiesPage is the CD/DVD Capabilities and Mechanical Status mode page
// (MMC-3, 5.5.10) of a drive with a tray that reads CDs and DVDs.
func CapabilitiesPage(locked bool) ModePage {
	body := make([]byte, 24)
	body[0] = 0x3b                                   // reads CD-R, CD-RW, method 2, DVD-ROM, DVD-R
	body[2] = 0x70                                   // mode 2 forms 1 and 2, multi-session
	body[4] = 0x20 | 0x08 | 0x01 | bit(locked, 0x02) // tray, can eject, can lock
	binary.BigEndian.PutUint16(body[6:], 50*176)     // KB/s
	binary.BigEndian.PutUint16(body[10:], 64)        // KiB of buffer
	binary.BigEndian.PutUint16(body[12:], 50*176)    // KB/s now
	return ModePage{Page: ModePageCapabilities, Body: body}
}
