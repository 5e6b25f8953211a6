package entries

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// syslinux reads the configuration of syslinux, extlinux and isolinux ("SYSLINUX", doc/syslinux.txt and doc/menu.txt).
type syslinux struct {
	v     *Volume
	dir   string // that relative names start from
	files []string

	menu    Menu
	label   *syslinuxLabel // being read; nil above the first
	append  string         // for labels without one of their own
	initrd  string
	preset  string // DEFAULT, ONTIMEOUT
	chosen  string // MENU DEFAULT
	inText  bool
	timeout time.Duration
}

// syslinuxLabel is what a LABEL says.
type syslinuxLabel struct {
	name, title, kernel, append, initrd string
	hasAppend                           bool
	other                               string // command that starts something else
}

// readSyslinux reads the configuration at name.
func readSyslinux(v *Volume, name string) (Menu, error) {
	s := &syslinux{v: v, dir: path.Dir(name), timeout: -1}
	if err := s.include(name); err != nil {
		return Menu{}, err
	}
	s.finishLabel()
	def := s.preset
	if s.chosen != "" {
		def = s.chosen
	}
	s.menu.finish(def)
	s.menu.Timeout = s.timeout
	return s.menu, nil
}

func (s *syslinux) include(name string) error {
	if !strings.HasPrefix(name, "/") {
		name = path.Join(s.dir, name)
	}
	name = clean(name)
	for _, f := range s.files {
		if f == name {
			return fmt.Errorf("%s includes itself: %s", File{s.v, name}, strings.Join(append(s.files, name), " → "))
		}
	}
	if len(s.files) == maxIncludes {
		return fmt.Errorf("%s: more than %d files include one another", File{s.v, name}, maxIncludes)
	}
	data, err := readConfig(s.v, name)
	if err != nil {
		return err
	}
	s.files = append(s.files, name)
	defer func() { s.files = s.files[:len(s.files)-1] }()
	for line := range strings.Lines(string(data)) {
		if err := s.line(strings.TrimSpace(line)); err != nil {
			return err
		}
	}
	return nil
}

// cutWord takes the first word off a line. Words may be apart by any blanks.
func cutWord(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, " \t")
	if end < 0 {
		return line, ""
	}
	return line[:end], strings.TrimSpace(line[end:])
}

func (s *syslinux) line(line string) error {
	word, rest := cutWord(line)
	command := strings.ToUpper(word)
	if s.inText {
		s.inText = command != "ENDTEXT"
		return nil
	}
	switch command {
	case "INCLUDE":
		name, _ := cutWord(rest)
		return s.softInclude(name)
	case "MENU":
		return s.menuLine(rest)
	case "TEXT":
		s.inText = strings.EqualFold(rest, "HELP")
	case "LABEL":
		s.finishLabel()
		s.label = &syslinuxLabel{name: rest}
	case "DEFAULT", "ONTIMEOUT":
		s.preset = rest
	case "TIMEOUT", "TOTALTIMEOUT":
		if n, err := strconv.Atoi(rest); err == nil && n > 0 && n < 1<<20 && command == "TIMEOUT" {
			s.timeout = time.Duration(n) * time.Second / 10
		}
	case "PROMPT":
		if rest == "0" && s.timeout < 0 {
			s.timeout = 0
		}
	default:
		s.labelLine(command, rest)
	}
	return nil
}

// softInclude lets a missing file pass, as syslinux does, but says so.
func (s *syslinux) softInclude(name string) error {
	full := name
	if !strings.HasPrefix(name, "/") {
		full = path.Join(s.dir, name)
	}
	if !s.v.exists(full) {
		s.menu.Problems = append(s.menu.Problems, fmt.Errorf("%s: included, but not there", File{s.v, clean(full)}))
		return nil
	}
	return s.include(name)
}

func (s *syslinux) menuLine(rest string) error {
	word, rest := cutWord(rest)
	switch strings.ToUpper(word) {
	case "INCLUDE":
		name, _ := cutWord(rest)
		return s.softInclude(name)
	case "LABEL":
		if s.label != nil {
			s.label.title = strings.ReplaceAll(rest, "^", "")
		}
	case "DEFAULT":
		if s.label != nil {
			s.chosen = s.label.name
		}
	}
	return nil
}

func (s *syslinux) labelLine(command, rest string) {
	if s.label == nil {
		switch command {
		case "APPEND":
			s.append = rest
		case "INITRD":
			s.initrd = rest
		}
		return
	}
	switch command {
	case "KERNEL", "LINUX":
		s.label.kernel = rest
	case "APPEND":
		s.label.append, s.label.hasAppend = rest, true
	case "INITRD":
		s.label.initrd = rest
	case "LOCALBOOT", "COM32", "BOOT", "BSS", "PXE", "FDIMAGE", "CONFIG", "COMBOOT":
		s.label.other = command
	}
}

func (s *syslinux) finishLabel() {
	l := s.label
	s.label = nil
	if l == nil || len(s.menu.tree) == maxEntries {
		return
	}
	e := &Entry{ID: l.name, Title: l.title, Source: File{s.v, s.dir}.String()}
	if e.Title == "" {
		e.Title = l.name
	}
	if !l.hasAppend {
		l.append = s.append
	}
	if l.append == "-" {
		l.append = ""
	}
	if l.initrd == "" {
		l.initrd = s.initrd
	}
	s.fill(e, l)
	s.menu.tree = append(s.menu.tree, item{id: e.ID, title: e.Title, entry: e})
}

// fill takes initrd= out of the command line, where syslinux looks for it too.
func (s *syslinux) fill(e *Entry, l *syslinuxLabel) {
	kernel, arguments := cutWord(l.kernel)
	switch ext := strings.ToLower(path.Ext(kernel)); {
	case l.other != "":
		e.Err = fmt.Errorf("%w but uses %s", ErrNotLinux, l.other)
		return
	case kernel == "" || ext == ".c32" || ext == ".cbt" || ext == ".com" || ext == ".bin" || ext == ".0":
		e.Err = ErrNotLinux
		return
	}
	e.Kernel = s.file(kernel)
	var words []string
	for _, w := range strings.Fields(arguments + " " + l.append) {
		if names, ok := strings.CutPrefix(w, "initrd="); ok {
			l.initrd = names
			continue
		}
		words = append(words, w)
	}
	e.Cmdline = strings.Join(words, " ")
	for name := range strings.SplitSeq(l.initrd, ",") {
		if name != "" {
			e.Initramfs = append(e.Initramfs, s.file(name))
		}
	}
}

func (s *syslinux) file(name string) File {
	if strings.HasPrefix(name, "/") {
		return File{s.v, clean(name)}
	}
	return File{s.v, clean(path.Join(s.dir, name))}
}
