//go:build linux && !386

package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sysDir is a directory of sysfs, whose files are attributes.
type sysDir string

// text is an attribute without its newline; empty if it is absent or was never set.
func (d sysDir) text(name string) string {
	b, err := os.ReadFile(filepath.Join(string(d), name))
	if err != nil {
		return ""
	}
	s := strings.TrimSpace(string(b))
	if s == "(null)" || s == "<NULL>" { // how the kernel prints a string that is not there
		return ""
	}
	return s
}

// number is a numerical attribute; 0 if it is absent.
func (d sysDir) number(name string) int64 {
	n, _ := strconv.ParseInt(d.text(name), 10, 64)
	return n
}

func (d sysDir) sub(names ...string) sysDir {
	return sysDir(filepath.Join(append([]string{string(d)}, names...)...))
}

func (d sysDir) exists() bool {
	_, err := os.Stat(string(d))
	return err == nil
}

// transportHandle is by what the kernel knows its iscsi_tcp driver.
func transportHandle(sys string) (uint64, error) {
	path := filepath.Join(sys, "class/iscsi_transport/tcp/handle")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNoTransport
	}
	if err != nil {
		return 0, err
	}
	handle, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return handle, nil
}

// hostNumber finds N in the "hostN" directory that a device is under.
func hostNumber(device string) (int, error) {
	path, err := filepath.EvalSymlinks(device)
	if err != nil {
		return 0, err
	}
	for part := range strings.SplitSeq(path, "/") {
		if digits, ok := strings.CutPrefix(part, "host"); ok {
			if n, err := strconv.Atoi(digits); err == nil {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("%s is under no SCSI host", path)
}
