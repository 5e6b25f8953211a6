// Package control runs an iSCSI target from an operator's configuration and
// changes it while it serves.
//
// A [Manager] opens the disks that a configuration names, serves them by a
// target.Server, and keeps both in step with what the operator wants: with the
// configuration file when it is read again ([Manager.Reload]), and with single
// changes ([Manager.AddTarget] and so on), which it writes to a state file. Targets
// of the configuration file are the operator's own text and are changed there
// alone; those of the state file are changed by command alone.
//
// [Manager.Announce] tells iSNS servers (isns.go) and, by SLP, everybody (slp.go) of the
// targets as they come and go. Errors of a configuration say which field is wrong and,
// for who tells where the fields are ([Config].Where), in which line (field.go).
//
// [Manager.Handler] offers all of that as an HTTP API for a Unix socket, and
// [Client] is its Go client: "bootlun target" is made of it.
//
// Start reading at spec.go (what a configuration says), then manager.go.
//
// # Limits
//
// Who can open the socket may do everything: it belongs to root. The API carries
// no secrets, only the names of the files that hold them. Portals are those of the
// start. iSNS and SLP use the operating system's network, whatever the targets do.
package control
