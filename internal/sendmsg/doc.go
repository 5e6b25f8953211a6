// Package sendmsg writes several buffers to a socket by one system call that does not
// wait, on Linux.
package sendmsg
