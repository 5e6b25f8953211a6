package main

import (
	"fmt"
	"io"

	"github.com/bootlun/bootlun/ibft"
)

// maxSource bounds what is read of a file: a memory image is the largest thing that may hold a table.
const maxSource = 1 << 30

// readSource returns the good tables in a file, at least one, as ibft.Decode finds them.
func readSource(source string, stdin io.Reader) ([]ibft.Found, error) {
	found, err := decodeSource(source, stdin)
	if err != nil {
		return nil, err
	}
	var good []ibft.Found
	for _, f := range found {
		if f.Err == nil {
			good = append(good, f)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("%s: %w", found[0].Source, found[0].Err)
	}
	return good, nil
}

// decodeSource returns all tables in a file, good or not.
func decodeSource(source string, stdin io.Reader) ([]ibft.Found, error) {
	b, err := readFile(source, stdin)
	if err != nil {
		return nil, err
	}
	found, err := ibft.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	for i := range found {
		if where := found[i].Source; where != "" {
			found[i].Source = source + " (" + where + ")"
		} else {
			found[i].Source = source
		}
	}
	return found, nil
}
