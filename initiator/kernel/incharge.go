//go:build linux && !386

package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// iscsidPID finds the system's iscsid: a process of that name that listens for the kernel's iSCSI events, as whoever recovers
// sessions must. It is 0 if there is none. A socket that systemd only holds for an iscsid to come is a Unix socket and does not
// count.
func iscsidPID(proc string) (int, error) {
	text, err := os.ReadFile(filepath.Join(proc, "net/netlink"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		// "sk Eth Pid Groups …": the protocol, the socket's address (iscsid takes its process number), groups in hexadecimal.
		f := strings.Fields(line)
		if len(f) < 4 || f[1] != strconv.Itoa(netlinkISCSI) {
			continue
		}
		groups, err := strconv.ParseUint(f[3], 16, 32)
		if err != nil || groups&multicastGroup == 0 {
			continue
		}
		pid, err := strconv.Atoi(f[2])
		if err != nil || pid <= 0 {
			continue
		}
		if comm, err := os.ReadFile(filepath.Join(proc, f[2], "comm")); err == nil && strings.TrimSpace(string(comm)) == "iscsid" {
			return pid, nil
		}
	}
	return 0, nil
}

// Charge says who recovers a session.
type Charge struct {
	// ISCSID is the process number of the system's iscsid, 0 if the keeper is in charge.
	ISCSID int
}

// String names the one in charge.
func (c Charge) String() string {
	if c.ISCSID == 0 {
		return "keeper"
	}
	return fmt.Sprintf("iscsid (pid %d)", c.ISCSID)
}

// MarshalText is String.
func (c Charge) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
