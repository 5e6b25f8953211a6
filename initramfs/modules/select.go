package modules

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Selection says which modules an image shall carry. What they depend on comes
// along by itself.
type Selection struct {
	// Required are names or aliases that must exist, as a module or built in.
	Required []string
	// Wanted are names or aliases that are taken where they exist.
	Wanted []string
	// Classes are folders below "kernel/" whose modules are all taken, such as
	// "drivers/net/ethernet"; a pattern of path.Match in place of a folder's
	// name is understood.
	Classes []string
	// Exclude are folders, as in Classes, and names that Classes leaves out.
	// Something else may still pull such a module in.
	Exclude []string
}

// Select returns the chosen modules and everything they need, dependencies
// first, without built-ins. The order depends on nothing but the index and the
// selection.
func (x *Index) Select(s Selection) ([]*Module, error) {
	var roots []*Module
	var errs []error
	for _, name := range s.Required {
		found, err := x.Resolve(name)
		if err != nil {
			errs = append(errs, err)
		}
		roots = append(roots, found...)
	}
	for _, name := range s.Wanted {
		found, err := x.Resolve(name)
		if err == nil {
			roots = append(roots, found...)
		}
	}
	for _, m := range x.modules {
		if inAny(m, s.Classes) && !inAny(m, s.Exclude) && !slices.Contains(s.Exclude, m.Name) {
			roots = append(roots, m)
		}
	}
	w := walk{index: x, seen: make(map[*Module]bool)}
	w.visit(roots)
	if err := errors.Join(append(errs, w.errs...)...); err != nil {
		return nil, fmt.Errorf("choosing modules of kernel %s: %w", x.Version, err)
	}
	return w.order, nil
}

// inAny reports whether the module's file lies in one of the folders.
func inAny(m *Module, folders []string) bool {
	dir := strings.TrimPrefix(m.Path, "kernel/")
	for dir = path.Dir(dir); dir != "." && dir != "/"; dir = path.Dir(dir) {
		for _, f := range folders {
			if ok, err := path.Match(f, dir); ok && err == nil {
				return true
			}
		}
	}
	return false
}

// walk collects modules in loading order: what one needs, then itself. A
// module is marked when the walk enters it, so that soft dependencies that
// lead in a circle end.
type walk struct {
	index *Index
	order []*Module
	seen  map[*Module]bool
	errs  []error // dependencies that do not exist
}

func (w *walk) visit(modules []*Module) {
	for _, m := range modules {
		if m.Builtin() || w.seen[m] {
			continue
		}
		w.seen[m] = true
		w.visitSoft(m.SoftPre)
		for _, name := range m.Depends {
			if dep, ok := w.index.Lookup(name); ok {
				w.visit([]*Module{dep})
			} else {
				w.errs = append(w.errs, fmt.Errorf("%w: %q, which %s needs", ErrNotFound, name, m.Name))
			}
		}
		w.order = append(w.order, m)
		w.visitSoft(m.SoftPost)
	}
}

// visitSoft adds what should come along but need not exist.
func (w *walk) visitSoft(names []string) {
	for _, name := range names {
		if found, err := w.index.Resolve(name); err == nil {
			w.visit(found)
		}
	}
}
