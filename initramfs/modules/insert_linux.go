package modules

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// maxModule bounds one module, decompressed, in bytes.
const maxModule = 256 << 20

// insertFile puts a module file, plain or .zst, into the kernel.
func insertFile(file, parameters string) error {
	insert := insertPlain
	if filepath.Ext(file) == ".zst" {
		insert = insertZstd
	}
	err := insert(file, parameters)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func insertPlain(file, parameters string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), parameters, 0)
}

func insertZstd(file, parameters string) error {
	packed, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	// A decoder for each file: few are loaded, and none is to stay in the
	// memory of a PID 1 that lives on.
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxModule))
	if err != nil {
		return err
	}
	defer z.Close()
	image, err := z.DecodeAll(packed, nil)
	if err != nil {
		return &os.PathError{Op: "decompress", Path: file, Err: err}
	}
	return unix.InitModule(image, parameters)
}

func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// hint says what the kernel means by an error of finit_module.
func hint(err error) string {
	switch err {
	case unix.ENOENT: // bare, so not that of a missing file
		return " (it needs a symbol that the kernel and its modules do not have)"
	case unix.ENOEXEC:
		return " (the module is of another kernel, or no module)"
	case unix.ENODEV:
		return " (the machine has no device for it)"
	case unix.EKEYREJECTED, unix.ENOKEY:
		return " (its signature is missing or unknown to this kernel)"
	case unix.ENOSYS, unix.EPERM:
		return " (this kernel takes no modules, or the caller is not root)"
	}
	return ""
}
