//go:build linux && !386

// Package scenario is what the tests of package kernel and the init of their virtual machine say to each other: the test puts
// a Scenario into the machine's image as /scenario.json, the machine prints a Result for each case.
package scenario

import "github.com/bootlun/bootlun/iscsi"

// Marks of the lines on the machine's console that are for the test.
const (
	ResultMark = "GUEST RESULT " // a Result follows
	EndMark    = "GUEST END "    // what ended the run follows
)

// Scenario is what the test asks for.
type Scenario struct {
	// Modules are paths in the image, in the order of loading.
	Modules []string
	Cases   []Case
}

// Case is one login. Its secrets are in clear text: they are a test's.
type Case struct {
	Name                     string
	Target, Portal           string
	LUN                      int
	User, Secret             string
	TargetUser, TargetSecret string
	// Digests requires both digests.
	Digests bool
	// Child has a program log in that exits at once.
	Child bool
	// Adopt has open-iscsi's iscsid take the session over before the disk is read again.
	Adopt bool
}

// Result is what came of a case.
type Result struct {
	Name  string
	Error string `json:",omitempty"`
	// Of the session: its number, its address in use, and what was negotiated.
	SID    uint32
	Portal string
	Params iscsi.Params
	// Of the disk.
	Device, Address string
	Size            int64
	SectorSize      int
	// FirstMiB is the SHA-256 of the disk's first MiB.
	FirstMiB string `json:",omitempty"`
	// Attrs is what sysfs shows, as "session/targetname", "connection/address", "host/netdev" and so on.
	Attrs map[string]string `json:",omitempty"`
	// Left is how many sessions there were after the logout.
	Left int
}
