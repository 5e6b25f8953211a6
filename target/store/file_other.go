//go:build !linux

package store

import (
	"errors"
	"fmt"
)

// Away from Linux a File is plain: no lock, no holes, no direct access, no
// reads known not to wait.
func (s *File) setUpOS(opts FileOptions) error {
	if opts.Direct || opts.Preallocate {
		return fmt.Errorf("direct access and preallocation: %w on this system", errors.ErrUnsupported)
	}
	return nil
}

func (s *File) readCached([]byte, int64) int { return 0 }

func (s *File) punch(_, _ int64) error { return errors.ErrUnsupported }

func (s *File) extent(_, _ int64) (bool, int64, error) { return true, 0, errors.ErrUnsupported }

func (s *File) sync() error { return s.f.Sync() }
