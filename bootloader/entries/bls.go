package entries

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// blsEntry is a file of the Boot Loader Specification (UAPI.1, "Type #1 Boot Loader Entry Keys").
type blsEntry struct {
	file  string // its name
	id    string // that without .conf and boot counter
	keys  map[string][]string
	count *counter
}

func (b blsEntry) first(key string) string {
	if values := b.keys[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// parseKeys reads "key value" lines.
func parseKeys(data []byte) map[string][]string {
	keys := make(map[string][]string)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		end := strings.IndexAny(line, " \t")
		if end < 0 || line[0] == '#' {
			continue
		}
		key := strings.ToLower(line[:end])
		keys[key] = append(keys[key], strings.TrimSpace(line[end:]))
	}
	return keys
}

// readBLS reads the entries in a folder, unsorted. No such folder is no entries.
func readBLS(v *Volume, dir string) (list []blsEntry, problems []error) {
	files, err := fs.ReadDir(v.Files, inFS(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, fmt.Errorf("list %s: %w", File{v, dir}, err))
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".conf")
		if !ok || f.IsDir() || len(list) == maxEntries {
			continue
		}
		data, err := v.read(path.Join(dir, f.Name()), 64<<10)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		b := blsEntry{file: f.Name(), keys: parseKeys(data)}
		b.id, b.count = cutCounter(name)
		list = append(list, b)
	}
	return list, problems
}

// counter is a boot counter (UAPI.1, "Boot counting"): how many tries are left, and how many are behind it.
type counter struct{ left, tried int }

// cutCounter takes the boot counter off a name: "linux+2-1" has two tries left and one behind it. Without one count is nil.
func cutCounter(name string) (id string, count *counter) {
	at := strings.LastIndexByte(name, '+')
	if at < 0 {
		return name, nil
	}
	left, tried, _ := strings.Cut(name[at+1:], "-")
	if left == "" || strings.Trim(left+tried, "0123456789") != "" {
		return name, nil
	}
	var c counter
	var err error
	if c.left, err = strconv.Atoi(left); err == nil && tried != "" {
		c.tried, err = strconv.Atoi(tried)
	}
	if err != nil {
		return name, nil
	}
	return name[:at], &c
}

// failed reports whether no tries are left.
func (c *counter) failed() bool { return c != nil && c.left == 0 }

// next is what the file is called once the entry has been tried.
func (c *counter) next(id, ext string) string {
	return fmt.Sprintf("%s+%d-%d%s", id, max(c.left-1, 0), c.tried+1, ext)
}

// entry makes a menu's entry of b; text expands variables in what b says.
func (b blsEntry) entry(v *Volume, source string, text func(string) string) *Entry {
	e := &Entry{ID: b.id, Title: text(b.first("title")), Source: source}
	if e.Title == "" {
		e.Title = b.id
	}
	if version := b.first("version"); version != "" && !strings.Contains(e.Title, version) {
		e.Title += " (" + version + ")"
	}
	var options []string
	for _, o := range b.keys["options"] {
		options = append(options, text(o))
	}
	e.Cmdline = strings.Join(strings.Fields(strings.Join(options, " ")), " ")
	kernel := b.first("linux")
	if kernel == "" {
		if kernel = b.first("uki"); kernel == "" {
			kernel = b.first("efi")
		}
		e.Unified = kernel != ""
	}
	if kernel == "" {
		e.Err = ErrNotLinux
		return e
	}
	e.Kernel = File{v, clean(text(kernel))}
	for _, line := range b.keys["initrd"] {
		for _, name := range strings.Fields(text(line)) {
			e.Initramfs = append(e.Initramfs, File{v, clean(name)})
		}
	}
	return e
}

// grubBLS adds the entries of the Boot Loader Specification, newest first, as Fedora's blscfg does.
func grubBLS(g *grub, _ []string) (bool, error) {
	f, err := g.locate("/")
	if err != nil {
		return false, nil
	}
	v := f.Volume
	dirs := []string{"/loader/entries", "/boot/loader/entries"}
	if dir := g.vars["blsdir"]; dir != "" {
		dirs = []string{dir}
	}
	for _, dir := range dirs {
		list, problems := readBLS(v, dir)
		*g.steps += stepsOfFile * (1 + len(list))
		*g.problems = append(*g.problems, problems...)
		slices.SortStableFunc(list, func(a, b blsEntry) int { return compareVersions(b.id, a.id) })
		for _, b := range list {
			if *g.count++; *g.count > maxEntries {
				return false, fmt.Errorf("more than %d entries", maxEntries)
			}
			e := b.entry(v, File{v, dir}.String(), g.expandText)
			e.Submenus = slices.Clone(g.titles)
			*g.items = append(*g.items, item{id: e.ID, title: e.Title, entry: e})
		}
		if len(list) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// expandText replaces $name and ${name}.
func (g *grub) expandText(s string) string {
	var out strings.Builder
	l := grubLexer{src: s}
	for l.at < len(s) {
		if s[l.at] != '$' {
			out.WriteByte(s[l.at])
			l.at++
			continue
		}
		if p := l.variable(true); p.variable {
			out.WriteString(g.value(p.text))
		} else {
			out.WriteString(p.text)
		}
	}
	return out.String()
}

// compareVersions orders versions as UAPI.10 says: parts of digits by number, parts of letters by name, "~" before everything.
func compareVersions(a, b string) int {
	valid := func(c byte) bool { return isNameByte(c) && c != '_' || strings.IndexByte("~^-.", c) >= 0 }
	for {
		for a != "" && !valid(a[0]) {
			a = a[1:]
		}
		for b != "" && !valid(b[0]) {
			b = b[1:]
		}
		if c, done := compareMark(&a, &b, '~', -1); done {
			return c
		}
		if a == "" || b == "" {
			return len(a) - len(b)
		}
		for _, mark := range []byte("-^.") {
			if c, done := compareMark(&a, &b, mark, -1); done {
				return c
			}
		}
		x, y := leading(&a, isDigit), leading(&b, isDigit)
		if x == "" && y == "" {
			if c := strings.Compare(leading(&a, isLetter), leading(&b, isLetter)); c != 0 {
				return c
			}
			continue
		}
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := len(x) - len(y); c != 0 {
			return c
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
}

// compareMark decides where only one of two versions goes on with mark, and goes past it where both do.
func compareMark(a, b *string, mark byte, order int) (result int, done bool) {
	x, y := *a != "" && (*a)[0] == mark, *b != "" && (*b)[0] == mark
	switch {
	case x && y:
		*a, *b = (*a)[1:], (*b)[1:]
	case x:
		return order, true
	case y:
		return -order, true
	}
	return 0, false
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return isNameByte(c) && !isDigit(c) }

// leading cuts what fits off the front of s.
func leading(s *string, fits func(byte) bool) string {
	end := 0
	for end < len(*s) && fits((*s)[end]) {
		end++
	}
	part := (*s)[:end]
	*s = (*s)[end:]
	return part
}
