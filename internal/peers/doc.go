// Package peers runs the targets of others (tgt, istgt) that the project's tests
// and benchmarks need on the other side. It is internal because no user should
// build on how somebody else's daemon is started.
package peers
