package ibft

import (
	"errors"
	"io"
)

var errPending = errors.New("ibft: landing within the hour")

// Parse reads a table.
func Parse(b []byte) (*Table, error) { return nil, errPending }

// BuildOptions are Build's.
type BuildOptions struct {
	Layout    Layout
	Signature Signature
	MaxSize   int
}

// Layout is where a builder puts things.
type Layout uint8

// Build lays the table out.
func (t *Table) Build(o BuildOptions) ([]byte, error) { return nil, errPending }

// RevealJSON is JSON with the secrets in clear.
func (t *Table) RevealJSON() ([]byte, error) { return nil, errPending }

// Found is a table on this machine.
type Found struct {
	Source string
	Raw    []byte // nil when rebuilt from /sys/firmware/ibft
	Table  *Table
	Err    error
}

// FindOptions say where Find looks.
type FindOptions struct {
	Root   string      // "/" when empty
	Memory io.ReaderAt // Root/dev/mem when nil
}

// Find looks for tables.
func Find(o FindOptions) ([]Found, error) { return nil, errPending }

// ScanMemory scans low memory.
func ScanMemory(mem io.ReaderAt) ([]Found, error) { return nil, errPending }

// EarlyCPIO wraps a table for a kernel.
func EarlyCPIO(table []byte) ([]byte, error) { return nil, errPending }
