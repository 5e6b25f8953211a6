package entries

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Partition types of a GPT that systemd-boot looks at (UAPI.1, "The Partitions").
const (
	typeESP      = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	typeXBOOTLDR = "bc13c2ff-59e6-4262-a352-b275fd6f7172"
)

// readSDBoot makes systemd-boot's menu: entries of type 1 and unified images of the EFI system partition and of XBOOTLDR.
func readSDBoot(volumes []*Volume) Menu {
	var menu Menu
	var sorted []sdEntry
	var conf map[string][]string
	for _, v := range volumes {
		if v.Type != typeESP && v.Type != typeXBOOTLDR && v.Type != "0xef" && v.Type != "0xea" {
			continue
		}
		list, problems := readBLS(v, "/loader/entries")
		menu.Problems = append(menu.Problems, problems...)
		for _, b := range list {
			if arch := b.first("architecture"); arch != "" && !strings.EqualFold(arch, "x64") {
				continue
			}
			sorted = append(sorted, sdEntry{blsEntry: b, Entry: b.entry(v, File{v, "/loader/entries"}.String(), same)})
		}
		sorted = append(sorted, readUnified(v)...)
		if data, err := readConfig(v, "/loader/loader.conf"); err == nil && conf == nil {
			conf = parseKeys(data)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			menu.Problems = append(menu.Problems, err)
		}
	}
	slices.SortStableFunc(sorted, compareSD)
	for _, s := range sorted[:min(len(sorted), maxEntries)] {
		menu.tree = append(menu.tree, item{id: s.ID, title: s.Title, entry: s.Entry})
	}
	settings := blsEntry{keys: conf}
	menu.finish(sdDefault(settings.first("default"), sorted))
	switch v := settings.first("timeout"); v {
	case "menu-force":
		menu.Timeout = -1
	default:
		if n, err := strconv.Atoi(v); err == nil && n >= 0 && n < 1<<20 {
			menu.Timeout = time.Duration(n) * time.Second
		}
	}
	return menu
}

func same(s string) string { return s }

// sdDefault matches a pattern of loader.conf, of which the first match counts.
func sdDefault(pattern string, sorted []sdEntry) string {
	for _, s := range sorted {
		for _, name := range []string{s.ID, s.ID + ".conf", s.ID + ".efi"} {
			if ok, _ := path.Match(pattern, name); ok && pattern != "" {
				return s.ID
			}
		}
	}
	return ""
}

type sdEntry struct {
	blsEntry
	*Entry
}

// compareSD is the order of UAPI.1, "Sorting": those that failed last, then by sort key, machine and falling version.
func compareSD(a, b sdEntry) int {
	switch x, y := a.first("sort-key"), b.first("sort-key"); {
	case a.done != b.done:
		if a.done {
			return 1
		}
		return -1
	case (x == "") != (y == ""):
		if x == "" {
			return 1
		}
		return -1
	case x != "":
		return cmp.Or(strings.Compare(x, y), strings.Compare(a.first("machine-id"), b.first("machine-id")),
			compareVersions(b.first("version"), a.first("version")), compareVersions(b.id, a.id))
	}
	return compareVersions(b.id, a.id)
}

// readUnified finds the unified kernel images in /EFI/Linux.
func readUnified(v *Volume) (list []sdEntry) {
	const dir = "/EFI/Linux"
	files, err := fs.ReadDir(v.Files, inFS(dir))
	if err != nil {
		return nil
	}
	for _, f := range files {
		ext := path.Ext(f.Name())
		if !strings.EqualFold(ext, ".efi") || f.IsDir() {
			continue
		}
		id, done := cutCounter(strings.TrimSuffix(f.Name(), ext))
		e := &Entry{
			ID: id, Title: id, Source: File{v, dir}.String(),
			Kernel: File{v, path.Join(dir, f.Name())}, Unified: true,
		}
		list = append(list, sdEntry{blsEntry: blsEntry{id: id, done: done}, Entry: e})
	}
	return list
}
