package ibft

import (
	"fmt"
	"strconv"
	"strings"
)

// Flags that the initiator, the NIC and the target structure share.
const (
	Valid        = 1 << 0 // the structure is in use
	BootSelected = 1 << 1 // firmware booted, or is to boot, by it
)

// Flags of one structure alone.
const (
	// SingleLogin is the control structure's: "boot failover" to edk2 and FreeBSD, "log in once only" to iPXE.
	SingleLogin ControlFlags = 1 << 0
	// Global is the NIC's: its address is global, not link-local.
	Global NICFlags = 1 << 2
	// RADIUSCHAP and RADIUSReverseCHAP are the target's: RADIUS verifies the secrets.
	RADIUSCHAP        TargetFlags = 1 << 2
	RADIUSReverseCHAP TargetFlags = 1 << 3
)

// ControlFlags are the flags of the control structure (iBFT, 1.4.4).
type ControlFlags uint8

// InitiatorFlags are the flags of an initiator structure.
type InitiatorFlags uint8

// NICFlags are the flags of a NIC structure.
type NICFlags uint8

// TargetFlags are the flags of a target structure.
type TargetFlags uint8

// The names of the bits, from bit 0 on.
const (
	controlFlagNames   = "single-login"
	initiatorFlagNames = "valid boot-selected"
	nicFlagNames       = "valid boot-selected global"
	targetFlagNames    = "valid boot-selected radius-chap radius-reverse-chap"
)

// String returns the names of the flags joined by commas, bits without a name as a number, and "none" for none.
func (f ControlFlags) String() string { return flagString(controlFlagNames, uint8(f)) }

// String returns the names of the flags joined by commas, bits without a name as a number, and "none" for none.
func (f InitiatorFlags) String() string { return flagString(initiatorFlagNames, uint8(f)) }

// String returns the names of the flags joined by commas, bits without a name as a number, and "none" for none.
func (f NICFlags) String() string { return flagString(nicFlagNames, uint8(f)) }

// String returns the names of the flags joined by commas, bits without a name as a number, and "none" for none.
func (f TargetFlags) String() string { return flagString(targetFlagNames, uint8(f)) }

// MarshalText returns String's form.
func (f ControlFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// MarshalText returns String's form.
func (f InitiatorFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// MarshalText returns String's form.
func (f NICFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// MarshalText returns String's form.
func (f TargetFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads String's form.
func (f *ControlFlags) UnmarshalText(text []byte) error {
	return unmarshalFlags(f, controlFlagNames, text)
}

// UnmarshalText reads String's form.
func (f *InitiatorFlags) UnmarshalText(text []byte) error {
	return unmarshalFlags(f, initiatorFlagNames, text)
}

// UnmarshalText reads String's form.
func (f *NICFlags) UnmarshalText(text []byte) error { return unmarshalFlags(f, nicFlagNames, text) }

// UnmarshalText reads String's form.
func (f *TargetFlags) UnmarshalText(text []byte) error {
	return unmarshalFlags(f, targetFlagNames, text)
}

func flagString(names string, v uint8) string {
	if v == 0 {
		return "none"
	}
	var set []string
	for i, name := range strings.Fields(names) {
		if v&(1<<i) != 0 {
			set = append(set, name)
			v &^= 1 << i
		}
	}
	if v != 0 {
		set = append(set, fmt.Sprintf("%#02x", v))
	}
	return strings.Join(set, ",")
}

func unmarshalFlags[F ~uint8](f *F, names string, text []byte) error {
	var v uint8
	for _, word := range strings.Split(string(text), ",") {
		bit, err := parseFlag(names, strings.TrimSpace(word))
		if err != nil {
			return err
		}
		v |= bit
	}
	*f = F(v)
	return nil
}

func parseFlag(names, word string) (uint8, error) {
	if word == "none" || word == "" {
		return 0, nil
	}
	for i, name := range strings.Fields(names) {
		if name == word {
			return 1 << i, nil
		}
	}
	n, err := strconv.ParseUint(word, 0, 8)
	if err != nil {
		return 0, fmt.Errorf("flag %q: neither a number up to 255 nor one of: %s", word, names)
	}
	return uint8(n), nil
}
