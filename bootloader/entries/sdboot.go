package entries

import (
	"bytes"
	"cmp"
	"debug/pe"
	"errors"
	"io"
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

// The variables by which a system and systemd-boot speak with one another (systemd, "The Boot Loader Interface").
const (
	varDefault        = "LoaderEntryDefault"
	varOneShot        = "LoaderEntryOneShot"
	varLast           = "LoaderEntryLastBooted"
	varTimeout        = "LoaderConfigTimeout"
	varTimeoutOneShot = "LoaderConfigTimeoutOneShot"
	varCounted        = "LoaderBootCountPath"
	varInfo           = "LoaderInfo"
)

// LoaderVariables are the names of the variables that FindOptions takes. Their vendor is
// 4a67b082-0a4c-41cf-b6c7-440b29bb8c4f, their content UTF-16 with a zero at its end.
func LoaderVariables() []string {
	return []string{varDefault, varOneShot, varLast, varTimeout, varTimeoutOneShot, varCounted, varInfo}
}

// saved in the place of an entry's name stands for the one that was started last.
const saved = "@saved"

// readSDBoot makes systemd-boot's menu: entries of type 1 and unified images of the EFI system partition and of XBOOTLDR.
func readSDBoot(volumes []*Volume, vars map[string]string) Menu {
	var menu Menu
	var sorted []sdEntry
	var conf map[string][]string
	for _, v := range volumes {
		if v.Type != typeESP && v.Type != typeXBOOTLDR && v.Type != "0xef" && v.Type != "0xea" {
			continue
		}
		list, problems := readBLS(v, sdEntries)
		menu.Problems = append(menu.Problems, problems...)
		for _, b := range list {
			if arch := b.first("architecture"); arch != "" && !strings.EqualFold(arch, "x64") {
				continue
			}
			s := sdEntry{blsEntry: b, Entry: b.entry(v, File{v, sdEntries}.String(), same), name: b.id + ".conf"}
			s.countIn(v, sdEntries)
			sorted = append(sorted, s)
		}
		sorted = append(sorted, readUnified(v)...)
		if data, err := readConfig(v, "/loader/loader.conf"); err == nil && conf == nil {
			conf = parseKeys(data)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			menu.Problems = append(menu.Problems, err)
		}
	}
	slices.SortStableFunc(sorted, compareSD)
	settings := blsEntry{keys: conf}
	def := cmp.Or(vars[varDefault], settings.first("default"))
	for _, s := range sorted[:min(len(sorted), maxEntries)] {
		s.Env = s.changes(vars, def == saved)
		menu.tree = append(menu.tree, item{id: s.ID, title: s.Title, entry: s.Entry})
	}
	chosen := sdMatch(vars[varOneShot], sorted)
	for _, pattern := range []string{vars[varDefault], settings.first("default")} {
		if pattern == saved {
			pattern = vars[varLast]
		}
		chosen = cmp.Or(chosen, sdMatch(pattern, sorted))
	}
	menu.finish(chosen)
	menu.Timeout = sdTimeout(vars[varTimeoutOneShot], vars[varTimeout], settings.first("timeout"))
	menu.Env = menuChanges(vars)
	return menu
}

// menuChanges are what showing the menu changes: what is for one boot is gone, and bootctl is told that there is a loader that reads
// what it writes, without which it writes nothing.
func menuChanges(vars map[string]string) (changes []EnvChange) {
	for _, name := range []string{varOneShot, varTimeoutOneShot} {
		if _, set := vars[name]; set {
			changes = append(changes, EnvChange{Name: name, Unset: true})
		}
	}
	if _, set := vars[varInfo]; !set && vars != nil {
		changes = append(changes, EnvChange{Name: varInfo, Value: "bootlun"})
	}
	return changes
}

const sdEntries = "/loader/entries"

func same(s string) string { return s }

// sdTimeout is what the first of these says that says something.
func sdTimeout(settings ...string) time.Duration {
	for _, s := range settings {
		switch n, err := strconv.Atoi(s); {
		case s == "menu-force":
			return -1
		case s == "menu-hidden" || s == "menu-disabled":
			return 0
		case err == nil && n >= 0 && n < 1<<20:
			return time.Duration(n) * time.Second
		}
	}
	return 0
}

// sdMatch finds the first entry that a pattern is for.
func sdMatch(pattern string, sorted []sdEntry) (id string) {
	pattern = strings.ToLower(pattern)
	for _, s := range sorted {
		for _, name := range []string{s.name, s.ID} {
			if ok, _ := path.Match(pattern, strings.ToLower(name)); ok && pattern != "" {
				return s.ID
			}
		}
	}
	return ""
}

type sdEntry struct {
	blsEntry
	*Entry
	name string // the file's without boot counter, by which a system names the entry
}

// countIn takes down how the entry's file in a folder is called next.
func (s sdEntry) countIn(v *Volume, dir string) {
	if s.count != nil {
		s.Counted, s.CountAs = File{v, path.Join(dir, s.file)}, s.count.next(s.id, path.Ext(s.file))
	}
}

// changes are what starting the entry changes: the system is told where to find a counter that it ends once it is up
// (systemd-bless-boot), and that there is none where one was told of before.
func (s sdEntry) changes(vars map[string]string, last bool) (changes []EnvChange) {
	_, stale := vars[varCounted]
	switch {
	case s.CountAs != "":
		to := path.Join(path.Dir(s.Counted.Path), s.CountAs)
		changes = append(changes, EnvChange{Name: varCounted, Value: strings.ReplaceAll(to, "/", `\`)})
	case stale:
		changes = append(changes, EnvChange{Name: varCounted, Unset: true})
	}
	if last && vars[varLast] != s.name {
		changes = append(changes, EnvChange{Name: varLast, Value: s.name})
	}
	return changes
}

// compareSD is the order of UAPI.1, "Sorting": those that failed last, then by sort key, machine and falling version.
func compareSD(a, b sdEntry) int {
	switch x, y := a.first("sort-key"), b.first("sort-key"); {
	case a.count.failed() != b.count.failed():
		if a.count.failed() {
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
		if !strings.EqualFold(ext, ".efi") || f.IsDir() || len(list) == maxEntries {
			continue
		}
		id, count := cutCounter(strings.TrimSuffix(f.Name(), ext))
		kernel := File{v, path.Join(dir, f.Name())}
		s := sdEntry{blsEntry: blsEntry{file: f.Name(), id: id, count: count}, name: id + ext, Entry: &Entry{
			ID: id, Title: id, Source: File{v, dir}.String(), Kernel: kernel, Unified: true,
		}}
		if s.keys = unifiedKeys(kernel); s.keys != nil {
			s.Title = s.first("title") + " (" + id + ")"
		}
		s.countIn(v, dir)
		list = append(list, s)
	}
	return list
}

// maxUnifiedHead bounds how much of a unified image is read to see what system it is of: systemd's stub comes before that, 70 KiB of
// it in version 252.
const maxUnifiedHead = 1 << 20

// unifiedKeys says by the os-release(5) in a unified image what a Type 1 entry says by its keys (UAPI.1, "Type #2 EFI Unified Kernel
// Images"). An image that does not begin with one gives nil.
func unifiedKeys(f File) map[string][]string {
	file, err := f.Volume.Files.Open(inFS(f.Path))
	if err != nil {
		return nil
	}
	defer file.Close()
	head, err := io.ReadAll(io.LimitReader(file, maxUnifiedHead))
	if err != nil {
		return nil
	}
	image, err := pe.NewFile(bytes.NewReader(head))
	if err != nil {
		return nil
	}
	release := image.Section(".osrel")
	if release == nil {
		return nil
	}
	text, err := section(head, release)
	if err != nil {
		return nil
	}
	os := make(map[string]string)
	for line := range strings.Lines(strings.TrimRight(string(text), "\x00")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			os[name] = strings.Trim(value, `"'`)
		}
	}
	keys := make(map[string][]string)
	for key, value := range map[string]string{
		"title":    cmp.Or(os["PRETTY_NAME"], os["IMAGE_ID"], os["NAME"], os["ID"]),
		"version":  cmp.Or(os["IMAGE_VERSION"], os["VERSION"], os["VERSION_ID"], os["BUILD_ID"]),
		"sort-key": cmp.Or(os["IMAGE_ID"], os["ID"]),
	} {
		if value != "" {
			keys[key] = []string{value}
		}
	}
	if keys["title"] == nil || keys["sort-key"] == nil {
		return nil
	}
	return keys
}
