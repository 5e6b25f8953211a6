package modules

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// insertFile puts an uncompressed module file into the kernel.
func insertFile(file, parameters string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), parameters, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
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
