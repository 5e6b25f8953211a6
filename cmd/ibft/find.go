package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

func findCommand() *cli.Command {
	c := cli.NewCommand("find", "list every table on a machine", "[flags]", "SOURCE [flags]")
	c.Text = `It says which table Linux uses, and whether what the kernel shows of it under
/sys/firmware/ibft agrees with its bytes. It looks in low memory (unless the machine
boots by UEFI), in the ACPI tables and under /sys/firmware/ibft. Root alone may read
most of these. With SOURCE, which is as for "ibft show", it lists the tables in there.`
	c.Exits = `0 there is a table and all is well, 1 there is none, Linux refuses the
one it uses, or the kernel's view differs from it`
	c.Examples = []cli.Example{
		{"ibft find", ""},
		{"ibft find --json", ""},
		{"modprobe iscsi_ibft; ibft find", "with the kernel's view"},
		{"ibft find qmp:/run/vm.sock", "in a virtual machine's memory"},
	}
	c.Max = 1
	asJSON := c.Bool("json", false, "print JSON")
	root := rootFlag(c)
	c.Run = func(ctx context.Context, rest []string, std cli.IO) error {
		report, err := findReportOf(ctx, rest, *root, std)
		if err != nil {
			return err
		}
		if *asJSON {
			err = cli.PrintJSON(std.Out, report)
		} else {
			err = report.print(std)
		}
		if err == nil && !report.well() {
			err = cli.Exit(nil, exitNotWell)
		}
		return err
	}
	return c
}

func findReportOf(ctx context.Context, rest []string, root string, std cli.IO) (*findReport, error) {
	if len(rest) > 0 {
		found, err := decodeSource(ctx, rest[0], std.In)
		if err != nil {
			return nil, err
		}
		report := newFindReport(found)
		report.Sysfs = "elsewhere"
		return report, nil
	}
	found, err := ibft.Find(ibft.FindOptions{Root: root})
	if err != nil {
		fmt.Fprintf(std.Err, "ibft: warning: %v\n", err)
	}
	report := newFindReport(found)
	if len(report.Tables) > 0 && report.Tables[0].Error == "" {
		for _, n := range found[0].Table.NICs {
			report.NICs = append(report.NICs, findNIC{n.Index, n.MAC, interfaceOf(root, n.MAC)})
		}
	}
	return report, nil
}

// interfaceOf returns the network interface with a MAC, empty if there is none. A VLAN or a bridge has its device's
// MAC too: the interface is the one with a device behind it.
func interfaceOf(root string, mac ibft.MAC) string {
	names, _ := filepath.Glob(filepath.Join(root, "sys/class/net/*/device")) // the pattern is well-formed
	for _, name := range names {
		dir := filepath.Dir(name)
		b, err := os.ReadFile(filepath.Join(dir, "address"))
		if err == nil && strings.TrimSpace(string(b)) == mac.String() {
			return filepath.Base(dir)
		}
	}
	return ""
}

// exitNotWell is find's exit code for a machine whose tables leave something to be desired.
const exitNotWell = 1

// findReport is what find found.
type findReport struct {
	Tables []findEntry `json:"tables"`
	// Sysfs is "agrees", "differs", "unreadable", "absent", "alone" where no bytes were found to compare it with, or
	// "elsewhere" where the tables are not this machine's.
	Sysfs       string            `json:"sysfs"`
	Differences []ibft.Difference `json:"differences,omitzero"`
	// NICs are those of the table that Linux uses.
	NICs []findNIC `json:"nics,omitzero"`
}

// findNIC is a NIC of the table, and the network interface that has its MAC: none for an offload engine, which may
// have a MAC of its own (bnx2i's does), and where the driver is missing.
type findNIC struct {
	Index     uint8    `json:"index"`
	MAC       ibft.MAC `json:"mac"`
	Interface string   `json:"interface,omitzero"`
}

// findEntry is one table, in bytes.
type findEntry struct {
	Source string `json:"source"`
	// Linux says that it is the one Linux uses, or refuses where Error is set: it tries no other.
	Linux     bool   `json:"linux"`
	Bytes     int    `json:"bytes"`
	Signature string `json:"signature,omitzero"`
	MadeBy    string `json:"made_by,omitzero"`
	Targets   int    `json:"targets"`
	Paths     int    `json:"usable_paths"`
	Error     string `json:"error,omitzero"`
}

func newFindReport(found []ibft.Found) *findReport {
	r := &findReport{Tables: []findEntry{}, Sysfs: "absent"}
	var used *ibft.Table
	for _, f := range found {
		if f.Raw == nil && strings.HasPrefix(f.Source, sysfsSource) {
			r.sysfs(f, used)
			continue
		}
		e := findEntry{Source: f.Source, Linux: len(r.Tables) == 0, Bytes: len(f.Raw)}
		if f.Err != nil {
			e.Error = f.Err.Error()
		} else {
			e.describe(f.Table)
		}
		if e.Linux {
			used = f.Table
		}
		r.Tables = append(r.Tables, e)
	}
	return r
}

const sysfsSource = "/sys/firmware/ibft"

func (r *findReport) sysfs(f ibft.Found, used *ibft.Table) {
	switch {
	case f.Err != nil:
		r.Sysfs = "unreadable"
	case used == nil:
		r.Sysfs = "alone"
	default:
		r.Sysfs = "agrees"
		if r.Differences = ibft.SysfsDifferences(used, f.Table); len(r.Differences) > 0 {
			r.Sysfs = "differs"
		}
	}
}

func (e *findEntry) describe(t *ibft.Table) {
	e.Signature = string(t.Signature)
	e.MadeBy = strings.TrimSpace(t.OEMID + " " + t.OEMTableID)
	e.Targets, e.Paths = len(t.Targets), len(t.Paths())
}

// well says that there is a table, in bytes or at least in the kernel's view, and nothing is wrong with it.
func (r *findReport) well() bool {
	if len(r.Tables) == 0 {
		return r.Sysfs == "alone"
	}
	return r.Tables[0].Error == "" && r.Sysfs != "differs"
}

func (r *findReport) print(std cli.IO) error {
	var b strings.Builder
	for _, e := range r.Tables {
		fmt.Fprintf(&b, "%s\n", e.Source)
		if e.Error != "" {
			fmt.Fprintf(&b, "  %s: %s\n", std.Paint(cli.Red, "broken"), cli.Printable(e.Error))
		} else {
			fmt.Fprintf(&b, "  %s, %d bytes, by %s; targets %d, usable paths %d\n", e.Signature, e.Bytes, orNone(e.MadeBy), e.Targets, e.Paths)
		}
		switch {
		case e.Linux && e.Error != "":
			b.WriteString("  Linux comes upon this one first, refuses it, and tries no other\n")
		case e.Linux:
			b.WriteString("  Linux uses this one\n")
			r.printNICs(&b)
		}
	}
	r.printSysfs(&b)
	if len(r.Tables) == 0 && r.Sysfs == "absent" {
		b.Reset()
		b.WriteString("This machine has no table, or only root may see it.\n")
	}
	_, err := io.WriteString(std.Out, b.String())
	return err
}

func (r *findReport) printNICs(b *strings.Builder) {
	for _, n := range r.NICs {
		what := "is " + n.Interface
		if n.Interface == "" {
			what = "is no interface's: an offload engine has a MAC of its own, or the driver is not there"
		}
		fmt.Fprintf(b, "  NIC %d, %s, %s\n", n.Index, n.MAC, what)
	}
}

func (r *findReport) printSysfs(b *strings.Builder) {
	if r.Sysfs == "elsewhere" {
		return
	}
	fmt.Fprintf(b, "%s\n  %s\n", sysfsSource, map[string]string{
		"absent":     "is not there: modprobe iscsi_ibft fills it from the table that Linux uses",
		"unreadable": "cannot be read, try as root",
		"alone":      "is there, and no bytes of a table are in sight, try as root",
		"agrees":     "agrees with the bytes",
		"differs":    "differs from the bytes:",
	}[r.Sysfs])
	for _, d := range r.Differences {
		fmt.Fprintf(b, "    %-26s %s in the table, %s here\n", d.Path, orNone(d.A), orNone(d.B))
	}
}
