package boot

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/initiator/devmapper"
)

// accessStates are the ALUA states of a path as sysfs has them, the best first (SPC-4, 5.15.2; Linux, scsi_access_state).
var accessStates = []string{"active/optimized", "active/non-optimized", "lba-dependent", "transitioning", "standby", "unavailable", "offline"}

// pathRank says how good the path to a disk is, by what ALUA says of it; less is better. Without ALUA all are alike.
func pathRank(disk string) int {
	attribute := func(name string) string {
		b, _ := os.ReadFile(filepath.Join("/sys/block", disk, "device", name))
		return strings.TrimSpace(string(b))
	}
	return rank(attribute("access_state"), attribute("preferred_path") == "1")
}

func rank(state string, preferred bool) int {
	r := 2 * max(slices.Index(accessStates, state), 0)
	if !preferred {
		r++
	}
	return r
}

// useALUA has the kernel follow the ALUA states of a disk's path, and reports whether there are any.
func useALUA(disk string) bool {
	// Refused where the handler is at work already, or the disk has no ALUA: hence the look.
	_ = writeAttribute(disk, "dh_state", devmapper.ALUA)
	handler, err := os.ReadFile(filepath.Join("/sys/block", disk, "device/dh_state"))
	return err == nil && strings.TrimSpace(string(handler)) == devmapper.ALUA
}

// writeAttribute writes to an attribute of a disk's SCSI device.
func writeAttribute(disk, name, text string) error {
	f, err := os.OpenFile(filepath.Join("/sys/block", disk, "device", name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// groups are the paths' numbers, in groups of equally good ones, the best first.
func (d *multipathDisk) groups(rank func(disk string) int) [][]string {
	byRank := make(map[int][]string)
	for number, name := range d.Paths {
		r := rank(name)
		byRank[r] = append(byRank[r], number)
	}
	var groups [][]string
	for _, r := range slices.Sorted(maps.Keys(byRank)) {
		slices.SortFunc(byRank[r], func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
		groups = append(groups, byRank[r])
	}
	return groups
}

// table is the disk's, with its paths in those groups.
func (d *multipathDisk) table(groups [][]string) devmapper.Target {
	handler := devmapper.ALUA
	if slices.ContainsFunc(slices.Collect(maps.Values(d.Paths)), func(name string) bool { return !useALUA(name) }) {
		handler = ""
	}
	return devmapper.Multipath(d.Sectors, handler, groups)
}
