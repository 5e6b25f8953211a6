//go:build bootlun_small && !bootlun_int13h

package boot

import (
	"context"
	"errors"
)

// startBootSector is not in this image.
func (m *machine) startBootSector(context.Context, console) error {
	return &StepError{
		Step: "boot sector", Err: errors.New("this image cannot run one"),
		Remedy: "build it with: bootlun image build --int13h",
	}
}
