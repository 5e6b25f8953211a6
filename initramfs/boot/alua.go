package boot

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/initiator/devmapper"
	"github.com/bootlun/bootlun/scsi"
)

// accessStates are the ALUA states of a path, the best first (SPC-4, 5.15.2).
var accessStates = []scsi.AccessState{
	scsi.ActiveOptimized, scsi.ActiveNonOptimized, scsi.Transitioning, scsi.Standby, scsi.Unavailable, scsi.Offline,
}

// rank says how good a path is; less is better, and 0 is also what a path has without ALUA.
func rank(g scsi.PortGroup) int {
	r := 2 * max(slices.Index(accessStates, g.State), 0)
	if g.Preferred {
		r--
	}
	return r
}

// pathRank asks a path's target how good the path to the disk is. The question is put by ourselves: not every kernel has
// scsi_dh_alua, Debian's for clouds for one.
func pathRank(disk string) (int, error) {
	page, err := os.ReadFile(filepath.Join("/sys/block", disk, "device/vpd_pg83"))
	if err != nil {
		return 0, err
	}
	body, err := scsi.ParseVPD(page, scsi.VPDDeviceID)
	if err != nil {
		return 0, err
	}
	for _, d := range scsi.ParseDesignators(body) {
		if d.Type == scsi.DesignatorPortGroup && d.Association == scsi.OfTargetPort && len(d.Value) == 4 {
			return groupRank("/dev/"+disk, uint16(d.Value[2])<<8|uint16(d.Value[3]))
		}
	}
	return 0, nil
}

func groupRank(device string, id uint16) (int, error) {
	data := make([]byte, 4096)
	if err := readSCSI(device, scsi.ReportTargetPortGroups{Length: uint32(len(data))}.CDB(), data); err != nil {
		return 0, err
	}
	groups, err := scsi.ParsePortGroups(data)
	for _, g := range groups {
		if g.ID == id {
			return rank(g), nil
		}
	}
	return 0, cmp.Or(err, fmt.Errorf("%s says nothing of its target port group %d", device, id))
}

// useALUA has the kernel's own handler for ALUA look after a disk's path, and reports whether it does.
func useALUA(disk string) bool {
	// Refused where the handler is at work already, or the disk has no ALUA: hence the look.
	path := filepath.Join("/sys/block", disk, "device/dh_state")
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		_, err = f.WriteString(devmapper.ALUA)
		_ = errors.Join(err, f.Close())
	}
	handler, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(handler)) == devmapper.ALUA
}

// groups are the paths' numbers, in groups of equally good ones, the best first.
func (d *multipathDisk) groups() [][]string {
	byRank := make(map[int][]string)
	for number := range d.Paths {
		r := d.Ranks[number]
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
	for _, name := range d.Paths {
		if !useALUA(name) {
			handler = ""
		}
	}
	return devmapper.Multipath(d.Sectors, handler, groups)
}
