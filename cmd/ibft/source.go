package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

// sourceText says what a SOURCE is.
const sourceText = `SOURCE is a file, or - for standard input. It holds a table's bytes, the same as
hexadecimal or as printed by xxd, hexdump -C or acpidump, an early initial RAM
disk with a table, a memory image that begins at address 0, or an ELF core such as
QEMU's dump-guest-memory makes; memory is searched as Linux does it.

qmp:SOCKET is the memory of a running QEMU whose monitor listens there: the name of
a Unix socket, or host:port (-qmp unix:SOCKET,server=on,wait=off).

Without SOURCE the table is this machine's: the one that Linux prefers of those in
low memory (read as root), in the ACPI tables and under /sys/firmware/ibft.`

// maxSource bounds what is read of a file: a memory image is the largest thing that may hold a table.
const maxSource = 1 << 30

// tables returns the good tables in the source that rest names, or else on the machine under root: at least one, the
// preferred one first. It warns of others.
func tables(ctx context.Context, rest []string, root string, std cli.IO) ([]ibft.Found, error) {
	if len(rest) > 0 {
		return readSource(ctx, rest[0], std.In)
	}
	return findTables(root, std.Err)
}

// readSource returns the good tables in a source, at least one, as ibft.Decode finds them.
func readSource(ctx context.Context, source string, stdin io.Reader) ([]ibft.Found, error) {
	found, err := decodeSource(ctx, source, stdin)
	if err != nil {
		return nil, err
	}
	var good []ibft.Found
	for _, f := range found {
		if f.Err == nil {
			good = append(good, f)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("%s: %w", found[0].Source, found[0].Err)
	}
	return good, nil
}

// decodeSource returns all tables in a source, at least one, good or not.
func decodeSource(ctx context.Context, source string, stdin io.Reader) ([]ibft.Found, error) {
	found, err := openSource(ctx, source, stdin)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if where := found[i].Source; where != "" {
			found[i].Source = source + " (" + where + ")"
		} else {
			found[i].Source = source
		}
	}
	return found, nil
}

func openSource(ctx context.Context, source string, stdin io.Reader) ([]ibft.Found, error) {
	var found []ibft.Found
	if address, ok := strings.CutPrefix(source, "qmp:"); ok {
		var err error
		if found, err = readQMP(ctx, address); err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		return found, nil
	}
	b, err := readFile(source, stdin)
	if err != nil {
		return nil, err
	}
	if found, err = ibft.Decode(b); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return found, nil
}

// findTables returns the good tables under root, at least one, the preferred one first. It warns of the others.
func findTables(root string, warn io.Writer) ([]ibft.Found, error) {
	found, err := ibft.Find(ibft.FindOptions{Root: root})
	if err != nil {
		fmt.Fprintf(warn, "ibft: warning: %v\n", err)
	}
	var good []ibft.Found
	for _, f := range found {
		if f.Err != nil {
			fmt.Fprintf(warn, "ibft: warning: %s: %v\n", f.Source, f.Err)
			continue
		}
		good = append(good, f)
	}
	if len(good) == 0 {
		return nil, errors.New("this machine has no table, neither in low memory nor in ACPI nor under /sys/firmware/ibft " +
			"(root alone may read most of these; modprobe iscsi_ibft fills the last)")
	}
	return good, nil
}

// rawTable returns the first table of a source, or of the machine under root, whose bytes are at hand, whatever they
// are worth.
func rawTable(ctx context.Context, rest []string, root string, std cli.IO) (ibft.Found, error) {
	if len(rest) == 0 {
		found, err := ibft.Find(ibft.FindOptions{Root: root})
		for _, f := range found {
			if f.Raw != nil {
				return f, nil
			}
		}
		return ibft.Found{}, errors.Join(err, errors.New("this machine has no table whose bytes can be read, "+
			"neither in low memory nor in ACPI (root alone may read these)"))
	}
	found, err := decodeSource(ctx, rest[0], std.In)
	if err != nil {
		return ibft.Found{}, err
	}
	if len(found[0].Raw) == 0 {
		return ibft.Found{}, fmt.Errorf("%s: nothing in it", rest[0])
	}
	return found[0], nil
}

// readFile reads a whole file, or standard input for "-".
func readFile(name string, stdin io.Reader) ([]byte, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err == nil && len(b) > maxSource {
		err = fmt.Errorf("%s: more than %d bytes, which is too much to search", name, maxSource)
	}
	return b, err
}
