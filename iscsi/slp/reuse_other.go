//go:build !unix

package slp

import "syscall"

// reuse does nothing: where sockets of an address and of the group exclude each
// other, Listen fails.
func reuse(_, _ string, _ syscall.RawConn) error { return nil }
