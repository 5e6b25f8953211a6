// Package initiator reaches disks over iSCSI (RFC 7143): it finds targets, logs in
// to one, and makes each of its logical units an io.ReaderAt and io.WriterAt.
//
//	s, err := initiator.Dial(ctx, initiator.Config{
//		Initiator: "iqn.2026-01.com.example:machine",
//		Target:    "iqn.2026-01.com.example:disk",
//		Portal:    "192.0.2.1",
//	})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	lun, err := s.OpenLUN(ctx, 0)
//	if err != nil {
//		return err
//	}
//	_, err = lun.ReadAt(p, 4096)
//
// A LUN also discards, writes zeros, is reserved, and runs any SCSI command; OpenPaths
// makes one of several sessions that lead to the same disk. Session.Execute runs any
// SCSI command. Discover asks a portal for its targets; Find asks any Source: portals,
// name servers (iSNS, which ISNS.Watch follows), the network (SLP), a firmware's table.
// LUN.File makes a LUN an fs.File, which libraries for partitions and file systems
// take.
//
// # How a session works
//
// A session has one TCP connection, or with Config.Connections several, and a few
// goroutines for each, whatever the number of commands in flight. One reads: what the
// target sends for a command lands in the slice of the command's caller. A call or
// Queue that has its connection to itself reads its answers itself instead. One
// goroutine sends pings, answers to the target's, and what else is not a call's. One
// watches for sends that hang and for silence. With Recovery one waits for the
// session's loss. Everything else is done by the goroutine that called: it sends its
// commands as the target's command window allows, each by the connection with the
// fewest in flight, and the data that the target asks for.
//
// On Linux a TCP connection leaves the Go runtime's poller when it has logged in: who
// reads waits in the system call for a moment, and only then lets the poller wait.
//
// A large request is cut to what the target takes at once and several of its
// pieces are in flight together. Small requests gain from a Queue, by which one
// goroutine has many of them in flight, or from several goroutines.
// All methods of Session and LUN may be called at the same time. In the steady
// state they do not allocate.
//
// # When things go wrong
//
// Errors are of type *Error, which tells what was tried on which target; in it are
// *scsi.Error for what the device refused, *iscsi.LoginError for what the target
// did at login, and this package's sentinels.
//
// When a context ends, its commands are aborted at the target before the call
// returns, so that a write that was given up does not happen later; a target that
// does not answer that either loses the connection after Timeouts.Abort. After a
// call has returned, nothing touches its buffers.
//
// With an error recovery level of 1 or 2 (Config.Offer), if the target has it, what is
// lost or damaged within a connection is asked for again, and of level 2 a connection
// that is lost is made again and takes its commands over, so that no call hears of it.
// What these do not save, and with level 0 any loss of any connection, is the
// session's loss.
//
// Without Config.Recovery a session whose connection is lost stays lost: all its
// commands, outstanding and later, fail with an error that wraps ErrConnectionLost;
// whether a write that failed so has happened is not known.
//
// With it the session logs in again, at any of its portals, with the same ISID, so
// that the target ends what it still had of the old login. Commands that may be
// executed twice are sent again; of others the error wraps ErrOutcomeUnknown. Before
// a LUN is used in a new login, its identity is compared with what it was: see
// ErrOtherDisk. A call waits no longer than its context and Recovery.Limit allow; its
// error is then a *LostError with what happened before. Connections that are lost
// without a word are found by pings.
//
// Unit attentions are taken by LUN's methods and told to LUN.OnAttention, as are events
// that the target reports of its own accord; Execute returns them as results.
//
// # Limits
//
// After a header digest error the connection is given up at every error recovery level:
// nothing says where the next PDU begins. The length of segments is all that is
// negotiated in the midst of a session; ours stays as it was at login, so there is no
// R-Data SNACK. CloseConnection ends one connection of several for good. A session that has lost one of several connections gets it back at
// error recovery level 2 or after a logout that the target asked for; at lower levels
// all are made anew.
//
// # Where to start reading
//
// dial.go for the login; nexus.go and link.go for a session and its connections;
// command.go for a command's way out, lead.go and receive.go for its way back; snack.go for what is
// sent again and mend.go for connections that are made again; session.go and recover.go
// for what outlives a login; path.go for how a LUN finds its session, transfer.go for
// how it pipelines.
package initiator
