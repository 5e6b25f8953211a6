package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/bootlun/bootlun/ibft"
)

const buildUsage = `Make a table from settings or from JSON.

Usage:
  ibft build --root-path URI --initiator NAME [flags]
  ibft build JSON [flags]

A root path is what DHCP option 17 says (RFC 4173):
iscsi:<server>:<protocol>:<port>:<LUN>:<target>, where all but server and target
may be empty. Several --root-path are several ways to the disk. JSON is a file, or
- for standard input, in the form of "ibft show --json --reveal-secrets".

Secrets are read from a file, never taken from the command line.

Examples:
  ibft build --root-path iscsi:192.0.2.1::::iqn.2026-01.com.example:disk \
      --initiator iqn.2026-01.com.example:machine --ip 192.0.2.10/24 \
      --gateway 192.0.2.254 --mac 52:54:00:12:34:56 --out table.bin
  qemu-system-x86_64 -acpitable file=table.bin ...

  ibft show table.bin --json --reveal-secrets > table.json
  ibft build table.json --cpio --out ibft.cpio
  cat ibft.cpio initrd.img > initrd-with-ibft.img
`

// buildFlags are what build is told.
type buildFlags struct {
	settings                          ibft.Settings
	ip                                netip.Prefix
	chapSecretFile, reverseSecretFile string
	options                           ibft.BuildOptions
	cpio                              bool
	out                               string
}

func (b *buildFlags) define(c command) {
	s := &b.settings
	c.Func("root-path", "where the disk is, a `URI`; repeat for several paths", func(v string) error {
		s.RootPaths = append(s.RootPaths, v)
		return nil
	})
	c.StringVar(&s.InitiatorName, "initiator", "", "this machine's iSCSI `NAME`")
	c.StringVar(&s.Hostname, "hostname", "", "this machine's host `NAME`")
	c.TextVar(&s.NIC.MAC, "mac", ibft.MAC{}, "the NIC's Ethernet `ADDRESS`")
	c.TextVar(&s.NIC.PCI, "pci", ibft.PCIAddr(0), "the NIC's PCI `ADDRESS`, such as 00:03.0")
	c.TextVar(&b.ip, "ip", netip.Prefix{}, "the NIC's `ADDRESS/PREFIX`")
	c.TextVar(&s.NIC.Gateway, "gateway", netip.Addr{}, "the default gateway's `ADDRESS`")
	c.TextVar(&s.NIC.PrimaryDNS, "dns", netip.Addr{}, "a DNS server's `ADDRESS`")
	c.TextVar(&s.NIC.SecondaryDNS, "dns2", netip.Addr{}, "another's `ADDRESS`")
	c.TextVar(&s.NIC.DHCP, "dhcp", netip.Addr{}, "the `ADDRESS` of the DHCP server that gave the NIC its own")
	c.Func("vlan", "the NIC's VLAN `ID`", func(v string) (err error) {
		s.NIC.VLAN, err = parseVLAN(v)
		return err
	})
	c.StringVar(&s.CHAPName, "chap-name", "", "the `NAME` by which this machine proves itself")
	c.StringVar(&b.chapSecretFile, "chap-secret-file", "", "the `FILE` that holds its secret, or -")
	c.StringVar(&s.ReverseCHAPName, "reverse-chap-name", "", "the `NAME` by which the target proves itself")
	c.StringVar(&b.reverseSecretFile, "reverse-chap-secret-file", "", "the `FILE` that holds its secret, or -")
	c.TextVar(&b.options.Layout, "layout", ibft.LayoutOwn, "`LAYOUT` of the bytes: aligned, ipxe, edk2, packed")
	c.Func("signature", "`SIGNATURE` of the table: iBFT, IBFT, BIFT", func(v string) error {
		b.options.Signature = ibft.Signature(v)
		return nil
	})
	c.IntVar(&b.options.MaxSize, "max-size", 0, "fail if the table takes more than `BYTES`")
	c.BoolVar(&b.cpio, "cpio", false, "wrap the table in an early initial RAM disk, which hands it to Linux")
	c.StringVar(&b.out, "out", "-", "write to `FILE`, - for standard output")
}

func build(ctx context.Context, args []string, std stdio) error {
	c := newCommand("build", buildUsage)
	var b buildFlags
	b.define(c)
	rest, err := c.parse(args, 1, std)
	if err != nil {
		return err
	}
	table, err := b.table(ctx, c, rest, std.in)
	if err != nil {
		return err
	}
	raw, err := table.Build(b.options)
	if err != nil {
		return err
	}
	if b.cpio {
		if raw, err = ibft.EarlyCPIO(raw); err != nil {
			return err
		}
	}
	return writeOut(b.out, raw, std.out)
}

// table makes the table of the JSON that is named in rest, or else of the flags.
func (b *buildFlags) table(ctx context.Context, c command, rest []string, stdin io.Reader) (*ibft.Table, error) {
	if len(rest) == 1 {
		if name := b.firstSetting(c); name != "" {
			return nil, usageError{fmt.Errorf("build: --%s goes with --root-path, not with JSON", name)}
		}
		return importFile(ctx, ibft.FormatJSON, rest[0], stdin)
	}
	s := b.settings
	if len(s.RootPaths) == 0 || s.InitiatorName == "" {
		return nil, usageError{errors.New("build: wants either JSON or --root-path and --initiator, see ibft build --help")}
	}
	if b.ip.IsValid() {
		s.NIC.IP, s.NIC.PrefixLen, s.NIC.Origin = b.ip.Addr(), uint8(b.ip.Bits()), ibft.OriginManual
	}
	if s.NIC.DHCP.IsValid() {
		s.NIC.Origin = ibft.OriginDHCP
	}
	var err error
	if s.CHAPSecret, err = readSecret(b.chapSecretFile, stdin); err != nil {
		return nil, err
	}
	if s.ReverseCHAPSecret, err = readSecret(b.reverseSecretFile, stdin); err != nil {
		return nil, err
	}
	return s.Table(ctx, lookup)
}

// firstSetting returns the name of a flag that was given and says what a table holds, or nothing.
func (b *buildFlags) firstSetting(c command) (name string) {
	c.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "layout", "signature", "max-size", "cpio", "out":
		default:
			name = f.Name
		}
	})
	return name
}

// readSecret reads a secret from a file, without the newline at its end. No name is no secret.
func readSecret(name string, stdin io.Reader) (ibft.Secret, error) {
	if name == "" {
		return "", nil
	}
	b, err := readFile(name, stdin)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	return ibft.Secret(strings.TrimRight(string(b), "\r\n")), nil
}

func parseVLAN(s string) (uint16, error) {
	id, err := strconv.ParseUint(s, 10, 16)
	if err != nil || id > 4094 {
		return 0, errors.New("want a number up to 4094")
	}
	return uint16(id), nil
}

// writeOut writes bytes that are no text. What it puts in a file holds secrets, so others may not read it.
func writeOut(name string, b []byte, stdout io.Writer) error {
	if name != "-" {
		return os.WriteFile(name, b, 0o600)
	}
	if f, ok := stdout.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return errors.New("a table is no text for a terminal: use --out FILE, or a pipe")
		}
	}
	_, err := stdout.Write(b)
	return err
}
