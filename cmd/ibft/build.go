package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
	"golang.org/x/term"
)

func buildCommand() *cli.Command {
	c := cli.NewCommand("build", "make a table from settings, or from YAML or JSON",
		"--root-path URI --initiator NAME [flags]", "FILE [flags]")
	c.Text = `A root path is what DHCP option 17 says (RFC 4173):
iscsi:<server>:<protocol>:<port>:<LUN>:<target>, where all but server and target
may be empty. Several --root-path are several ways to the disk.

FILE, or - for standard input, holds YAML or JSON in the form of
"ibft show --yaml --reveal-secrets"; it holds all that a table can, several NICs too.

Secrets are read from a file, never taken from the command line.`
	c.Examples = []cli.Example{
		{"ibft build --root-path iscsi:192.0.2.1::::iqn.2026-01.com.example:disk \\\n" +
			"    --initiator iqn.2026-01.com.example:machine --ip 192.0.2.10/24 \\\n" +
			"    --gateway 192.0.2.254 --mac 52:54:00:12:34:56 --out table.bin", ""},
		{"qemu-system-x86_64 -acpitable file=table.bin ...", ""},
		{"ibft show table.bin --yaml --reveal-secrets > table.yaml", ""},
		{"ibft build table.yaml --cpio --out ibft.cpio", ""},
		{"cat ibft.cpio initrd.img > initrd-with-ibft.img", ""},
	}
	c.Max = 1
	b := new(buildFlags)
	b.define(c)
	c.Run = func(ctx context.Context, rest []string, std cli.IO) error { return b.build(ctx, c, rest, std) }
	return c
}

// buildFlags are what build is told.
type buildFlags struct {
	settings                          ibft.Settings
	ip                                netip.Prefix
	chapSecretFile, reverseSecretFile string
	options                           ibft.BuildOptions
	cpio, hex                         bool
	out                               string
}

func (b *buildFlags) define(c *cli.Command) {
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
	c.Choice("layout", "`LAYOUT` of the bytes: aligned, ipxe, edk2, packed", []string{"aligned", "ipxe", "edk2", "packed"}, false,
		func(v string) error { return b.options.Layout.UnmarshalText([]byte(v)) })
	c.Choice("signature", "`SIGNATURE` of the table: iBFT, IBFT, BIFT", []string{"iBFT", "IBFT", "BIFT"}, false, func(v string) error {
		b.options.Signature = ibft.Signature(v)
		return nil
	})
	c.IntVar(&b.options.MaxSize, "max-size", 0, "fail if the table takes more than `BYTES`")
	c.BoolVar(&b.cpio, "cpio", false, "wrap the table in an early initial RAM disk, which hands it to Linux")
	c.BoolVar(&b.hex, "hex", false, "write hexadecimal, 16 bytes a line")
	outFlags(c, &b.out, "-", "write to `FILE`, - for standard output")
}

// outFlags defines --out, and -o as its short form.
func outFlags(c *cli.Command, to *string, otherwise, usage string) {
	c.StringVar(to, "out", otherwise, usage)
	c.StringVar(to, "o", otherwise, "short for --out `FILE`")
}

func (b *buildFlags) build(ctx context.Context, c *cli.Command, rest []string, std cli.IO) error {
	if b.cpio && b.hex {
		return cli.Misused(errors.New("build: one of --cpio and --hex, see ibft build --help"))
	}
	table, err := b.table(ctx, c, rest, std.In)
	if err != nil {
		return err
	}
	raw, err := table.Build(b.options)
	if err != nil {
		return err
	}
	switch {
	case b.cpio:
		if raw, err = ibft.EarlyCPIO(raw); err != nil {
			return err
		}
	case b.hex:
		return writeText(b.out, []byte(hexLines(raw)), std.Out)
	}
	return writeOut(b.out, raw, std.Out)
}

// hexLines returns bytes in hexadecimal, 16 a line.
func hexLines(raw []byte) string {
	var b strings.Builder
	for line := range slices.Chunk(raw, hexColumns) {
		fmt.Fprintf(&b, "% x\n", line)
	}
	return b.String()
}

// table makes the table of the YAML or JSON that is named in rest, or else of the flags.
func (b *buildFlags) table(ctx context.Context, c *cli.Command, rest []string, stdin io.Reader) (*ibft.Table, error) {
	if len(rest) == 1 {
		if name := b.firstSetting(c); name != "" {
			return nil, cli.Misused(fmt.Errorf("build: --%s goes with --root-path, not with a file", name))
		}
		return readText(rest[0], stdin)
	}
	s := b.settings
	if len(s.RootPaths) == 0 || s.InitiatorName == "" {
		return nil, cli.Misused(errors.New("build: wants either a file or --root-path and --initiator, see ibft build --help"))
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
func (b *buildFlags) firstSetting(c *cli.Command) (name string) {
	c.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "layout", "signature", "max-size", "cpio", "hex", "out", "o":
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

// readText reads a table in JSON or in YAML.
func readText(name string, stdin io.Reader) (*ibft.Table, error) {
	text, err := readFile(name, stdin)
	if err != nil {
		return nil, err
	}
	read := parseYAML
	if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		read = parseJSON
	}
	table, err := read(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return table, nil
}

func parseJSON(text []byte) (*ibft.Table, error) {
	return ibft.Import(context.Background(), ibft.FormatJSON, text, nil) // which looks nothing up
}

// writeText writes text, which holds secrets as the case may be.
func writeText(name string, text []byte, stdout io.Writer) error {
	if name != "-" {
		return os.WriteFile(name, text, 0o600)
	}
	_, err := stdout.Write(text)
	return err
}

// writeOut writes bytes that are no text. What it puts in a file holds secrets, so others may not read it.
func writeOut(name string, b []byte, stdout io.Writer) error {
	if f, ok := stdout.(*os.File); ok && name == "-" && term.IsTerminal(int(f.Fd())) {
		return errors.New("a table is no text for a terminal: use --out FILE, or a pipe")
	}
	return writeText(name, b, stdout)
}
