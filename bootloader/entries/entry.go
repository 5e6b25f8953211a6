package entries

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bootlun/bootlun/bootloader"
)

// Volume is a volume with its files. Names in Files begin at the root of its file system; links are followed inside it.
type Volume struct {
	bootloader.Volume
	Files fs.FS
	// Raw has the volume's bytes, for what GRUB names by its blocks; without it there is nothing of that kind.
	Raw io.ReaderAt
}

// File is a file on a volume.
type File struct {
	Volume *Volume
	// Path is absolute on the volume, or a block list of GRUB's (Blocks).
	Path string
}

// String names the file as "sda1:/boot/vmlinuz". The zero File stands for the firmware's variables.
func (f File) String() string {
	if f.Volume == nil {
		return "EFI variables"
	}
	return f.Volume.Name + ":" + f.Path
}

// Read reads the file whole, if it has at most limit bytes.
func (f File) Read(limit int64) ([]byte, error) { return f.Volume.read(f.Path, limit) }

// Entry is one line of a boot menu.
type Entry struct {
	// ID is what a saved default names; empty if the configuration gives none.
	ID string
	// Title is shown to people.
	Title string
	// Submenus are the titles of the menus that lead to it, outermost first.
	Submenus []string
	// Source is the configuration that it is from.
	Source string
	// Kernel is a bzImage, or a unified kernel image if Unified.
	Kernel  File
	Unified bool
	// Initramfs are read one after the other as one.
	Initramfs []File
	// Cmdline is the kernel's command line; a unified image may bring its own, which then goes before it.
	Cmdline string
	// Hypervisor, if not nil, is what is started, and starts the kernel itself.
	Hypervisor *Hypervisor
	// Env is what starting it changes in environment blocks or variables, in order.
	Env []EnvChange
	// Counted is the file with its boot counter, and CountAs the name that it has in its folder once this try is counted. Env is
	// to be changed only if it is. Without a counter CountAs is empty.
	Counted File
	CountAs string
	// Err says why this entry cannot be started by us. It is shown all the same, for menus number their entries.
	Err error
}

// Hypervisor is a program that is started by the Multiboot Specification, such as Xen. Kernel and initramfs are its first two modules.
type Hypervisor struct {
	File File
	// Multiboot is the version of the specification: 1 or 2.
	Multiboot int
	Cmdline   string
	// Modules are given to it besides.
	Modules []File
}

// same reports whether two hypervisors, of which either may be none, are started the same way.
func (h *Hypervisor) same(o *Hypervisor) bool {
	if h == nil || o == nil {
		return h == o
	}
	return h.File == o.File && h.Multiboot == o.Multiboot && h.Cmdline == o.Cmdline && slices.Equal(h.Modules, o.Modules)
}

// ErrNotLinux marks entries that start something other than a Linux kernel, by itself or by a hypervisor.
var ErrNotLinux = errors.New("it does not start a Linux kernel")

// String is the title below those of its submenus.
func (e *Entry) String() string {
	return strings.Join(append(e.Submenus[:len(e.Submenus):len(e.Submenus)], e.Title), " > ")
}

// same reports whether two entries start the same thing.
func (e *Entry) same(o *Entry) bool {
	return e.Kernel == o.Kernel && e.Cmdline == o.Cmdline && slices.Equal(e.Initramfs, o.Initramfs) && e.Hypervisor.same(o.Hypervisor)
}

// Menu is what a disk offers.
type Menu struct {
	// Entries are in the order of the menus, submenus in place.
	Entries []*Entry
	// Default is the index of the entry to start when nobody chooses; -1 if there is none that can be started.
	Default int
	// Timeout is how long its configuration waits for a choice; negative is for ever.
	Timeout time.Duration
	// Env is what showing the menu changes in environment blocks or variables, in order: GRUB forgets its next_entry here,
	// systemd-boot what is for one boot.
	Env []EnvChange
	// Problems are what could not be read or understood on the way. A menu with entries may have some.
	Problems []error

	tree []item
}

// item is an entry, or a submenu with its items.
type item struct {
	id, title string
	entry     *Entry
	items     []item
}

// maxEntries bounds what one configuration may offer.
const maxEntries = 4096

// flatten lists the entries below items.
func flatten(items []item) []*Entry {
	var all []*Entry
	for _, it := range items {
		if it.entry != nil {
			all = append(all, it.entry)
		}
		all = append(all, flatten(it.items)...)
	}
	return all
}

// Lookup finds an entry as GRUB's default names it: by number (from 0), identifier or title, with ">" between the levels of
// submenus; or by a pattern for its identifier or title, as in systemd-boot. It returns -1 if none fits.
func (m *Menu) Lookup(name string) int {
	if name == "" {
		return -1
	}
	e := lookup(m.tree, name)
	if e == nil {
		e = m.match(name)
	}
	for i := range m.Entries {
		if m.Entries[i] == e {
			return i
		}
	}
	return -1
}

func (m *Menu) match(pattern string) *Entry {
	flat := strings.NewReplacer("/", "\x00") // "*" is to match the "/" of "GNU/Linux", too
	for _, e := range m.Entries {
		for _, name := range []string{e.ID, e.Title, e.String()} {
			if ok, _ := path.Match(flat.Replace(pattern), flat.Replace(name)); ok || name == pattern {
				return e
			}
		}
	}
	return nil
}

func lookup(items []item, name string) *Entry {
	here, below, deeper := strings.Cut(name, ">")
	for i, it := range items {
		// A title may have the separator in it.
		if it.entry != nil && (name == it.id || name == it.title) {
			return it.entry
		}
		if here == "" || here != it.id && here != it.title && here != strconv.Itoa(i) {
			continue
		}
		switch {
		case it.entry != nil:
			return it.entry
		case deeper:
			return lookup(it.items, below)
		}
		if all := flatten(it.items); len(all) > 0 {
			return all[0]
		}
	}
	return nil
}

// Order is the indexes of the entries that can be started, in the order in which to try them: first, then those after it in the
// menu, then those before it.
func (m *Menu) Order(first int) []int {
	var order []int
	for i := range m.Entries {
		at := (max(first, 0) + i) % len(m.Entries)
		if m.Entries[at].Err == nil {
			order = append(order, at)
		}
	}
	return order
}

// finish fills in what follows from the tree. Without a usable default it is the first entry that can be started.
func (m *Menu) finish(fallback string) {
	m.Entries = flatten(m.tree)
	m.Default = -1
	if fallback != "" {
		m.Default = m.Lookup(fallback)
	}
	if m.Default >= 0 && m.Entries[m.Default].Err == nil {
		return
	}
	if order := m.Order(max(m.Default, 0)); len(m.Entries) > 0 && len(order) > 0 {
		m.Default = order[0]
		return
	}
	m.Default = -1
}

// clean makes a path absolute and leaves no dots in it.
func clean(name string) string { return path.Clean("/" + name) }

// inFS is a path as package fs wants it.
func inFS(name string) string {
	if name = clean(name); name != "/" {
		return name[1:]
	}
	return "."
}

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 4 << 20

// ErrTooLarge marks files beyond what makes sense for them.
var ErrTooLarge = errors.New("the file is too large")

// readConfig reads a small file whole.
func readConfig(v *Volume, name string) ([]byte, error) { return v.read(name, maxConfig) }

// read reads a file of at most limit bytes. A file that is shorter than it says is an error.
func (v *Volume) read(name string, limit int64) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("read %s: %w", File{v, name}, err) }
	if at, size, ok := (File{v, name}).Blocks(); ok {
		data, err := v.readBlocks(at, size, limit)
		if err != nil {
			return fail(err)
		}
		return data, nil
	}
	f, err := v.Files.Open(inFS(name))
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return fail(err)
	case info.IsDir():
		return fail(errors.New("it is a folder"))
	case info.Size() > limit:
		return fail(fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, info.Size(), limit))
	}
	data := make([]byte, info.Size())
	if n, err := readFull(f, data); n < len(data) {
		return fail(fmt.Errorf("after %d of %d bytes: %w", n, len(data), err))
	}
	return data, nil
}

func (v *Volume) exists(name string) bool {
	if _, _, ok := (File{v, name}).Blocks(); ok {
		return v.Raw != nil
	}
	_, err := fs.Stat(v.Files, inFS(name))
	return err == nil
}

func statFile(f File) (fs.FileInfo, error) { return fs.Stat(f.Volume.Files, inFS(f.Path)) }
