//go:build linux && !386

package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/initiator/kernel"
)

// sessionGroup are sessions that are told of together, all with one target.
type sessionGroup []*kernel.Session

// printSessions writes what iscsiadm -m session -P LEVEL does.
func printSessions(b *strings.Builder, sessions []*kernel.Session, sys string, level int) {
	if version := attribute(filepath.Join(sys, "module/scsi_transport_iscsi"), "version"); level > 2 && version != "" {
		fmt.Fprintf(b, "iSCSI Transport Class version %s\n", version)
	}
	for _, g := range groupSessions(sessions, level) {
		g.print(b, sys, level)
	}
}

// print writes what belongs to a group.
func (g sessionGroup) print(b *strings.Builder, sys string, level int) {
	if level == 0 {
		for _, s := range g {
			fmt.Fprintf(b, "tcp: [%d] %s,%d %s (%s)\n", s.SID, s.PersistentPortal, s.TPGT, s.Target, attributesOf(sys, s).flash())
		}
		return
	}
	fmt.Fprintf(b, "Target: %s (%s)\n", g[0].Target, attributesOf(sys, g[0]).flash())
	for _, s := range g {
		a := attributesOf(sys, s)
		fmt.Fprintf(b, "\tCurrent Portal: %s,%d\n\tPersistent Portal: %s,%d\n", cmp.Or(s.Portal, s.PersistentPortal), s.TPGT, s.PersistentPortal, s.TPGT)
		a.printInterface(b, s)
		if level > 1 {
			a.printTimeouts(b)
			a.printCHAP(b)
			a.printNegotiated(b)
		}
		if level > 2 {
			a.printDevices(b, s)
		}
	}
}

// attributes are what sysfs says of a session.
type attributes struct{ sessionDir, connDir, hostDir string }

func attributesOf(sys string, s *kernel.Session) attributes {
	class := func(name, format string, args ...any) string {
		return filepath.Join(sys, "class", name, fmt.Sprintf(format, args...))
	}
	return attributes{
		class("iscsi_session", "session%d", s.SID),
		class("iscsi_connection", "connection%d:%d", s.SID, s.CID),
		class("iscsi_host", "host%d", s.Host),
	}
}

// attribute reads one, empty if it is absent or not set.
func attribute(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	text := strings.TrimSpace(string(b))
	if err != nil || text == "(null)" || text == "<NULL>" {
		return ""
	}
	return text
}

func (a attributes) session(name string) string { return attribute(a.sessionDir, name) }
func (a attributes) conn(name string) string    { return attribute(a.connDir, name) }
func (a attributes) host(name string) string    { return attribute(a.hostDir, name) }

// flash says whether a card with a memory of its own made the session; no session of iscsi_tcp is such.
func (attributes) flash() string { return "non-flash" }

// head is a heading between lines of stars.
func head(b *strings.Builder, title string, width int) {
	fmt.Fprintf(b, "\t\t%s\n\t\t%s:\n\t\t%[1]s\n", strings.Repeat("*", width), title)
}

func (a attributes) printInterface(b *strings.Builder, s *kernel.Session) {
	head(b, "Interface", 10)
	for _, l := range [][2]string{
		{"Iface Name", cmp.Or(s.Interface.Name, "default")},
		{"Iface Transport", "tcp"},
		{"Iface Initiatorname", s.Initiator},
		{"Iface IPaddress", bracketed(cmp.Or(a.conn("local_ipaddr"), a.host("ipaddress"), "default"))},
		{"Iface HWaddress", cmp.Or(s.Interface.HWAddress.String(), "default")},
		{"Iface Netdev", cmp.Or(s.Interface.NetDev, "default")},
		{"SID", fmt.Sprint(s.SID)},
		{"iSCSI Connection State", connectionState(a.conn("state"))},
		{"iSCSI Session State", cmp.Or(s.State, "Unknown")},
		{"Internal iscsid Session State", "Unknown"}, // iscsid alone knows
	} {
		fmt.Fprintf(b, "\t\t%s: %s\n", l[0], l[1])
	}
}

// bracketed puts all but an IPv4 address in brackets, as iscsiadm does.
func bracketed(s string) string {
	if ip := net.ParseIP(s); ip != nil && ip.To4() != nil {
		return s
	}
	return "[" + s + "]"
}

// connectionState returns the state in iscsiadm's words.
func connectionState(kernel string) string {
	switch kernel {
	case "up":
		return "LOGGED IN"
	case "down":
		return "CLEANUP WAIT"
	case "failed":
		return "TRANSPORT WAIT"
	}
	return cmp.Or(kernel, "Unknown")
}

func (a attributes) printTimeouts(b *strings.Builder) {
	head(b, "Timeouts", 9)
	for _, l := range [][2]string{
		{"Recovery Timeout", "recovery_tmo"},
		{"Target Reset Timeout", "tgt_reset_tmo"},
		{"LUN Reset Timeout", "lu_reset_tmo"},
		{"Abort Timeout", "abort_tmo"},
	} {
		fmt.Fprintf(b, "\t\t%s: %s\n", l[0], a.session(l[1]))
	}
}

// printCHAP never shows a secret, nor whether there is one.
func (a attributes) printCHAP(b *strings.Builder) {
	head(b, "CHAP", 5)
	fmt.Fprintf(b, "\t\tusername: %s\n\t\tpassword: ********\n", cmp.Or(a.session("username"), "<empty>"))
	fmt.Fprintf(b, "\t\tusername_in: %s\n\t\tpassword_in: ********\n", cmp.Or(a.session("username_in"), "<empty>"))
}

func (a attributes) printNegotiated(b *strings.Builder) {
	head(b, "Negotiated iSCSI params", 24)
	digest := func(v string) string {
		if v == "1" {
			return "CRC32C"
		}
		return "None"
	}
	yes := func(v string) string {
		if v == "1" {
			return "Yes"
		}
		return "No"
	}
	for _, l := range [][2]string{
		{"HeaderDigest", digest(a.conn("header_digest"))},
		{"DataDigest", digest(a.conn("data_digest"))},
		{"MaxRecvDataSegmentLength", a.conn("max_recv_dlength")},
		{"MaxXmitDataSegmentLength", a.conn("max_xmit_dlength")},
		{"FirstBurstLength", a.session("first_burst_len")},
		{"MaxBurstLength", a.session("max_burst_len")},
		{"ImmediateData", yes(a.session("immediate_data"))},
		{"InitialR2T", yes(a.session("initial_r2t"))},
		{"MaxOutstandingR2T", a.session("max_outstanding_r2t")},
	} {
		fmt.Fprintf(b, "\t\t%s: %s\n", l[0], l[1])
	}
}

// sessionDevice is a LUN of a session as Linux has it.
type sessionDevice struct {
	Address string `json:"address"` // host:channel:target:lun
	Name    string `json:"name,omitempty"`
	State   string `json:"state"`
}

// devices returns the session's LUNs by their numbers.
func (a attributes) devices() []sessionDevice {
	list := []sessionDevice{}
	dirs, _ := filepath.Glob(filepath.Join(a.sessionDir, "device", "target*", "*:*:*:*")) // the pattern is well-formed
	for _, dir := range dirs {
		d := sessionDevice{Address: filepath.Base(dir), State: attribute(dir, "state")}
		if names, err := os.ReadDir(filepath.Join(dir, "block")); err == nil && len(names) > 0 {
			d.Name = names[0].Name()
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b sessionDevice) int { return cmp.Compare(a.lun(), b.lun()) })
	return list
}

func (d sessionDevice) numbers() (host, channel, target, lun int) {
	fmt.Sscanf(d.Address, "%d:%d:%d:%d", &host, &channel, &target, &lun)
	return host, channel, target, lun
}

func (d sessionDevice) lun() int {
	_, _, _, lun := d.numbers()
	return lun
}

func (a attributes) printDevices(b *strings.Builder, s *kernel.Session) {
	head(b, "Attached SCSI devices", 24)
	state := attribute(filepath.Join(filepath.Dir(filepath.Dir(a.hostDir)), "scsi_host", filepath.Base(a.hostDir)), "state")
	fmt.Fprintf(b, "\t\tHost Number: %d\tState: %s\n", s.Host, cmp.Or(state, "running"))
	for _, d := range a.devices() {
		host, channel, target, lun := d.numbers()
		fmt.Fprintf(b, "\t\tscsi%d Channel %02d Id %d Lun: %d\n", host, channel, target, lun)
		if d.Name != "" {
			fmt.Fprintf(b, "\t\t\tAttached scsi disk %s\t\tState: %s\n", d.Name, d.State)
		}
	}
}
