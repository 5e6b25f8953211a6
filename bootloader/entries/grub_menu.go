package entries

import (
	"fmt"
	"slices"
	"strings"
)

// The entries of a menu, as menuentry and submenu make them.

// menuTitle reads the arguments of menuentry and submenu.
func menuTitle(args []string) (title, id string, positions []string) {
	for i := 0; i < len(args); i++ {
		option, value, joined := strings.Cut(args[i], "=")
		switch option {
		case "--class", "--users", "--hotkey", "--id":
			if !joined && i+1 < len(args) {
				i++
				value = args[i]
			}
			if option == "--id" {
				id = value
			}
			continue
		case "--unrestricted":
			continue
		}
		positions = append(positions, args[i])
	}
	if len(positions) > 0 {
		title = positions[0]
	}
	return title, id, positions
}

// runBlocks fills in the items of a menu whose script has ended.
func (g *grub) runBlocks() {
	for _, run := range g.blocks {
		run()
	}
}

// inner is an interpreter for the block of a menu entry: GRUB runs it when it is chosen, with the variables of the end of the
// script, of which those of other blocks are not seen.
func (g *grub) inner(positions []string) *grub {
	in := *g
	in.vars = make(map[string]string, len(g.vars))
	for k, v := range g.vars {
		in.vars[k] = v
	}
	in.vars["chosen"] = strings.Join(append(g.titles[:len(g.titles):len(g.titles)], positions...), ">")
	in.positions, in.files, in.left, in.breaking, in.blocks = positions, nil, false, false, nil
	return &in
}

func (g *grub) menuEntry(s *stmt, args []string) error {
	if *g.count++; *g.count > maxEntries {
		return fmt.Errorf("line %d: more than %d entries", s.line, maxEntries)
	}
	title, id, positions := menuTitle(args)
	e := &Entry{ID: id, Title: title, Submenus: slices.Clone(g.titles), Source: g.source}
	*g.items = append(*g.items, item{id: id, title: title, entry: e})
	g.blocks = append(g.blocks, func() { g.inner(positions).fill(e, s.body) })
	return nil
}

// fill runs the block of an entry.
func (g *grub) fill(e *Entry, body []stmt) {
	g.entry = &grubEntry{entry: e}
	g.items = new([]item) // an entry adds none
	g.env = &e.Env
	if _, err := g.run(body); err != nil {
		e.Err = err
		return
	}
	switch {
	case e.Err != nil:
	case g.entry.command != "":
		e.Err = fmt.Errorf("%w but uses %s", ErrNotLinux, g.entry.command)
	case e.Kernel.Volume == nil:
		e.Err = ErrNotLinux
	}
}

func (g *grub) submenu(s *stmt, args []string) error {
	if len(g.titles) >= maxIncludes {
		return fmt.Errorf("line %d: too many submenus in one another", s.line)
	}
	if *g.count++; *g.count > maxEntries {
		return fmt.Errorf("line %d: more than %d entries", s.line, maxEntries)
	}
	title, id, positions := menuTitle(args)
	at := len(*g.items)
	items := g.items
	*items = append(*items, item{id: id, title: title})
	g.blocks = append(g.blocks, func() {
		in := g.inner(positions)
		in.items = &(*items)[at].items
		in.titles = append(g.titles[:len(g.titles):len(g.titles)], title)
		if _, err := in.run(s.body); err != nil {
			*g.problems = append(*g.problems, fmt.Errorf("%s: submenu %q: %w", g.source, title, err))
		}
		in.runBlocks()
	})
	return nil
}
