package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"unicode/utf16"

	"github.com/u-root/u-root/pkg/efivarfs"

	"github.com/bootlun/bootlun/bootloader/entries"
)

// loaderVendor is whose the variables of systemd-boot are (systemd, "The Boot Loader Interface").
const loaderVendor = "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// variables are the firmware's by which an installed system and its boot loader speak with one another.
type variables struct{ efi efivarfs.EFIVar }

// firmwareVariables has the kernel show the firmware's variables. Without any it gives nil.
func (m *machine) firmwareVariables(ctx context.Context) efivarfs.EFIVar {
	if !hasEFI() {
		return nil
	}
	err := m.loadModule(ctx, "efivarfs")
	if err == nil {
		err = syscall.Mount("efivarfs", efivarfs.DefaultVarFS, "efivarfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "")
	}
	if err != nil && !errors.Is(err, syscall.EBUSY) {
		m.log.Warn("the firmware's variables cannot be read", "error", err)
		return nil
	}
	efi, err := efivarfs.New()
	if err != nil {
		m.log.Warn("the firmware's variables cannot be read", "error", err)
		return nil
	}
	return efi
}

// read gives those that are set; nil without firmware that has any.
func (v variables) read() map[string]string {
	if v.efi == nil {
		return nil
	}
	set := make(map[string]string)
	for _, name := range entries.LoaderVariables() {
		if _, r, err := efivarfs.SimpleReadVariable(v.efi, name+loaderVendor); err == nil {
			raw, _ := io.ReadAll(r)
			set[name] = decodeVariable(raw)
		}
	}
	return set
}

// change writes them; what is unset is deleted. They stay over a reset: of others a running system cannot make any (UEFI 2.10, 8.2).
func (v variables) change(changes []entries.EnvChange) error {
	if v.efi == nil {
		return errors.New("this machine's firmware has no variables, or none that can be reached")
	}
	for _, c := range changes {
		name := c.Name + loaderVendor
		attributes, _, err := efivarfs.SimpleReadVariable(v.efi, name)
		if err != nil {
			attributes = efivarfs.AttributeNonVolatile | efivarfs.AttributeBootserviceAccess | efivarfs.AttributeRuntimeAccess
		}
		var data []byte // without any, the variable is deleted
		if !c.Unset {
			data = encodeVariable(c.Value)
		} else if err != nil {
			continue
		}
		if err := efivarfs.SimpleWriteVariable(v.efi, name, attributes, bytes.NewBuffer(data)); err != nil {
			return fmt.Errorf("write the EFI variable %s: %w", c.Name, err)
		}
	}
	return nil
}

// decodeVariable reads text as far as its zero.
func decodeVariable(raw []byte) string {
	var units []uint16
	for ; len(raw) >= 2; raw = raw[2:] {
		u := binary.LittleEndian.Uint16(raw)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

func encodeVariable(s string) (raw []byte) {
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		raw = binary.LittleEndian.AppendUint16(raw, u)
	}
	return raw
}
