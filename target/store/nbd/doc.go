// Package nbd is a [store.Store] whose bytes are served by an NBD server, such
// as qemu-nbd or nbdkit: so a LUN can be in Ceph RBD, in S3, in a qcow2 file, or
// in whatever else these can serve.
//
//	disk, err := nbd.Open(ctx, "nbd+unix:///disk?socket=/run/disk.sock", nbd.Config{})
//
// It speaks the fixed newstyle handshake, structured replies and the metadata
// context base:allocation, as the NBD protocol document defines them
// (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md; sections
// are cited by their titles).
//
// # How it works
//
// A call makes a request (request.go), which goes out on one of the connections
// of the current link (link.go) from the caller's goroutine; the connection's
// one goroutine receives replies (reply.go) and wakes the callers. One more
// goroutine keeps the link (keeper.go).
//
// # When the connection is lost
//
// A server that goes away, or does not answer, is dialled again until it is
// back. Calls wait for that; what was sent and not answered is sent again. After
// Config.ReconnectTimeout they fail, as do new ones until the server is back.
//
// Writes that the server has acknowledged, but not flushed, may be lost with the
// server. They are kept (unflushed.go) until a flush has succeeded, and written
// again first thing on a new connection: so a Flush that succeeds covers what
// was written before it, on whichever connection, and what was read once is
// never undone. Config.MaxUnflushed bounds the memory that takes; a write beyond
// it flushes first. Where the server refuses one of these writes, they are lost,
// and that and every later Flush fails. Open flushes what another process may
// have left.
//
// # Limits
//
// A server that lost a connection, but lives, may still carry out what it had
// received there; should that be a write which has been sent again and then
// written over, the older data wins. Servers drop such requests or finish them
// before they accept the next connection, as qemu-nbd does by default; no client
// can make them. Nobody else may write to the export.
//
// NBD_CMD_TRIM is not used, as it does not promise zeros: Discard is
// NBD_CMD_WRITE_ZEROES, which lets the server punch holes. Extended headers are
// not spoken. A server without NBD_FLAG_SEND_FLUSH is taken at its word that a
// write it acknowledges is on the medium.
package nbd
