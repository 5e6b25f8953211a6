package bootprobe

import (
	"fmt"
	"slices"
)

// Calls returns those that boot loaders make, and some that they had better not.
func Calls() []Call {
	return slices.Concat(plain(), transfers(), extensions(), memory(), system(), keyboard(), clock(), screen())
}

// chs is a call with a cylinder, head and sector.
func chs(name string, ax, cylinder uint16, head, sector uint8) Call {
	cx := cylinder<<8 | cylinder>>2&0xC0 | uint16(sector)
	return Call{Name: name, AX: uint32(ax), BX: dataAt, CX: uint32(cx), DX: uint32(head)<<8 | 0x80}
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
	return Call{Name: name, AX: uint32(ah) << 8, DX: 0x80, SI: packetAt, Packet: p}
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

// memory is how much there is of it: int 12h and of int 15h what tells it.
func memory() []Call {
	const magic = 0x534D4150
	calls := []Call{
		{Name: "12 low memory", Int: 0x12},
		{Name: "15 88 extended memory", Int: 0x15, AX: 0x8800},
		{Name: "15 e801 memory", Int: 0x15, AX: 0xE801},
	}
	for i := range uint32(9) {
		calls = append(calls, Call{
			Name: fmt.Sprintf("15 e820 memory map, %d", i), Int: 0x15, AX: 0xE820, BX: i, CX: 24, DX: magic, DI: packetAt,
		})
	}
	return append(calls,
		Call{Name: "15 e820 memory map, 20 bytes", Int: 0x15, AX: 0xE820, CX: 20, DX: magic, DI: packetAt},
		Call{Name: "15 e820 memory map, 19 bytes", Int: 0x15, AX: 0xE820, CX: 19, DX: magic, DI: packetAt},
		Call{Name: "15 e820 memory map, no magic word", Int: 0x15, AX: 0xE820, CX: 24, DI: packetAt},
		Call{Name: "15 e881 memory, 32 bits", Int: 0x15, AX: 0xE881},
	)
}

// system is the rest of int 15h, and int 11h.
func system() []Call {
	move := []byte{ // two descriptors of null, from the boot sector, to the data
		16: 0xFF, 17: 0xFF, 18: 0x00, 19: 0x7C, 20: 0x00, 21: 0x93,
		24: 0xFF, 25: 0xFF, 26: dataAt & 0xFF, 27: dataAt >> 8, 28: 0x00, 29: 0x93, 31: 0,
	}
	return []Call{
		{Name: "11 equipment", Int: 0x11},
		{Name: "15 2403 A20, how", Int: 0x15, AX: 0x2403},
		{Name: "15 2400 A20 off", Int: 0x15, AX: 0x2400},
		{Name: "15 2402 A20, is it on", Int: 0x15, AX: 0x2402},
		{Name: "15 2401 A20 on", Int: 0x15, AX: 0x2401},
		{Name: "15 2402 A20, is it on now", Int: 0x15, AX: 0x2402},
		{Name: "15 24ff A20, no such function", Int: 0x15, AX: 0x24FF},
		{Name: "15 86 wait a millisecond", Int: 0x15, AX: 0x8600, DX: 1000},
		{Name: "15 87 move 16 words", Int: 0x15, AX: 0x8700, CX: 16, SI: packetAt, Packet: move},
		{Name: "15 c0 configuration", Int: 0x15, AX: 0xC000},
		{Name: "15 c1 extended data area", Int: 0x15, AX: 0xC100},
		{Name: "15 4f key intercepted", Int: 0x15, AX: 0x4F1E},
		{Name: "15 5300 APM", Int: 0x15, AX: 0x5300},
		{Name: "15 ec00 the kernel's mode", Int: 0x15, AX: 0xEC00, BX: 2},
		{Name: "15 60 no such function", Int: 0x15, AX: 0x6000},
	}
}

// keyboard is int 16h: keys are put into its buffer and read again.
func keyboard() []Call {
	push := func(name string, key uint32) Call { return Call{Name: name, Int: 0x16, AX: 0x0500, CX: key} }
	return []Call{
		{Name: "16 01 is there a key", Int: 0x16, AX: 0x0100},
		{Name: "16 11 is there an extended key", Int: 0x16, AX: 0x1100},
		push("16 05 put Enter", 0x1C0D),
		{Name: "16 01 is there one now", Int: 0x16, AX: 0x0100},
		{Name: "16 00 read it", Int: 0x16, AX: 0x0000},
		{Name: "16 01 is there another", Int: 0x16, AX: 0x0100},
		push("16 05 put a grey arrow", 0x48E0),
		{Name: "16 11 is it there", Int: 0x16, AX: 0x1100},
		{Name: "16 01 what is it for old programs", Int: 0x16, AX: 0x0100},
		{Name: "16 10 read it", Int: 0x16, AX: 0x1000},
		push("16 05 put a grey arrow again", 0x48E0),
		{Name: "16 00 read it as an old program", Int: 0x16, AX: 0x0000},
		{Name: "16 02 shift keys", Int: 0x16, AX: 0x0200},
		{Name: "16 12 extended shift keys", Int: 0x16, AX: 0x1200},
		{Name: "16 09 functions", Int: 0x16, AX: 0x0900},
		{Name: "16 0305 typing rate", Int: 0x16, AX: 0x0305},
		{Name: "16 60 no such function", Int: 0x16, AX: 0x6000},
	}
}

// clock is int 1Ah, and the line's status of int 14h.
func clock() []Call {
	return []Call{
		{Name: "1a 00 ticks", Int: 0x1A, AX: 0x0000, Varies: "cx dx"},
		{Name: "1a 02 time", Int: 0x1A, AX: 0x0200, Varies: "ax cx dx"},
		{Name: "1a 04 date", Int: 0x1A, AX: 0x0400, Varies: "ax cx dx"},
		{Name: "1a b101 PCI BIOS", Int: 0x1A, AX: 0xB101},
		{Name: "1a 60 no such function", Int: 0x1A, AX: 0x6000},
		{Name: "14 03 status of COM1", Int: 0x14, AX: 0x0300},
		{Name: "14 03 status of COM4", Int: 0x14, AX: 0x0300, DX: 3},
	}
}

// screen is what int 10h tells.
func screen() []Call {
	return []Call{
		{Name: "10 0003 text mode", Int: 0x10, AX: 0x0003},
		{Name: "10 0f mode", Int: 0x10, AX: 0x0F00},
		{Name: "10 03 cursor", Int: 0x10, AX: 0x0300},
		{Name: "10 02 set cursor", Int: 0x10, AX: 0x0200, DX: 0x050A},
		{Name: "10 01 shape of the cursor", Int: 0x10, AX: 0x0100, CX: 0x2000},
		{Name: "10 03 cursor there", Int: 0x10, AX: 0x0300},
		{Name: "10 09 two letters", Int: 0x10, AX: 0x0941, BX: 0x001F, CX: 2},
		{Name: "10 08 the first of them", Int: 0x10, AX: 0x0800},
		{Name: "10 0e a letter", Int: 0x10, AX: 0x0E42, BX: 0x0007},
		{Name: "10 03 cursor behind it", Int: 0x10, AX: 0x0300},
		{Name: "10 08 the second", Int: 0x10, AX: 0x0800},
		{Name: "10 12 EGA", Int: 0x10, AX: 0x1200, BX: 0x0010},
		{Name: "10 1a display", Int: 0x10, AX: 0x1A00},
		{Name: "10 1130 font", Int: 0x10, AX: 0x1130, BX: 0x0600, Varies: "es"},
		{Name: "10 4f00 VESA", Int: 0x10, AX: 0x4F00, DI: dataAt},
		{Name: "10 60 no such function", Int: 0x10, AX: 0x6000},
	}
}
