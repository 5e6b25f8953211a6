package main

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/bootlun/bootlun/ibft"
)

// tableJSON returns the table as indented JSON.
func tableJSON(table *ibft.Table, reveal bool) ([]byte, error) {
	marshal := func() ([]byte, error) { return json.Marshal(table) }
	if reveal {
		marshal = table.RevealJSON
	}
	b, err := marshal()
	if err != nil {
		return nil, err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b, "", "  "); err != nil {
		return nil, err
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}

// printTable prints a table in a text form.
func printTable(w io.Writer, table *ibft.Table, reveal bool, form func(*ibft.Table, bool) ([]byte, error)) error {
	b, err := form(table, reveal)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// list returns an empty list for none, so that JSON has [] rather than null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
