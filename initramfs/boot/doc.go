// Package boot is what runs first on a machine that boots from an iSCSI LUN:
// the steps from power-on's last firmware instruction to the installed
// system's first.
//
//	source → *ibft.Table → network → login → disk → handoff
//
// [Run] goes through them in order. Each step has a deadline, is tried again
// where a network can be slow, and fails with a [StepError] that names the
// step, the address and the remedy. Whatever the table came from (the
// firmware, a DHCP lease, the kernel command line), the steps after it read
// only the table.
//
// Start reading at steps.go; table.go is where a new source goes, handoff.go
// where a new way to start the installed system goes. The package is Linux
// only and expects to be PID 1 of an initial RAM file system.
package boot
