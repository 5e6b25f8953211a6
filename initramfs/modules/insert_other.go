//go:build !linux

package modules

import "errors"

var errNotLinux = errors.New("kernel modules are loaded on Linux only")

func insertFile(string, string) error { return errNotLinux }

func kernelRelease() (string, error) { return "", errNotLinux }

func hint(error) string { return "" }
