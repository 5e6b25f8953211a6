//go:build !linux || 386

package main

import "github.com/bootlun/bootlun/internal/cli"

// kernelCommands are for Linux alone.
func kernelCommands() []*cli.Command { return nil }

func isSessionExists(error) bool { return false }
