package bootprobe

import "slices"

// Calls returns those that boot loaders make, and some that they had better not.
func Calls() []Call {
	return slices.Concat(plain(), transfers(), extensions())
}

// chs is a call with a cylinder, head and sector.
func chs(name string, ax, cylinder uint16, head, sector uint8) Call {
	cx := cylinder<<8 | cylinder>>2&0xC0 | uint16(sector)
	return Call{Name: name, AX: ax, BX: dataAt, CX: cx, DX: uint16(head)<<8 | 0x80}
}

// plain are the functions without data.
func plain() []Call {
	return []Call{
		{Name: "00 reset", AX: 0x0000, DX: 0x80},
		{Name: "01 status", AX: 0x0100, DX: 0x80},
		{Name: "00 reset, no such drive", AX: 0x0000, DX: 0x8F},
		{Name: "08 parameters", AX: 0x0800, DX: 0x80},
		{Name: "08 parameters, no such drive", AX: 0x0800, DX: 0x8F},
		{Name: "09 initialise", AX: 0x0900, DX: 0x80},
		chs("0c seek", 0x0C00, 2, 3, 4),
		chs("0c seek, no such sector", 0x0C00, 2, 3, 0),
		{Name: "0d reset", AX: 0x0D00, DX: 0x80},
		{Name: "10 ready", AX: 0x1000, DX: 0x80},
		{Name: "11 recalibrate", AX: 0x1100, DX: 0x80},
		{Name: "14 diagnose", AX: 0x1400, DX: 0x80},
		{Name: "15 type", AX: 0x1500, DX: 0x80},
		{Name: "15 type, no such drive", AX: 0x1500, DX: 0x8F},
		{Name: "16 changed", AX: 0x1600, DX: 0x80},
		{Name: "60 no such function", AX: 0x6000, DX: 0x80},
	}
}

// transfers are the functions with cylinder, head and sector. What was written is
// read again.
func transfers() []Call {
	write := chs("03 write", 0x0301, 0, 0, 21)
	write.BX, write.Packet = packetAt, []byte("written by function 03h")
	calls := []Call{
		chs("02 read sector 10", 0x0201, 0, 0, 11),
		chs("02 read across a track", 0x0202, 0, 0, 63),
		chs("02 read across a cylinder", 0x0202, 0, 15, 63),
		chs("02 read nothing", 0x0200, 0, 0, 11),
		chs("02 read sector 0 of a track", 0x0201, 0, 0, 0),
		chs("02 read past the last head", 0x0201, 0, 16, 1),
		chs("02 read past the last cylinder", 0x0201, 1023, 0, 1),
		write,
		chs("02 read what was written", 0x0201, 0, 0, 21),
		chs("04 verify", 0x0401, 0, 0, 11),
		chs("04 verify past the last cylinder", 0x0401, 1023, 0, 1),
		chs("05 format", 0x0501, 100, 0, 1),
	}
	missing := chs("02 read, no such drive", 0x0201, 0, 0, 1)
	missing.DX = 0x8F
	return append(calls, missing, Call{Name: "01 status of the failure", AX: 0x0100, DX: 0x8F})
}

// packet is a call with a disk address packet.
func packet(name string, ah uint8, p []byte) Call {
	return Call{Name: name, AX: uint16(ah) << 8, DX: 0x80, SI: packetAt, Packet: p}
}

// address is a disk address packet of 16 bytes (EDD 3.0, 7).
func address(count uint16, lba uint64) []byte {
	p := []byte{16, 0}
	p = le.AppendUint16(p, count)
	p = le.AppendUint16(p, dataAt)
	p = le.AppendUint16(p, 0)
	return le.AppendUint64(p, lba)
}

// flat is one of 24 bytes, with a 64-bit address.
func flat(count uint16, lba, to uint64) []byte {
	p := address(count, lba)
	p[0] = 24
	le.PutUint32(p[4:], 1<<32-1)
	return le.AppendUint64(p, to)
}

// room is a buffer for parameters that says how long it is.
func room(n uint16) []byte { return le.AppendUint16(nil, n) }

// extensions are the functions of EDD.
func extensions() []Call {
	short := address(1, 10)
	short[0] = 15
	write := packet("43 write", 0x43, address(1, 30))
	le.PutUint16(write.Packet[4:], packetAt) // the packet is what is written
	const last = Size/sector - 1
	return []Call{
		{Name: "41 extensions", AX: 0x4100, BX: 0x55AA, DX: 0x80},
		{Name: "41 extensions, no magic word", AX: 0x4100, BX: 0x1234, DX: 0x80},
		{Name: "41 extensions, no such drive", AX: 0x4100, BX: 0x55AA, DX: 0x8F},
		packet("42 read", 0x42, address(1, 10)),
		packet("42 read two", 0x42, address(2, 10)),
		packet("42 read nothing", 0x42, address(0, 10)),
		packet("42 read the last sector", 0x42, address(1, last)),
		packet("42 read past the end", 0x42, address(2, last)),
		packet("42 read far past the end", 0x42, address(1, 1<<40)),
		packet("42 read, packet too short", 0x42, short),
		packet("42 read to a flat address", 0x42, flat(1, 12, dataAt)),
		packet("42 read, long packet", 0x42, append([]byte{24}, address(1, 13)[1:]...)),
		write,
		packet("42 read what was written", 0x42, address(1, 30)),
		packet("44 verify", 0x44, address(1, 10)),
		packet("44 verify past the end", 0x44, address(1, last+1)),
		packet("47 seek", 0x47, address(1, 10)),
		packet("47 seek past the end", 0x47, address(1, last+1)),
		{Name: "45 lock", AX: 0x4501, DX: 0x80},
		{Name: "46 eject", AX: 0x4600, DX: 0x80},
		packet("48 parameters, 26 bytes", 0x48, room(26)),
		packet("48 parameters, 30 bytes", 0x48, room(30)),
		packet("48 parameters, 66 bytes", 0x48, room(66)),
		packet("48 parameters, 74 bytes", 0x48, room(74)),
		packet("48 parameters, no room", 0x48, room(25)),
		{Name: "49 changed", AX: 0x4900, DX: 0x80},
		packet("4b emulation's state", 0x4B, room(0x13)),
		{Name: "4e hardware, prefetch on", AX: 0x4E00, DX: 0x80},
		{Name: "4e hardware, fastest PIO", AX: 0x4E01, DX: 0x80},
		{Name: "4e hardware, no such one", AX: 0x4E09, DX: 0x80},
	}
}
