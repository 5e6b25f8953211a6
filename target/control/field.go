package control

import (
	"errors"
	"fmt"
)

// fieldError is a setting that cannot be, and which one it is.
type fieldError struct {
	path string // such as luns[1].path, from where it is returned
	err  error
}

func (e *fieldError) Error() string { return e.err.Error() }

func (e *fieldError) Unwrap() error { return e.err }

// inField says of an error in which field it comes up. What is said already is
// within that field.
func inField(path string, err error) error {
	if err == nil {
		return nil
	}
	var inner *fieldError
	if errors.As(err, &inner) {
		path += "." + inner.path
	}
	return &fieldError{path, err}
}

// located puts before an error the place of its field in a file, if where knows
// files' places.
func located(where func(path string) string, err error) error {
	var f *fieldError
	if where == nil || !errors.As(err, &f) {
		return err
	}
	if place := where(f.path); place != "" {
		return fmt.Errorf("%s: %s: %w", place, f.path, err)
	}
	return err
}
