package foreign

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bootlun/bootlun/target/control"
)

// iet reads ietd.conf: global settings, then a section for each Target.
func (r *reader) iet(path string, text []byte) error {
	lines, err := parse(path, text, angles)
	if err != nil {
		return err
	}
	var t *control.Target
	var at *statement
	var all []targetLine
	for _, s := range lines {
		switch {
		case s.words[0] == "Target":
			t, at = &control.Target{Name: s.arg(0)}, s
			all = append(all, targetLine{t, at})
		case t != nil:
			r.ietSetting(t, s)
		case s.words[0] == "IncomingUser":
			r.discoveryUser(s, false, s.arg(0), s.arg(1))
		case s.words[0] == "OutgoingUser":
			r.discoveryUser(s, true, s.arg(0), s.arg(1))
		case s.words[0] == "iSNSServer":
			r.nameServer(s.arg(0))
		default:
			r.notCarried(s, "a setting of the whole server")
		}
	}
	if err := r.ietAccess(filepath.Dir(path), all); err != nil {
		return err
	}
	for _, t := range all {
		r.add(t.Target, t.at)
	}
	return nil
}

func (r *reader) ietSetting(t *control.Target, s *statement) {
	switch s.words[0] {
	case "Alias":
		t.Alias = strings.Join(s.words[1:], " ")
	case "IncomingUser":
		r.user(&t.CHAP, t.Name, s, false, s.arg(0), s.arg(1))
	case "OutgoingUser":
		r.user(&t.CHAP, t.Name, s, true, s.arg(0), s.arg(1))
	case "Lun":
		r.ietLUN(t, s)
	default:
		r.notCarried(s, "ours has such settings for the whole server (iscsi), and negotiates what the initiator asks for")
	}
}

// ietLUN reads "Lun 0 Path=/disk,Type=fileio,IOMode=ro".
func (r *reader) ietLUN(t *control.Target, s *statement) {
	number, err := strconv.Atoi(s.arg(0))
	if err != nil {
		r.notCarried(s, "it has no number")
		return
	}
	l := control.LUN{Number: number}
	for setting := range strings.SplitSeq(s.arg(1), ",") {
		key, value, _ := strings.Cut(setting, "=")
		switch strings.ToLower(key) {
		case "path":
			l.Path = value
		case "type":
			if value == "nullio" {
				r.notCarried(s, "ours has no LUNs without a disk")
				return
			}
		case "iomode":
			switch strings.ToLower(value) {
			case "ro":
				l.ReadOnly = true
			case "wt":
				l.WriteThrough = true
			}
		case "scsisn":
			l.Serial = value
		case "scsiid":
			l.Identity = value
			r.at(s, "the identifier of LUN %d is made from ScsiId %s, and is another: multipath and Windows will see a new disk", number, value)
		case "blocksize":
			l.BlockSize, _ = strconv.Atoi(value)
		default:
			r.at(s, "%s of LUN %d is not carried over", key, number)
		}
	}
	if !strings.Contains(strings.ToLower(s.arg(1)), "iomode=wb") && !l.ReadOnly {
		l.WriteThrough = true // the default
	}
	t.LUNs = append(t.LUNs, l)
}

// ietAccess reads the files beside ietd.conf that say who may see what. Where there
// is one that lists targets, a target that it does not list is nobody's.
func (r *reader) ietAccess(dir string, all []targetLine) error {
	denied := make(map[*control.Target]bool)
	for _, name := range []string{"targets.allow", "initiators.allow", "initiators.deny"} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		lines, err := parse(path, text, angles)
		if err != nil {
			return err
		}
		listed := make(map[*control.Target]bool)
		for _, s := range lines {
			r.ietRule(s, name, all, denied, listed)
		}
		for _, t := range all {
			if strings.HasSuffix(name, ".allow") && !listed[t.Target] {
				r.at(&statement{file: path, line: 1}, "%s is not in this file, which lets nobody in", t.Name)
				denied[t.Target] = true
			}
		}
	}
	for t := range denied { // to some: whom the other files let in may be among them
		shut(t)
	}
	return nil
}

// ietRule applies "TARGET|ALL who, who".
func (r *reader) ietRule(s *statement, file string, all []targetLine, denied, listed map[*control.Target]bool) {
	who := strings.FieldsFunc(strings.Join(s.words[1:], ","), func(c rune) bool { return c == ',' })
	for _, t := range all {
		if s.words[0] != "ALL" && !strings.EqualFold(s.words[0], t.Name) {
			continue
		}
		listed[t.Target] = true
		for _, w := range who {
			switch {
			case file == "targets.allow" && w != "ALL":
				r.at(s, "%s is shown at %s alone, which is not carried over: ours is reached at every address it listens at", t.Name, w)
			case file == "initiators.deny" && w == "ALL":
				r.allow(t.Target, s, nobody)
			case file == "initiators.deny":
				r.at(s, "%s is denied to %s, which is not carried over: list those that are allowed", t.Name, w)
				denied[t.Target] = true
			default:
				r.allow(t.Target, s, ietName(w))
			}
		}
	}
}

// ietName makes a pattern of ours of a regular expression for names, if it is one that
// says no more than a pattern can. Ours matches the whole name.
func ietName(expr string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(expr, "^"), "$")
	name = strings.NewReplacer(`\.`, ".", ".*", "*").Replace(name)
	if !strings.HasPrefix(name, "iqn.") || strings.ContainsAny(name, `\^$+?()[]{}|`) {
		return expr
	}
	return name
}
