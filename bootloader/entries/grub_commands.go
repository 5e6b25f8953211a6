package entries

import (
	"fmt"
	"strconv"
	"strings"
)

// grubCommand is a command that has a say in what is started. It gets its own name as the first argument.
type grubCommand func(g *grub, args []string) (bool, error)

// findCommand gives nil for a name that is none of ours.
func findCommand(name string) grubCommand {
	switch name {
	case "set":
		return grubSet
	case "unset":
		return grubUnset
	case "test":
		return func(g *grub, args []string) (bool, error) { return g.test(args[1:]) }
	case "[":
		return grubBracket
	case "false", "loadfont":
		return func(*grub, []string) (bool, error) { return false, nil }
	case "break":
		return func(g *grub, _ []string) (bool, error) { g.breaking = true; return true, nil }
	case "source", ".":
		return grubSource
	case "configfile":
		return grubConfigFile
	case "load_env":
		return grubLoadEnv
	case "save_env":
		return grubSaveEnv
	case "search":
		return func(g *grub, args []string) (bool, error) { return g.search(args[1:]) }
	case "search.fs_uuid", "search.fs_label", "search.file":
		return grubSearchBy
	case "probe":
		return grubProbe
	case "increment", "decrement":
		return grubCount
	case "eval":
		return grubEval
	case "blscfg":
		return grubBLS
	case "linux", "linux16", "linuxefi":
		return grubLinux
	case "initrd", "initrd16", "initrdefi":
		return grubInitrd
	case "multiboot", "multiboot2":
		return grubMultiboot
	case "module", "module2":
		return grubModule
	case "chainloader", "xen_hypervisor", "fwsetup", "reboot", "halt", "exit", "ntldr", "kfreebsd":
		return grubOther
	}
	return nil
}

func grubSet(g *grub, args []string) (bool, error) {
	for _, arg := range args[1:] {
		if name, value, ok := strings.Cut(arg, "="); ok {
			g.set(name, value)
		}
	}
	return true, nil
}

func grubUnset(g *grub, args []string) (bool, error) {
	for _, name := range args[1:] {
		delete(g.vars, name)
	}
	return true, nil
}

func grubBracket(g *grub, args []string) (bool, error) {
	if args[len(args)-1] != "]" {
		return false, nil
	}
	return g.test(args[1 : len(args)-1])
}

// grubSource fails softly where there is no such file, as GRUB does; not where the file is wrong.
func grubSource(g *grub, args []string) (bool, error) {
	if len(args) < 2 {
		return false, nil
	}
	f, err := g.locate(args[1])
	if err != nil || !f.Volume.exists(f.Path) {
		return false, nil
	}
	if err := g.include(f.Volume, f.Path); err != nil {
		return false, err
	}
	return true, nil
}

// grubConfigFile is a source from which there is no return.
func grubConfigFile(g *grub, args []string) (bool, error) {
	ok, err := grubSource(g, args)
	g.left = ok && err == nil && g.entry == nil
	return ok, err
}

// grubSearchBy is search with the property in its name: search.fs_uuid UUID VARIABLE HINT….
func grubSearchBy(g *grub, args []string) (bool, error) {
	by, rest := "--"+strings.ReplaceAll(strings.TrimPrefix(args[0], "search."), "_", "-"), args[1:]
	if len(rest) >= 2 { // value, variable, hints
		rest = []string{by, "--set=" + rest[1], rest[0]}
	} else {
		rest = append([]string{by, "--set"}, rest...)
	}
	return g.search(rest)
}

// search sets a variable, root unless another is named, to the first volume with that UUID, label or file.
func (g *grub) search(args []string) (bool, error) {
	by, variable, name := "--file", "", ""
	for i := 0; i < len(args); i++ {
		option, value, joined := strings.Cut(args[i], "=")
		switch option {
		case "--fs-uuid", "-u":
			by = "--fs-uuid"
		case "--label", "--fs-label", "-l":
			by = "--label"
		case "--file", "-f":
			by = "--file"
		case "--set", "-s":
			variable = "root"
			switch {
			case joined:
				variable = value
			case i+2 < len(args) && !strings.HasPrefix(args[i+1], "-"):
				// "--set root NAME"; "--set NAME" has nothing between.
				i++
				variable = args[i]
			}
		case "--hint", "-h":
			if !joined {
				i++
			}
		default:
			if !strings.HasPrefix(args[i], "-") {
				name = args[i]
			}
		}
	}
	for _, v := range g.volumes {
		*g.steps += stepsOfFile
		if name == "" || !found(v, by, name) {
			continue
		}
		if variable != "" {
			g.set(variable, grubDevice(v))
		}
		return true, nil
	}
	return false, nil
}

func found(v *Volume, by, name string) bool {
	switch by {
	case "--fs-uuid":
		return strings.EqualFold(v.FS.UUID, name)
	case "--label":
		return v.FS.Label == name
	}
	return v.exists(name)
}

// grubProbe tells a property of a device: probe --set=variable --fs-uuid DEVICE.
func grubProbe(g *grub, args []string) (bool, error) {
	variable, what, device := "", "", ""
	for i := 1; i < len(args); i++ {
		option, value, joined := strings.Cut(args[i], "=")
		switch {
		case option == "--set" || option == "-s":
			if variable = value; !joined && i+1 < len(args) {
				i++
				variable = args[i]
			}
		case strings.HasPrefix(option, "-"):
			what = option
		default:
			device = args[i]
		}
	}
	f, err := g.locate("(" + strings.Trim(device, "()") + ")/")
	if err != nil || variable == "" {
		return false, nil
	}
	properties := map[string]string{
		"--fs-uuid": f.Volume.FS.UUID, "-u": f.Volume.FS.UUID, "--label": f.Volume.FS.Label, "-l": f.Volume.FS.Label,
		"--fs": f.Volume.FS.Type, "-f": f.Volume.FS.Type, "--part-uuid": f.Volume.UUID,
	}
	g.set(variable, properties[what])
	return true, nil
}

// grubCount changes a variable that counts boots.
func grubCount(g *grub, args []string) (bool, error) {
	if len(args) < 2 {
		return false, nil
	}
	n, err := strconv.Atoi(g.vars[args[1]])
	if err != nil {
		return false, nil
	}
	if args[0] == "decrement" {
		n -= 2
	}
	g.set(args[1], strconv.Itoa(n+1))
	return true, nil
}

func grubEval(g *grub, args []string) (bool, error) {
	*g.steps += stepsOfFile
	script, err := parseGRUB(strings.Join(args[1:], " "))
	if err != nil {
		return false, err
	}
	g.files = append(g.files, "eval")
	defer func() { g.files = g.files[:len(g.files)-1] }()
	if len(g.files) > 8*maxIncludes {
		return false, fmt.Errorf("evaluates itself without end")
	}
	return g.run(script)
}

func grubLinux(g *grub, args []string) (bool, error) {
	if g.entry == nil || len(args) < 2 {
		return false, nil
	}
	e := g.entry.entry
	f, err := g.locate(args[1])
	if err != nil {
		e.Err = fmt.Errorf("its kernel %w", err)
		return false, nil
	}
	// "Any initrd must be reloaded after using this command" (GRUB's manual, "linux").
	e.Kernel, e.Initramfs = f, nil
	e.Cmdline = commandLine(args[2:])
	return true, nil
}

// commandLine is what a kernel sees of its arguments.
func commandLine(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = quoteArgument(arg)
	}
	return strings.Join(words, " ")
}

// grubMultiboot names what is to be started in place of a kernel: multiboot2 [--quirk-...] FILE ARGUMENT….
func grubMultiboot(g *grub, args []string) (bool, error) {
	version := 1
	if args[0] == "multiboot2" {
		version = 2
	}
	files := skipOptions(args[1:])
	if g.entry == nil || len(files) == 0 {
		return false, nil
	}
	e := g.entry.entry
	f, err := g.locate(files[0])
	if err != nil {
		e.Err = fmt.Errorf("its hypervisor %w", err)
		return false, nil
	}
	e.Hypervisor = &Hypervisor{File: f, Multiboot: version, Cmdline: commandLine(files[1:])}
	e.Kernel, e.Initramfs, e.Cmdline = File{}, nil, ""
	return true, nil
}

// grubModule adds a module to a hypervisor: module2 [--nounzip] FILE ARGUMENT…. The first is the kernel with its command line, the
// second its initramfs.
func grubModule(g *grub, args []string) (bool, error) {
	files := skipOptions(args[1:])
	if g.entry == nil || g.entry.entry.Hypervisor == nil || len(files) == 0 {
		return false, nil
	}
	e := g.entry.entry
	f, err := g.locate(files[0])
	switch {
	case err != nil:
		e.Err = fmt.Errorf("a module of its hypervisor %w", err)
		return false, nil
	case e.Kernel.Volume == nil:
		e.Kernel, e.Cmdline = f, commandLine(files[1:])
	case e.Initramfs == nil:
		e.Initramfs = []File{f}
	default:
		e.Hypervisor.Modules = append(e.Hypervisor.Modules, f)
	}
	return true, nil
}

// skipOptions leaves out what comes before the first file.
func skipOptions(args []string) []string {
	for len(args) > 0 && strings.HasPrefix(args[0], "--") {
		args = args[1:]
	}
	return args
}

// quoteArgument quotes what has blanks, for the kernel to see it as one.
func quoteArgument(arg string) string {
	if !strings.ContainsAny(arg, " \t") {
		return arg
	}
	if name, value, ok := strings.Cut(arg, "="); ok && !strings.ContainsAny(name, " \t") {
		return name + `="` + value + `"`
	}
	return `"` + arg + `"`
}

func grubInitrd(g *grub, args []string) (bool, error) {
	if g.entry == nil {
		return false, nil
	}
	e := g.entry.entry
	for _, name := range args[1:] {
		if strings.HasPrefix(name, "--") {
			continue
		}
		f, err := g.locate(name)
		if err != nil {
			e.Err = fmt.Errorf("its initramfs %w", err)
			return false, nil
		}
		e.Initramfs = append(e.Initramfs, f)
	}
	return true, nil
}

// grubOther is a command that starts something else.
func grubOther(g *grub, args []string) (bool, error) {
	if g.entry != nil && g.entry.command == "" {
		g.entry.command = args[0]
	}
	return true, nil
}
