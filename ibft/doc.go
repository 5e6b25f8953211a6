// Package ibft reads, writes and finds the iSCSI Boot Firmware Table: the table by which firmware tells an
// operating system where its disk is.
//
// A [Table] holds one [Initiator], and any number of [NIC]s and [Target]s. It comes from one of four places:
//
//   - bytes: [Parse] reads them, checking every length and offset before it is used;
//   - what somebody kept of a machine: [Decode] takes dumps as text, memory images and ELF cores too;
//   - this machine: [Find] looks where Linux looks, in low memory, in the ACPI tables and in /sys/firmware/ibft;
//     another's memory, as far as it can be read: [SearchMemory];
//   - settings: [Settings.Table] makes one from what a DHCP lease, a kernel command line or a server's
//     configuration says, root paths ([ParseRootPath], RFC 4173) included; [Import] reads such settings in the
//     formats of other programs.
//
// What a machine needs to reach its disk is in [Table.Paths]: every usable pair of a NIC and a target.
//
// The table leaves as bytes ([Table.Build]), as an early initial RAM disk that hands it to any Linux kernel
// ([EarlyCPIO]), as JSON (the types have text forms that round-trip), or in any [Format] of those that boot
// programs, hypervisors and network configurations read ([Table.Export]). [Diff] compares two tables, and
// [Table.Set] changes a field by its name.
//
// A table that came from [Parse] and was not changed since builds to the very bytes it came from. Changes that fit
// in the place of what they change (numbers, addresses, strings no longer than before) leave all other bytes as they
// are. With others it is laid out anew, in the layout of the writer it came from where that is one of those known
// here; structures this package does not understand are carried along.
//
// What is wrong with a table, one that does not parse included, [Check] says: by the specification, and by the
// [Consumer]s who read it; [Rules] lists all that it looks at. [Fields] says what each byte means.
//
// Secrets are of type [Secret], which every printed form masks; [Secret.Reveal] and [Table.RevealJSON] are the
// only ways to see one.
//
// Limits: an extensions structure is carried along unread, as nobody is known to write one. A string has at most 255
// bytes. [Settings], and so the formats that go by way of them, describe one NIC each; [Import] joins those of dracut
// and open-iscsi.
//
// The format is that of the "iSCSI Boot Firmware Table (iBFT) as Defined in ACPI 3.0b Specification", version 1.03,
// cited below as "iBFT". Its sizes and offsets are in wire.go. The package needs the standard library only, keeps
// no state, and its values are safe for concurrent use as long as nobody changes them.
package ibft
