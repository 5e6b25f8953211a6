// Package sockio reads and writes sockets that the Go runtime's poller does not know,
// on Linux. The race detector takes them for what they are, a way to synchronise, as
// it does Go's own reads and writes.
package sockio
