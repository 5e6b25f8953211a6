package main

import (
	"strconv"

	"github.com/bootlun/bootlun/internal/bytesize"
)

// sizeFlag is a flag.Value of a number of bytes: decimal or hexadecimal, with a
// binary unit.
type sizeFlag struct {
	bytes int64
	set   bool
}

func (s *sizeFlag) String() string {
	if !s.set {
		return ""
	}
	return strconv.FormatInt(s.bytes, 10)
}

func (s *sizeFlag) Set(v string) error {
	n, err := bytesize.Parse(v)
	if err != nil {
		return err
	}
	s.bytes, s.set = n, true
	return nil
}
