package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/bootlun/bootlun/ibft"
)

const findUsage = `List every table on this machine, say which one Linux uses, and whether what the
kernel shows under /sys/firmware/ibft agrees with its bytes.

Usage:
  ibft find [flags]

It looks in low memory (unless the machine boots by UEFI), in the ACPI tables and
under /sys/firmware/ibft. Root alone may read most of these.

Exit codes: 0 there is a table and all is well, 1 there is none, Linux refuses the
one it uses, or the kernel's view differs from it.

Examples:
  ibft find
  ibft find --json
  modprobe iscsi_ibft; ibft find
`

// exitNotWell is find's exit code for a machine whose tables leave something to be desired.
const exitNotWell = 1

// findReport is what find found.
type findReport struct {
	Tables []findEntry `json:"tables"`
	// Sysfs is "agrees", "differs", "unreadable", "absent", or "alone" where no bytes were found to compare it with.
	Sysfs       string            `json:"sysfs"`
	Differences []ibft.Difference `json:"differences,omitzero"`
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

func find(args []string, std stdio) error {
	c := newCommand("find", findUsage)
	asJSON := c.Bool("json", false, "print JSON")
	root := c.String("root", "/", "look for this machine's tables under `DIR`/sys and DIR/dev")
	if _, err := c.parse(args, 0, std); err != nil {
		return err
	}
	found, err := ibft.Find(ibft.FindOptions{Root: *root})
	if err != nil {
		fmt.Fprintf(std.err, "ibft: warning: %v\n", err)
	}
	report := newFindReport(found)
	if *asJSON {
		e := json.NewEncoder(std.out)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		err = report.print(std.out)
	}
	if err == nil && !report.well() {
		err = exitError{nil, exitNotWell}
	}
	return err
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

func (r *findReport) print(w io.Writer) error {
	var b strings.Builder
	for _, e := range r.Tables {
		fmt.Fprintf(&b, "%s\n", e.Source)
		if e.Error != "" {
			fmt.Fprintf(&b, "  broken: %s\n", printable(e.Error))
		} else {
			fmt.Fprintf(&b, "  %s, %d bytes, by %s; targets %d, usable paths %d\n", e.Signature, e.Bytes, orNone(e.MadeBy), e.Targets, e.Paths)
		}
		switch {
		case e.Linux && e.Error != "":
			b.WriteString("  Linux comes upon this one first, refuses it, and tries no other\n")
		case e.Linux:
			b.WriteString("  Linux uses this one\n")
		}
	}
	fmt.Fprintf(&b, "%s\n  %s\n", sysfsSource, map[string]string{
		"absent":     "is not there: modprobe iscsi_ibft fills it from the table that Linux uses",
		"unreadable": "cannot be read, try as root",
		"alone":      "is there, and no bytes of a table are in sight, try as root",
		"agrees":     "agrees with the bytes",
		"differs":    "differs from the bytes:",
	}[r.Sysfs])
	for _, d := range r.Differences {
		fmt.Fprintf(&b, "    %-26s %s in the table, %s here\n", d.Path, orNone(d.A), orNone(d.B))
	}
	if len(r.Tables) == 0 && r.Sysfs == "absent" {
		b.Reset()
		b.WriteString("This machine has no table, or only root may see it.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
