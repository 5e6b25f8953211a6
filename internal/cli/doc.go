// Package cli is what this project's commands of the style "program COMMAND [ARGUMENTS] [FLAGS]" share: a [Program] is a
// list of [Command] values, and what is run, what --help prints, the manual page and what shells complete all come from
// these. It is for cmd/ibft and cmd/iscsi, which are small enough to be part of a u-root busybox; nobody else should
// depend on it.
//
// Start reading at program.go.
package cli
