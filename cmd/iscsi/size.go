package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
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
	number := strings.TrimSuffix(v, "iB")
	unit := int64(1)
	if n := len(number); n > 0 && !strings.HasPrefix(number, "0x") {
		if i := strings.IndexByte("KMGT", number[n-1]); i >= 0 {
			number, unit = number[:n-1], 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 0, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("want a number of bytes, such as 4096, 0x1000, 4K or 4KiB")
	}
	s.bytes, s.set = n*unit, true
	return nil
}

// humanSize returns a number of bytes as people say it.
func humanSize(n int64) string {
	const units = "KMGTPE"
	f, i := float64(n), -1
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if i < 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.4g %ciB", f, units[i])
}
