//go:build linux

package devmapper

import (
	"fmt"
	"regexp"
	"strings"
)

// ALUA is the hardware handler of disks whose paths differ in how good they are (SPC-4, 5.15). The kernel needs scsi_dh_alua for it.
const ALUA = "alua"

// Multipath maps a disk of that many sectors to all its paths, each a block device as "major:minor", in groups of equally good
// ones, the best first. I/O goes by the group's path that is expected to be done with it first; what a path fails goes by another,
// of the next group when none of this one is left, and waits while there is none. The handler is [ALUA], or empty for none.
func Multipath(sectors uint64, handler string, groups [][]string) Target {
	// Features, hardware handler, number of groups and the first one to use; for each its selector, and for each path how much
	// I/O before the selector is asked again (Linux, Documentation/admin-guide/device-mapper).
	params := "1 queue_if_no_path 0"
	if handler != "" {
		params = "1 queue_if_no_path 1 " + handler
	}
	params += fmt.Sprintf(" %d 1", len(groups))
	for _, g := range groups {
		params += fmt.Sprintf(" service-time 0 %d 1", len(g))
		for _, p := range g {
			params += " " + p + " 1"
		}
	}
	return Target{Length: sectors, Type: "multipath", Params: params}
}

// Linear maps a stretch of a block device, such as a partition, from a sector on.
func Linear(device string, start, sectors uint64) Target {
	return Target{Length: sectors, Type: "linear", Params: fmt.Sprintf("%s %d", device, start)}
}

// Path is one path of a multipath device.
type Path struct {
	Device string // as "major:minor"
	Failed bool
}

// pathStatus is a path in a multipath target's status: its device, "A" for active or "F" for failed, and how often it failed.
var pathStatus = regexp.MustCompile(`(\d+:\d+) ([AF]) \d+`)

// Paths are the paths of a multipath device.
func (m *Mapper) Paths(name string) ([]Path, error) {
	status, err := m.Status(name)
	if err != nil {
		return nil, err
	}
	return parsePaths(status), nil
}

func parsePaths(status string) []Path {
	var paths []Path
	for _, match := range pathStatus.FindAllStringSubmatch(strings.TrimSpace(status), -1) {
		paths = append(paths, Path{Device: match[1], Failed: match[2] == "F"})
	}
	return paths
}
