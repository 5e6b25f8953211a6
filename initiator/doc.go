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
// makes one of several sessions that lead to the same disk. Discover asks a portal
// for its targets. Session.Execute runs any SCSI command.
// LUN.File makes a LUN an fs.File, which libraries for partitions and file systems
// take.
//
// # How a session works
//
// A session has one TCP connection and a few goroutines, whatever the number of
// commands in flight. One reads: what the target sends for a command lands in the
// slice of the command's caller. A call that has the session to itself, with a
// context that cannot end, reads its answer itself instead, as ReadAt and WriteAt
// do: that takes half the time. One goroutine answers the target's pings and sends
// our own. One watches for sends that hang. With Recovery one waits for the
// connection's loss. Everything else is done by the goroutine that called: it sends
// its commands as the target's command window allows, and the data that the target
// asks for.
//
// A large request is cut to what the target takes at once and several of its
// pieces are in flight together. Small requests gain from several goroutines.
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
// Unit attentions are taken by LUN's methods and told to LUN.OnAttention;
// Execute returns them as results.
//
// # Limits
//
// A session has one connection and error recovery level 0: what cannot be saved by a
// new login and sending again is not saved. A target's wish to negotiate again is
// answered by a new login. Discovery is by SendTargets.
//
// # Where to start reading
//
// dial.go for the login; nexus.go and command.go for a command's way out, receive.go
// for its way back; session.go and recover.go for what outlives a connection; path.go
// for how a LUN finds its session, transfer.go for how it pipelines.
package initiator
