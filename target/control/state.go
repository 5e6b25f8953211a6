package control

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/bootlun/bootlun/internal/atomicfile"
	"github.com/goccy/go-yaml"
)

// stateFile is what a state file holds.
type stateFile struct {
	Targets    []Target    `yaml:"targets"`
	PortGroups []PortGroup `yaml:"portGroups,omitempty"`
}

const stateHeader = "# Written by \"bootlun target\", which rewrites it at each change.\n"

// readState reads a state file. One that does not exist is empty.
func readState(path string) (s stateFile, err error) {
	if path == "" {
		return s, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// save writes the targets that are not the configuration file's to the state file.
// The caller holds mu.
func (m *Manager) save() error {
	if m.state == "" {
		return nil
	}
	var s stateFile
	for _, e := range m.all {
		if !e.fixed {
			s.Targets = append(s.Targets, e.spec)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.alua)) {
		s.PortGroups = append(s.PortGroups, m.alua[id])
	}
	text, err := yaml.Marshal(s)
	if err != nil {
		return fmt.Errorf("%s: %w", m.state, err)
	}
	if err := atomicfile.Write(m.state, append([]byte(stateHeader), text...)); err != nil {
		return fmt.Errorf("the change is in force, but will not outlive the server: %w", err)
	}
	return nil
}
