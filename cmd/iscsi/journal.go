package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/bootlun/bootlun/internal/atomicfile"
)

// journal is a file that tells how far a copy is.
type journal struct {
	path, url string
	off       bool // nothing is noted
}

// note is what is in it.
type note struct {
	URL  string `json:"url"`
	Size int64  `json:"size"`
	Done int64  `json:"done"`
}

// read returns how far the copy is, which must be the same copy.
func (l journal) read(size int64) (int64, error) {
	b, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("there is nothing to go on with: no %s", l.path)
	}
	if err != nil {
		return 0, err
	}
	var n note
	switch err := json.Unmarshal(b, &n); {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", l.path, err)
	case n.URL != l.url || n.Size != size || n.Done < 0 || n.Done > size:
		return 0, fmt.Errorf("%s is of another copy, of %d bytes and %s: remove it to begin anew", l.path, n.Size, n.URL)
	}
	return n.Done, nil
}

func (l journal) write(done, size int64) error {
	if l.off {
		return nil
	}
	b, err := json.Marshal(note{l.url, size, done})
	if err != nil {
		return err
	}
	return atomicfile.Write(l.path, append(b, '\n'))
}

func (l journal) remove() error {
	if err := os.Remove(l.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
