package modules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNotFound tells that neither a module nor a built-in part of the kernel
// has the name or alias asked for.
var ErrNotFound = errors.New("no such kernel module")

// Module is what an [Index] knows of one module. The fields that are lists
// mirror the lines of the file's .modinfo section.
type Module struct {
	// Name is the kernel's name for the module, with underscores.
	Name string
	// Path is the file, relative to the modules folder of its kernel, such as
	// "kernel/drivers/net/virtio_net.ko". It is empty for a built-in.
	Path string
	// Aliases are shell patterns of the device ids and other names that the
	// module answers to.
	Aliases []string
	// Depends are the modules whose symbols this one needs.
	Depends []string
	// SoftPre and SoftPost are names or aliases that should be loaded before
	// and after, if they exist ("softdep").
	SoftPre, SoftPost []string
	// Firmware are files, relative to /lib/firmware, that the driver may ask for.
	Firmware []string
}

// Builtin reports whether the module is part of the kernel itself, so that
// there is nothing to load.
func (m *Module) Builtin() bool { return m.Path == "" }

// Index is the set of modules of one kernel. The zero value is an empty index.
// An Index is filled by one goroutine; once filled it may be read by many.
type Index struct {
	// Version is the kernel's release, as uname -r prints it.
	Version string

	modules []*Module
	byName  map[string]*Module
	aliases aliasTable
}

// Add puts a module into the index. The index keeps m. Where several modules
// answer to one device, those added first are loaded first. A second module of
// the same name is an error, except that the file of a module that is also
// built in is ignored.
func (x *Index) Add(m *Module) error {
	if m.Name == "" || strings.ContainsAny(m.Name, "- \t\n") {
		return fmt.Errorf("modules: %q is no kernel module's name", m.Name)
	}
	if old, ok := x.byName[m.Name]; ok {
		if old.Builtin() {
			return nil
		}
		return fmt.Errorf("modules: %s is there twice: %q and %q", m.Name, old.Path, m.Path)
	}
	if x.byName == nil {
		x.byName = make(map[string]*Module)
	}
	x.byName[m.Name] = m
	for i, a := range m.Aliases {
		m.Aliases[i] = canonical(a)
		x.aliases.add(m.Aliases[i], len(x.modules))
	}
	x.modules = append(x.modules, m)
	return nil
}

// Len returns the number of modules, built-in ones included.
func (x *Index) Len() int { return len(x.modules) }

// All returns the modules in the order they were added. The caller must not
// change them.
func (x *Index) All() []*Module { return slices.Clone(x.modules) }

// Lookup finds a module by its name.
func (x *Index) Lookup(name string) (*Module, bool) {
	m, ok := x.byName[canonical(name)]
	return m, ok
}

// Match returns the modules that answer to a device id or alias, such as the
// text of /sys/bus/pci/devices/*/modalias, in loading order. Built-in ones are
// among them.
func (x *Index) Match(alias string) []*Module {
	var found []*Module
	for _, i := range x.aliases.match(canonical(alias)) {
		found = append(found, x.modules[i])
	}
	return found
}

// Resolve finds the modules meant by a name, or, where there is no module of
// that name, by an alias. It returns an error that is [ErrNotFound] when there
// are none.
func (x *Index) Resolve(name string) ([]*Module, error) {
	if m, ok := x.Lookup(name); ok {
		return []*Module{m}, nil
	}
	if found := x.Match(name); len(found) > 0 {
		return found, nil
	}
	return nil, fmt.Errorf("%w: %q (kernel %s)", ErrNotFound, name, x.Version)
}

// Subset returns an index of the given modules of x and of all its built-ins.
func (x *Index) Subset(keep []*Module) *Index {
	wanted := make(map[*Module]bool, len(keep))
	for _, m := range keep {
		wanted[m] = true
	}
	sub := &Index{Version: x.Version}
	for _, m := range x.modules {
		if m.Builtin() || wanted[m] {
			// Names in x are unique already, so Add has nothing to refuse.
			_ = sub.Add(m)
		}
	}
	return sub
}
