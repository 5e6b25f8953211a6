// Package target is an iSCSI target: a server that lends disks to initiators
// over TCP (RFC 7143), as SCSI units of a direct-access block device (SPC-4,
// SBC-3), and discs as those of a CD-ROM drive (MMC-6). docs/conformance.md has
// what libiscsi's suite says of it.
//
//	disk, err := store.OpenFile("disk.img", store.FileOptions{})
//	...
//	srv, err := target.New(target.Config{
//		Targets: []*target.Target{{
//			Name: "iqn.2001-04.com.example:disk",
//			LUNs: []target.LUN{{Number: 0, Store: disk}},
//		}},
//	})
//	...
//	err = srv.Serve(ctx, listener)
//
// What a LUN's bytes live in is a [store.Store] (package target/store).
//
// # How it works
//
// A connection (conn.go) has one goroutine: on Linux and TCP a coroutine of an
// event loop (loop_linux.go, crew_linux.go, link_linux.go), once it has logged in.
// It logs the initiator in (login.go), which makes a session (session.go) or adds the
// connection to one (connections.go), and then reads requests (request.go), puts
// them in the order of their CmdSN (window.go), and carries them out. A SCSI
// command is a task (task.go); data that a write needs arrives by the rules of
// bursts and R2Ts (dataout.go, r2t.go); what a command does to its unit (unit.go)
// is an operation (operation.go, op_*.go).
//
// A session has the command window and the tasks; a connection has what numbers
// and carries the answers (sender.go). A task belongs to the connection that
// brought its command, and ends with it, unless the error recovery level is 2:
// then another connection can take it over (reassign.go). From level 1 on,
// answers are kept until they are acknowledged (recovery.go) and sent again when
// asked for (snack.go), and damaged data is asked for again (r2t.go).
//
// As long as a store has its answer at hand (store.Prompt), the connection's
// goroutine does all of that itself: a READ is decoded, read from the store and
// queued as a reply without another goroutine, and without allocation. Replies
// (reply.go, sender.go) go out together, when no further request can be read
// without waiting. What must wait, such as a flush, goes to a goroutine of its
// own, and its reply goes out when it is done.
//
// # One disk, several paths
//
// LUNs with the same store, of whatever targets, are one unit (device.go). A
// session is a nexus of each of its units (nexus.go), where unit attention
// conditions queue, and an error of what it wrote before, found by another's
// flush. What may keep a command away is decided where it comes in
// (operation.go): the state of the target port group that it comes by (alua.go),
// and a reservation of another nexus (reserve.go has the table). Persistent
// reservations (persist.go) are changed in a copy by PERSISTENT RESERVE OUT
// (op_reserve.go), which is written to a file (prstate.go) before it holds.
//
// Memory is never taken by what a length on the wire says: a task holds the
// bursts that it has asked for, a session at most its command window of tasks, and
// the server what MemoryLimit says, beyond which sessions get one command at a
// time carried out (buffer.go).
//
// Who may use what is decided at login for a target and its LUNs (access.go), by
// the portal group that the connection came by (portals.go).
//
// # Changes while it serves
//
// Targets and LUNs come, go and change while others are used (live.go): what
// logins and commands read of them (targets.go) is replaced whole and needs no
// lock. So are limits, times and what logins agree to (Server.Configure). Who
// tells others where the targets are waits for Server.Changed. What commands do
// is counted at each nexus (meter.go), and summed up for who asks (list.go,
// metrics.go). A session's PDUs can be looked at (trace.go).
//
// # Limits
//
// After a header digest error the connection ends at every error recovery level:
// nothing says where the next PDU begins. Task management functions do not wait
// until responses on a session's other connections are acknowledged, and
// TaskReporting is RFC3720 alone.
//
// Transitions between access states are immediate. Commands that PREEMPT AND ABORT
// or a reset aborts end without a status (TAS is 0).
//
// There is no protection information, no anchored block and no encryption, so no
// SANITIZE CRYPTO ERASE. What a SANITIZE leaves below the store, in blocks that a
// file system or an SSD has given up, is up to that; one that the end of the
// server interrupts is not gone on with. WRITE ATOMIC keeps other writes out, not
// reads, and a power failure in it is up to the store. Mode pages are not saved.
// A disc has one data track.
package target
