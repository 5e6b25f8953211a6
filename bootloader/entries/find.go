package entries

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Where loaders look for their configuration, on any volume.
var (
	grubPaths = []string{"/boot/grub/grub.cfg", "/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub2/grub.cfg"}

	syslinuxPaths = []string{
		"/boot/extlinux/extlinux.conf", "/extlinux/extlinux.conf", "/extlinux.conf", "/boot/extlinux.conf",
		"/boot/syslinux/syslinux.cfg", "/syslinux/syslinux.cfg", "/syslinux.cfg", "/EFI/syslinux/syslinux.cfg",
		"/boot/isolinux/isolinux.cfg", "/isolinux/isolinux.cfg", "/isolinux.cfg",
	}
)

// ErrNoEntries means that the disk has nothing that can be started this way.
var ErrNoEntries = errors.New("no configuration of a boot loader and no kernel was found that can be started")

// FindOptions say what the machine is.
type FindOptions struct {
	// EFI is whether its firmware is UEFI's: a configuration may ask.
	EFI bool
	// Variables are the firmware's by which an installed system speaks to systemd-boot ("The Boot Loader Interface"), those of
	// LoaderVariables that are set; nil without such firmware.
	Variables map[string]string
}

// Find makes one menu of all the configurations on the volumes. The first that has something to start, in the order GRUB,
// systemd-boot, syslinux, has the say on default and timeout; what the others have besides comes after it. Kernels that no
// configuration names are looked for only if there is none. The error wraps ErrNoEntries if there is nothing at all, with
// all that went wrong.
func Find(volumes []*Volume, o FindOptions) (Menu, error) {
	var menu Menu
	menu.Default = -1
	for _, read := range []func([]*Volume, FindOptions) []Menu{findGRUB, findSDBoot, findSyslinux} {
		for _, m := range read(volumes, o) {
			menu.add(m)
		}
	}
	if menu.Default < 0 {
		menu.add(findPlain(volumes))
	}
	if menu.Default < 0 {
		return menu, errors.Join(append([]error{ErrNoEntries}, menu.why()...)...)
	}
	return menu, nil
}

// why is what went wrong, with what each entry lacks.
func (m *Menu) why() []error {
	errs := slices.Clone(m.Problems)
	for _, e := range m.Entries {
		if e.Err != nil {
			errs = append(errs, fmt.Errorf("%q of %s: %w", e, e.Source, e.Err))
		}
	}
	return errs
}

// add puts another menu behind m, without entries that m has already.
func (m *Menu) add(o Menu) {
	m.Problems = append(m.Problems, o.Problems...)
	if len(o.Entries) == 0 {
		return
	}
	if m.Default < 0 && o.Default >= 0 {
		// What m has so far cannot be started; numbers in names are o's.
		o.Problems = m.Problems
		o.tree = append(o.tree, m.tree...)
		o.Entries = append(o.Entries, m.Entries...)
		*m = o
		return
	}
	for _, it := range o.tree {
		if it.entry != nil && slices.ContainsFunc(m.Entries, it.entry.same) {
			continue
		}
		m.tree = append(m.tree, it)
	}
	m.Entries = flatten(m.tree)
}

func findGRUB(volumes []*Volume, o FindOptions) []Menu {
	platform := "pc"
	if o.EFI {
		platform = "efi"
	}
	var menus []Menu
	try := func(v *Volume, name string) {
		if !v.exists(name) {
			return
		}
		m, err := readGRUB(volumes, v, name, platform)
		if err != nil {
			m = Menu{Default: -1, Problems: []error{err}}
		}
		menus = append(menus, m)
	}
	eachPath(volumes, grubPaths, try)
	if len(menus) > 0 {
		return menus
	}
	// On an EFI system partition there is one that leads to the others, or is all there is.
	for _, v := range volumes {
		for _, dir := range []string{"/EFI", "/boot/efi/EFI"} {
			vendors, err := fs.ReadDir(v.Files, inFS(dir))
			if err != nil {
				continue
			}
			for _, vendor := range vendors {
				try(v, path.Join(dir, vendor.Name(), "grub.cfg"))
			}
		}
	}
	return menus
}

func findSDBoot(volumes []*Volume, o FindOptions) []Menu {
	return []Menu{readSDBoot(volumes, o.Variables)}
}

func findSyslinux(volumes []*Volume, _ FindOptions) []Menu {
	var menus []Menu
	eachPath(volumes, syslinuxPaths, func(v *Volume, name string) {
		if !v.exists(name) {
			return
		}
		m, err := readSyslinux(v, name)
		if err != nil {
			m = Menu{Default: -1, Problems: []error{err}}
		}
		menus = append(menus, m)
	})
	return menus
}

// maxSubvolumes bounds in how many of a volume's subvolumes is looked.
const maxSubvolumes = 32

// eachPath tries every path on every volume; on btrfs also in the subvolumes at its top, one of which is the root of most
// distributions.
func eachPath(volumes []*Volume, paths []string, try func(v *Volume, name string)) {
	for _, name := range paths {
		for _, v := range volumes {
			try(v, name)
		}
	}
	for _, v := range volumes {
		if v.FS.Type != "btrfs" {
			continue
		}
		top, err := fs.ReadDir(v.Files, ".")
		if err != nil {
			continue
		}
		for _, dir := range top[:min(len(top), maxSubvolumes)] {
			for _, name := range paths {
				if dir.IsDir() && dir.Name() != "boot" && dir.Name() != "EFI" {
					try(v, path.Join("/", dir.Name(), name))
				}
			}
		}
	}
}

// findPlain looks for kernels with their initramfs at /vmlinuz, /boot/vmlinuz and /boot/vmlinuz-VERSION.
func findPlain(volumes []*Volume) Menu {
	var menu Menu
	for _, v := range volumes {
		for _, dir := range []string{"/", "/boot"} {
			for _, kernel := range plainKernels(v, dir) {
				e := plainEntry(volumes, v, dir, kernel)
				if slices.ContainsFunc(flatten(menu.tree), e.same) {
					continue
				}
				menu.tree = append(menu.tree, item{id: e.ID, title: e.Title, entry: e})
			}
		}
	}
	menu.finish("0")
	return menu
}

// plainKernels lists the kernels in a folder: the one without a version, then the newest first.
func plainKernels(v *Volume, dir string) []string {
	files, err := fs.ReadDir(v.Files, inFS(dir))
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range files {
		name := f.Name()
		if (name == "vmlinuz" || strings.HasPrefix(name, "vmlinuz-")) && !strings.Contains(name, "rescue") && len(names) < maxEntries {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if (a == "vmlinuz") != (b == "vmlinuz") {
			return len(a) - len(b)
		}
		return compareVersions(b, a)
	})
	return names
}

// plainEntry has as root the volume that the kernel is on, unless only another can be one.
func plainEntry(volumes []*Volume, v *Volume, dir, kernel string) *Entry {
	version := strings.TrimPrefix(strings.TrimPrefix(kernel, "vmlinuz"), "-")
	e := &Entry{
		ID: kernel, Title: strings.TrimSpace("Linux " + version), Source: File{v, dir}.String(),
		Kernel: File{v, path.Join(dir, kernel)},
	}
	for _, name := range []string{"initrd.img-" + version, "initramfs-" + version + ".img", "initrd-" + version, "initrd.img", "initrd"} {
		if v.exists(path.Join(dir, name)) && (version == "") == !strings.Contains(name, "-") {
			e.Initramfs = []File{{v, path.Join(dir, name)}}
			break
		}
	}
	root := v
	if !v.exists("/etc") {
		for _, o := range volumes {
			if o.FS.CanHoldRoot() && o.exists("/etc") {
				root = o
				break
			}
		}
	}
	switch {
	case root.FS.UUID != "" && root.FS.CanHoldRoot():
		e.Cmdline = "root=UUID=" + root.FS.UUID + " ro"
	case root.UUID != "":
		e.Cmdline = "root=PARTUUID=" + root.UUID + " ro"
	default:
		e.Err = errors.New("it is not known which volume is its root")
	}
	return e
}
