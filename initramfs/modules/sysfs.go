package modules

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// readModaliases returns the ids of the machine's devices, each once, sorted:
// the contents of sys/bus/*/devices/*/modalias. Devices that go away while it
// reads, or have no id, are left out.
func readModaliases(sys string) ([]string, error) {
	buses, err := os.ReadDir(filepath.Join(sys, "bus"))
	if err != nil {
		return nil, fmt.Errorf("looking for devices (is sysfs mounted?): %w", err)
	}
	var aliases []string
	for _, bus := range buses {
		devices := filepath.Join(sys, "bus", bus.Name(), "devices")
		entries, err := os.ReadDir(devices)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("looking for devices: %w", err)
		}
		for _, device := range entries {
			id, err := os.ReadFile(filepath.Join(devices, device.Name(), "modalias"))
			if alias := strings.TrimSpace(string(id)); err == nil && alias != "" {
				aliases = append(aliases, alias)
			}
		}
	}
	slices.Sort(aliases)
	return slices.Compact(aliases), nil
}
