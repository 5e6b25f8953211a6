// Package bytesize reads and writes numbers of bytes as people do. It is what the
// commands share, and is too small for anybody else to hold.
package bytesize

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Parse reads a number of bytes, decimal or hexadecimal, with a binary unit or
// none: 4096, 0x1000, 4K or 4KiB.
func Parse(s string) (int64, error) {
	number := strings.TrimSuffix(s, "iB")
	unit := int64(1)
	if n := len(number); n > 0 && !strings.HasPrefix(number, "0x") {
		if i := strings.IndexByte("KMGT", number[n-1]); i >= 0 {
			number, unit = number[:n-1], 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 0, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, errors.New("want a number of bytes, such as 4096, 0x1000, 4K or 4KiB")
	}
	return n * unit, nil
}

// Format returns a number of bytes as people say it.
func Format(n int64) string {
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
