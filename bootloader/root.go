package bootloader

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// System is what a look into a volume found.
type System struct {
	// Init is the path of its init program, empty if it holds none.
	Init string
	// Name is os-release's PRETTY_NAME, for messages; empty if there is none.
	Name string
}

// Look looks into a volume without changing it. [MountLook] is the one that mounts.
type Look func(context.Context, Volume) (System, error)

// Why a root was not found; the error that wraps them is a *RootError.
var (
	// ErrNoRoot means that no volume fits.
	ErrNoRoot = errors.New("no root file system found")
	// ErrAmbiguousRoot means that several volumes fit and nothing prefers one.
	ErrAmbiguousRoot = errors.New("several root file systems found")
)

// RootError says why FindRoot did not settle on a volume, and what there was to choose from.
type RootError struct {
	// Disk is the name of the disk.
	Disk string
	// Want is the selector that was to be met; zero if FindRoot was to choose.
	Want Selector
	// Volumes are all that the disk holds, or for ErrAmbiguousRoot those that fit.
	Volumes []Volume
	// Looks holds, by volume name, why looking into a volume failed.
	Looks map[string]error
	// Err is ErrNoRoot or ErrAmbiguousRoot.
	Err error
}

func (e *RootError) Unwrap() error { return e.Err }

// Error names the disk, what was wanted, every candidate and what to do.
func (e *RootError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v on %s", e.Err, e.Disk)
	if e.Want.By != "" {
		fmt.Fprintf(&b, " for root=%v", e.Want)
	}
	b.WriteString("; it has ")
	for i, v := range e.Volumes {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(v.String())
		if err := e.Looks[v.Name]; err != nil {
			fmt.Fprintf(&b, " (%v)", err)
		}
	}
	b.WriteString(": name one with root=UUID=… on the kernel command line")
	return b.String()
}

// FindRoot finds the volume of the disk to boot.
//
// With a selector in spec it is the one volume that matches. Without, it is the only volume that can hold a root; of
// several, the only one that look finds an init in; of several again, the only one whose GPT type is "root" for this
// architecture (Discoverable Partitions Specification). With a nil look the second step is left out.
//
// Errors are a *RootError that lists the candidates, or what reading the disk gave.
func FindRoot(ctx context.Context, d Disk, spec Spec, look Look) (Volume, error) {
	volumes, err := Scan(d)
	if err != nil {
		return Volume{}, err
	}
	if spec.Root.By != "" {
		fits := filter(volumes, spec.Root.matches)
		return settle(d, spec.Root, volumes, fits, nil)
	}
	fits := filter(volumes, func(v Volume) bool { return v.FS.CanHoldRoot() })
	var looks map[string]error
	if len(fits) > 1 && look != nil {
		fits, looks, err = withInit(ctx, fits, look)
		if err != nil {
			return Volume{}, err
		}
	}
	if len(fits) > 1 {
		typed := filter(fits, func(v Volume) bool { return v.Type == gptRootType(runtime.GOARCH) })
		if len(typed) == 1 {
			fits = typed
		}
	}
	return settle(d, Selector{}, volumes, fits, looks)
}

func filter(volumes []Volume, keep func(Volume) bool) []Volume {
	var kept []Volume
	for _, v := range volumes {
		if keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// withInit keeps the volumes that hold an init. A volume that cannot be looked into is no candidate, but told of.
func withInit(ctx context.Context, volumes []Volume, look Look) ([]Volume, map[string]error, error) {
	var kept []Volume
	looks := make(map[string]error)
	for _, v := range volumes {
		system, err := look(ctx, v)
		switch {
		case ctx.Err() != nil:
			return nil, nil, fmt.Errorf("look for an init on %s: %w", v.Name, context.Cause(ctx))
		case err != nil:
			looks[v.Name] = err
		case system.Init == "":
			looks[v.Name] = errors.New("holds no init")
		default:
			kept = append(kept, v)
		}
	}
	return kept, looks, nil
}

func settle(d Disk, want Selector, all, fits []Volume, looks map[string]error) (Volume, error) {
	name := d.Name
	if name == "" {
		name = "disk"
	}
	switch len(fits) {
	case 1:
		return fits[0], nil
	case 0:
		return Volume{}, &RootError{Disk: name, Want: want, Volumes: all, Looks: looks, Err: ErrNoRoot}
	default:
		return Volume{}, &RootError{Disk: name, Want: want, Volumes: fits, Looks: looks, Err: ErrAmbiguousRoot}
	}
}

// gptRootType is the "root" type of the Discoverable Partitions Specification; empty, and so matching no partition, for an
// architecture it is not known for here.
func gptRootType(arch string) string {
	switch arch {
	case "amd64":
		return "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
	case "386":
		return "44479540-f297-41b2-9af7-d131d5f0458a"
	case "arm64":
		return "b921b045-1df0-41c3-af44-4c6f280d3fae"
	case "riscv64":
		return "72ec70a6-cf74-40e6-bd49-4bda08e8f224"
	}
	return ""
}
