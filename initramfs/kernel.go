package initramfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Kernel is a Linux kernel and the modules that belong to it.
type Kernel struct {
	// Image is the kernel's file, such as vmlinuz.
	Image string
	// Modules is its modules folder, such as /lib/modules/6.1.0-56-cloud-amd64.
	// It is empty for a kernel that has all it needs built in.
	Modules string
	// Version is the kernel's release, as uname -r prints it. It is empty when
	// there are no modules and the image does not tell.
	Version string
}

// LocalKernel takes a kernel and modules that the user has. The modules folder
// is that of the one kernel, or a tree that holds it as lib/modules/VERSION;
// it may be empty. It is an error if the two are of different versions.
func LocalKernel(image, modulesDir string) (Kernel, error) {
	k := Kernel{Image: image}
	version, err := imageVersion(image)
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel %s: %w", image, err)
	}
	k.Version = version
	if modulesDir == "" {
		return k, nil
	}
	if k.Modules, err = modulesFolder(modulesDir); err != nil {
		return Kernel{}, err
	}
	ofModules := filepath.Base(k.Modules)
	if k.Version == "" {
		k.Version = ofModules
	}
	if k.Version != ofModules {
		return Kernel{}, fmt.Errorf("kernel %s is version %s but the modules in %s are of %s; give the modules of that kernel",
			image, k.Version, k.Modules, ofModules)
	}
	return k, nil
}

// modulesFolder finds the folder of the one kernel whose modules are in dir.
func modulesFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(filepath.Join(dir, "kernel")); err == nil && info.IsDir() {
		return dir, nil
	}
	var found []string
	for _, pattern := range []string{"lib/modules/*", "usr/lib/modules/*"} {
		matches, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		found = append(found, matches...)
	}
	if len(found) == 2 && sameFile(found[0], found[1]) { // lib is a link to usr/lib
		found = found[:1]
	}
	if len(found) != 1 {
		return "", fmt.Errorf("kernel modules: %s holds neither a folder \"kernel\" nor one lib/modules/VERSION (found %d); give the folder of one kernel", dir, len(found))
	}
	return found[0], nil
}

func sameFile(a, b string) bool {
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}

// Offsets into an x86 kernel image (Linux, Documentation/arch/x86/boot.rst).
const (
	bzMagic         = 0x202 // "HdrS"
	bzKernelVersion = 0x20e // 16 bits: where the version text is, less 0x200
	bzHeaderSize    = 0x210
	maxVersion      = 256 // bytes of version text looked at
)

// imageVersion reads the release from a kernel image. It is empty for an image
// that is not an x86 one: those do not tell.
func imageVersion(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var header [bzHeaderSize]byte
	if _, err := f.ReadAt(header[:], 0); errors.Is(err, io.EOF) {
		return "", errors.New("not a kernel image: too short")
	} else if err != nil {
		return "", err
	}
	if string(header[bzMagic:bzMagic+4]) != "HdrS" {
		return "", nil
	}
	at := int64(binary.LittleEndian.Uint16(header[bzKernelVersion:]))
	if at == 0 {
		return "", nil
	}
	var text [maxVersion]byte
	n, err := f.ReadAt(text[:], at+0x200)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line, _, _ := strings.Cut(string(text[:n]), "\x00")
	version, _, _ := strings.Cut(line, " ")
	return version, nil
}
