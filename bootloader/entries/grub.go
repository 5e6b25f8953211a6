package entries

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a script may do. A configuration with a hundred kernels takes some thousand steps.
const (
	maxSteps     = 500_000
	stepsOfFile  = 100 // what looking at a file counts as
	maxIncludes  = 16
	maxVariable  = 8 << 10 // bytes
	maxVariables = 1024
	maxArguments = 1 << 20 // bytes of one command
)

// grub runs a configuration. It has the whole disk as hd0, however the machine that the configuration was written on numbered it.
type grub struct {
	volumes   []*Volume
	vars      map[string]string
	functions map[string][]stmt
	positions []string // $1 and so on

	files    []string // being run, outermost first
	steps    *int     // over all menus and entries
	items    *[]item  // of the menu being built
	titles   []string
	entry    *grubEntry // whose commands are being run
	count    *int       // of entries, over all menus
	problems *[]error
	env      *[]EnvChange // of the menu, or of the entry
	blocks   []func()     // of the menu's items, to be run once its script has ended
	source   string
	left     bool // configfile has taken over
	breaking bool
}

// grubEntry is what the commands of an entry have named so far.
type grubEntry struct {
	entry   *Entry
	command string // other than linux that the entry would start
}

// readGRUB runs the configuration at name and returns its menu.
func readGRUB(volumes []*Volume, v *Volume, name string, platform string) (Menu, error) {
	var menu Menu
	g := &grub{
		volumes: volumes, functions: make(map[string][]stmt), items: &menu.tree, count: new(int), steps: new(int),
		problems: &menu.Problems, env: &menu.Env, source: File{v, name}.String(),
	}
	g.vars = map[string]string{
		"root": grubDevice(v), "prefix": "(" + grubDevice(v) + ")" + path.Dir(name), "config_directory": path.Dir(name),
		"config_file": name, "grub_cpu": "x86_64", "grub_platform": platform,
	}
	for _, feature := range []string{
		"menuentry_id", "menuentry_options", "platform_search_hint", "timeout_style", "200_final", "nativedisk_cmd",
		"default_font_path", "all_video_module",
	} {
		g.vars["feature_"+feature] = "y"
	}
	if err := g.include(v, name); err != nil {
		return Menu{}, err
	}
	g.runBlocks()
	menu.finish(g.vars["default"])
	menu.Timeout = g.timeout()
	return menu, nil
}

// timeout is that of the configuration: none said is to wait for ever, as in GRUB.
func (g *grub) timeout() time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(g.vars["timeout"]))
	if err != nil || seconds < 0 || seconds > 1<<20 {
		return -1
	}
	return time.Duration(seconds) * time.Second
}

// include runs another file of the configuration in place.
func (g *grub) include(v *Volume, name string) error {
	file := File{v, clean(name)}.String()
	if slices.Contains(g.files, file) {
		return fmt.Errorf("%s includes itself: %s", file, strings.Join(append(g.files, file), " → "))
	}
	if len(g.files) == maxIncludes {
		return fmt.Errorf("%s: more than %d files include one another", file, maxIncludes)
	}
	src, err := readConfig(v, name)
	if err != nil {
		return err
	}
	*g.steps += stepsOfFile + len(src)>>6
	script, err := parseGRUB(string(src))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	g.files = append(g.files, file)
	_, err = g.run(script)
	g.files = g.files[:len(g.files)-1]
	if err != nil && len(g.files) == 0 {
		return fmt.Errorf("%s: %w", file, err)
	}
	return err
}

// run executes statements. ok is the status of the last one.
func (g *grub) run(script []stmt) (ok bool, err error) {
	ok = true
	for i := range script {
		if *g.steps++; *g.steps > maxSteps {
			return false, fmt.Errorf("line %d: the script does not come to an end (%d steps)", script[i].line, maxSteps)
		}
		if ok, err = g.statement(&script[i]); err != nil || g.left || g.breaking {
			return ok, err
		}
	}
	return ok, nil
}

func (g *grub) statement(s *stmt) (bool, error) {
	switch s.kind {
	case stmtIf:
		ok, err := g.run(s.cond)
		if err != nil {
			return false, err
		}
		if ok {
			return g.run(s.body)
		}
		return g.run(s.orElse)
	case stmtFor:
		return g.loop(s)
	case stmtWhile:
		for {
			ok, err := g.run(s.cond)
			if err != nil || ok == s.negate || g.left {
				return true, err
			}
			if _, err := g.run(s.body); err != nil || g.left {
				return true, err
			}
			if g.breaking {
				g.breaking = false
				return true, nil
			}
		}
	case stmtFunction:
		g.functions[s.name] = s.body
		return true, nil
	}
	return g.command(s)
}

func (g *grub) loop(s *stmt) (bool, error) {
	for _, value := range g.expandAll(s.words) {
		g.set(s.name, value)
		if _, err := g.run(s.body); err != nil || g.left {
			return true, err
		}
		if g.breaking {
			g.breaking = false
			break
		}
	}
	return true, nil
}

// set bounds what scripts can keep.
func (g *grub) set(name, value string) {
	if len(value) > maxVariable {
		value = value[:maxVariable]
	}
	if _, known := g.vars[name]; known || len(g.vars) < maxVariables {
		g.vars[name] = value
	}
}

func (g *grub) value(name string) string {
	if n, err := strconv.Atoi(name); err == nil {
		if n >= 1 && n <= len(g.positions) {
			return g.positions[n-1]
		}
		return ""
	}
	switch name {
	case "@", "*":
		return strings.Join(g.positions, " ")
	case "#":
		return strconv.Itoa(len(g.positions))
	}
	return g.vars[name]
}

func (g *grub) expandAll(words []word) []string {
	var args []string
	size := 0
	for _, w := range words {
		for _, arg := range g.expand(w) {
			if size += len(arg); size > maxArguments {
				break
			}
			args = append(args, arg)
		}
	}
	*g.steps += size >> 6
	return args
}

// expand makes arguments of a word: one, or as many as the unquoted variables in it hold.
func (g *grub) expand(w word) []string {
	var args []string
	var current strings.Builder
	open, size := false, 0
	for _, p := range w {
		text := p.text
		if p.variable {
			text = g.value(p.text)
		}
		if size += len(text); size > maxArguments {
			break
		}
		if !p.variable || p.quoted {
			current.WriteString(text)
			open = true
			continue
		}
		fields := strings.Fields(text)
		for i, f := range fields {
			if (i > 0 || strings.TrimLeft(text, " \t\n") != text) && open {
				args = append(args, current.String())
				current.Reset()
			}
			current.WriteString(f)
			open = true
		}
		if len(fields) > 0 && strings.TrimRight(text, " \t\n") != text {
			args = append(args, current.String())
			current.Reset()
			open = false
		}
	}
	if open {
		args = append(args, current.String())
	}
	return args
}

// command runs one command: one of the menu, a function, or one of findCommand. What else there is (modules, fonts, terminals)
// makes no difference to what is started, and succeeds.
func (g *grub) command(s *stmt) (bool, error) {
	args := g.expandAll(s.words)
	if len(args) == 0 {
		return true, nil
	}
	if args[0] == "!" {
		ok, err := g.call(s, args[1:])
		return !ok, err
	}
	return g.call(s, args)
}

func (g *grub) call(s *stmt, args []string) (bool, error) {
	if len(args) == 0 {
		return true, nil
	}
	name := args[0]
	if body, ok := g.functions[name]; ok {
		outer := g.positions
		g.positions = args[1:]
		defer func() { g.positions = outer }()
		g.files = append(g.files, name+"()") // a function may call itself
		defer func() { g.files = g.files[:len(g.files)-1] }()
		if len(g.files) > 8*maxIncludes {
			return false, fmt.Errorf("line %d: function %s calls itself without end", s.line, name)
		}
		return g.run(body)
	}
	if variable, value, ok := strings.Cut(name, "="); ok && isName(variable) {
		g.set(variable, value)
		return true, nil
	}
	switch name {
	case "menuentry", "hiddenentry":
		return true, g.menuEntry(s, args[1:])
	case "submenu":
		return true, g.submenu(s, args[1:])
	}
	if run := findCommand(name); run != nil {
		ok, err := run(g, args)
		if err != nil {
			err = fmt.Errorf("line %d: %s: %w", s.line, name, err)
		}
		return ok, err
	}
	return true, nil
}

// errNoDevice is a path on something that is not on this disk.
var errNoDevice = errors.New("is on no volume of this disk that can be read")

// locate finds the volume and the path that a name of GRUB's means: "(hd0,gpt2)/boot/x", or "/boot/x" on $root.
func (g *grub) locate(name string) (File, error) {
	*g.steps += stepsOfFile
	device, rest := g.vars["root"], name
	if strings.HasPrefix(name, "(") {
		var closed bool
		if device, rest, closed = strings.Cut(name[1:], ")"); !closed {
			return File{}, fmt.Errorf("%q is no file name of GRUB's", name)
		}
		rest = strings.TrimLeft(rest, ")") // "($root)" where root has parentheses of its own
	}
	for _, v := range g.volumes {
		if sameDevice(device, v) {
			if _, _, ok := (File{v, rest}).Blocks(); ok {
				return File{v, rest}, nil
			}
			return File{v, clean(rest)}, nil
		}
	}
	return File{}, fmt.Errorf("%q on %q %w", rest, device, errNoDevice)
}

// grubDevice is GRUB's name for a volume.
func grubDevice(v *Volume) string {
	switch {
	case v.LVM != nil:
		return "lvmid/" + v.LVM.GroupUUID + "/" + v.LVM.UUID
	case v.Number == 0:
		return "hd0"
	case strings.HasPrefix(v.Type, "0x"):
		return fmt.Sprintf("hd0,msdos%d", v.Number)
	}
	return fmt.Sprintf("hd0,gpt%d", v.Number)
}

// sameDevice compares but for the number of the disk: there is one.
func sameDevice(device string, v *Volume) bool {
	device = strings.Trim(device, "()")
	if v.LVM != nil {
		return device == grubDevice(v) || device == "lvm/"+path.Base(v.Name)
	}
	disk, part, _ := strings.Cut(device, ",")
	if !strings.HasPrefix(disk, "hd") && !strings.HasPrefix(disk, "cd") {
		return false
	}
	_, mine, _ := strings.Cut(grubDevice(v), ",")
	return part == mine || part != "" && part == strconv.Itoa(v.Number)
}
