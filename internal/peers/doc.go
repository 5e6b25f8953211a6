// Package peers runs the servers of others (tgt, istgt, qemu-nbd, nbdkit, isnsd) that the project's tests
// and benchmarks need on the other side. It is internal because no user should
// build on how somebody else's daemon is started.
package peers
