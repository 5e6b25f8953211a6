package bootloader

import (
	"fmt"
	"strconv"
	"strings"
)

// Spec says which root to start and how. The zero Spec means: choose the root, mount it read-only by the type its superblock
// shows, and start the first init found there.
type Spec struct {
	// Root selects the volume; the zero Selector lets FindRoot choose.
	Root Selector
	// FSType overrides the type that the superblock shows (rootfstype=).
	FSType string
	// Options are mount options as in fstab, separated by commas (rootflags=).
	Options string
	// ReadWrite mounts the root writable (rw). Without it the system's own init remounts it, after its check.
	ReadWrite bool
	// Init is the program to start, a path in the root (init=); empty for the first of DefaultInits that is there.
	Init string
	// Args are the init's arguments after its name.
	Args []string
}

// Selector names one volume.
type Selector struct {
	// By is what Value is matched against. The zero value selects nothing in particular.
	By SelectBy
	// Value is the UUID, label, partition UUID, partition label, or name such as "sda1".
	Value string
}

// SelectBy is the property that a Selector looks at, written as before the "=" in root=.
type SelectBy string

// The properties of a volume that root= can name.
const (
	ByUUID      SelectBy = "UUID"
	ByLabel     SelectBy = "LABEL"
	ByPartUUID  SelectBy = "PARTUUID"
	ByPartLabel SelectBy = "PARTLABEL"
	ByName      SelectBy = "/dev"
)

// String is the selector as root= takes it; empty for the zero Selector.
func (s Selector) String() string {
	switch s.By {
	case "":
		return ""
	case ByName:
		return "/dev/" + s.Value
	default:
		return string(s.By) + "=" + s.Value
	}
}

// matches compares UUIDs without regard to case, labels and names exactly.
func (s Selector) matches(v Volume) bool {
	switch s.By {
	case ByUUID:
		return strings.EqualFold(v.FS.UUID, s.Value)
	case ByLabel:
		return v.FS.Label == s.Value
	case ByPartUUID:
		return strings.EqualFold(v.UUID, s.Value)
	case ByPartLabel:
		return v.Label == s.Value
	case ByName:
		return v.Name == s.Value
	}
	return false
}

// ParseSelector reads the value of root=: UUID=, LABEL=, PARTUUID=, PARTLABEL= (the value may be quoted), /dev/NAME and the
// /dev/disk/by-* links that mean the same. Empty gives the zero Selector.
func ParseSelector(s string) (Selector, error) {
	if s == "" {
		return Selector{}, nil
	}
	sel, err := parseSelector(s)
	if err == nil && sel.Value == "" {
		err = fmt.Errorf("the value is empty")
	}
	if err != nil {
		return Selector{}, fmt.Errorf("root=%s: %w; use UUID=, LABEL=, PARTUUID=, PARTLABEL= or /dev/NAME", s, err)
	}
	return sel, nil
}

func parseSelector(s string) (Selector, error) {
	if path, ok := strings.CutPrefix(s, "/dev/"); ok {
		return parseDevice(path)
	}
	by, value, _ := strings.Cut(s, "=")
	switch SelectBy(by) {
	case ByUUID, ByLabel, ByPartUUID, ByPartLabel:
		if strings.Contains(value, "/PARTNROFF=") {
			return Selector{}, fmt.Errorf("PARTNROFF is not supported")
		}
		return Selector{SelectBy(by), strings.Trim(value, `"`)}, nil
	}
	return Selector{}, fmt.Errorf("this names no volume of a disk")
}

func parseDevice(path string) (Selector, error) {
	link, ok := strings.CutPrefix(path, "disk/by-")
	if !ok {
		if strings.Contains(path, "/") {
			return Selector{}, fmt.Errorf("only partitions and whole disks directly in /dev can be found")
		}
		return Selector{ByName, path}, nil
	}
	kind, value, _ := strings.Cut(link, "/")
	by := SelectBy(strings.ToUpper(kind))
	switch by {
	case ByUUID, ByLabel, ByPartUUID, ByPartLabel:
		return Selector{by, udevUnescape(value)}, nil
	}
	return Selector{}, fmt.Errorf("links by-%s cannot be followed before udev runs", kind)
}

// udevUnescape undoes the \xNN that udev writes for bytes unfit for a file name.
func udevUnescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ParseCommandLine reads root=, rootfstype=, rootflags=, ro, rw and init= from a kernel command line; the last of each
// counts, as it does for the kernel. What follows " -- " and the run level words (single, S, rescue, emergency, 1 to 5)
// become the init's arguments. Everything else is left to others.
func ParseCommandLine(line string) (Spec, error) {
	var spec Spec
	words := splitWords(line)
	for i, word := range words {
		if word == "--" {
			spec.Args = append(spec.Args, words[i+1:]...)
			break
		}
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "root":
			sel, err := ParseSelector(value)
			if err != nil {
				return Spec{}, err
			}
			spec.Root = sel
		case "rootfstype":
			spec.FSType = value
		case "rootflags":
			spec.Options = value
		case "ro", "rw":
			spec.ReadWrite = key == "rw"
		case "init":
			spec.Init = value
		case "single", "S", "emergency", "rescue", "1", "2", "3", "4", "5":
			spec.Args = append(spec.Args, key)
		}
	}
	return spec, nil
}

// splitWords splits at spaces outside double quotes, and drops the quotes, like the kernel.
func splitWords(line string) []string {
	var words []string
	var word strings.Builder
	quoted, started := false, false
	flush := func() {
		if started {
			words = append(words, word.String())
			word.Reset()
			started = false
		}
	}
	for _, r := range line {
		switch {
		case r == '"':
			quoted, started = !quoted, true
		case !quoted && strings.ContainsRune(" \t\r\n", r):
			flush()
		default:
			word.WriteRune(r)
			started = true
		}
	}
	flush()
	return words
}
