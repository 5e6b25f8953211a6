// Package kernel gives logged-in iSCSI sessions to Linux, whose iscsi_tcp driver then serves them as SCSI disks.
//
// The kernel has the data path of an initiator but no login; a program logs in for it, over the NETLINK_ISCSI socket. [Login]
// is that program, in one call:
//
//	TCP connect → CREATE_SESSION → CREATE_CONN → BIND_CONN → SET_PARAM (identity) → login PDUs through SEND_PDU and RECV_PDU
//	→ SET_PARAM (what was negotiated) → START_CONN
//
// The login itself is [iscsi.InitiatorLogin]; this package only carries its PDUs. [Session.Disk] then has the kernel scan for
// the one LUN and waits for its block device.
//
// # Who owns what
//
// BIND_CONN makes the kernel take its own reference to the socket; Login closes the program's side of it at once. A session
// belongs to the kernel alone: it lives on when the program exits or executes another, and ends with [Session.Logout] or the
// machine. A Login that fails takes back all that it had made.
//
// # Keeping sessions
//
// Nobody watches over a session by itself: when its connection breaks, the kernel holds I/O back for [Timeouts.Replacement] and then
// fails it, unless some program logs in again. [Keep] is that program, for any number of sessions: it listens for the kernel's
// connection errors, and [Reconnect] does
//
//	STOP_CONN (recover) → TCP connect → BIND_CONN of the same session → SET_PARAM → login with the same ISID → SET_PARAM → START_CONN
//
// Every attribute that open-iscsi's iscsid needs for the same is set at login (names, portal, portal group, interface, CHAP), so
// the installed system's iscsid can adopt the session. While one runs, Keep stands by. The replacement timeout is written to sysfs
// too, which keeps iscsid from shortening it.
//
// # Limits
//
// Keep knows iscsid by its name and its netlink socket; another program that recovers sessions it takes for nobody. iscsid
// logs in with an ISID of its own.
//
// # Where it works
//
// Linux with the modules scsi_transport_iscsi and iscsi_tcp, in the initial network namespace, with CAP_SYS_ADMIN. The package
// loads no modules.
package kernel
