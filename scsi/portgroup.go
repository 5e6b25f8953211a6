package scsi

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// AccessState is the asymmetric access state of a target port group (SPC-4,
// 5.15.2.1): how well a unit is reached by its ports.
type AccessState uint8

// Asymmetric access states.
const (
	ActiveOptimized    AccessState = 0x0
	ActiveNonOptimized AccessState = 0x1
	Standby            AccessState = 0x2
	Unavailable        AccessState = 0x3
	Offline            AccessState = 0xe
	Transitioning      AccessState = 0xf
)

// accessStates are the names that Linux has for them.
var accessStates = map[AccessState]string{
	ActiveOptimized: "active/optimized", ActiveNonOptimized: "active/non-optimized", Standby: "standby",
	Unavailable: "unavailable", Offline: "offline", Transitioning: "transitioning",
}

// String returns the state's name, such as "active/non-optimized".
func (s AccessState) String() string {
	if name := accessStates[s]; name != "" {
		return name
	}
	return fmt.Sprintf("access state %d", uint8(s))
}

// MarshalText implements [encoding.TextMarshaler].
func (s AccessState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] for the names of String.
func (s *AccessState) UnmarshalText(text []byte) error {
	for state, name := range accessStates {
		if name == string(text) {
			*s = state
			return nil
		}
	}
	return fmt.Errorf("scsi: %q is no asymmetric access state: there are active/optimized, active/non-optimized, standby and unavailable", text)
}

// Active reports whether a unit carries out all commands by ports in the state.
func (s AccessState) Active() bool { return s == ActiveOptimized || s == ActiveNonOptimized }

// What has brought a target port group into its state (SPC-4, 6.37).
const (
	AccessUnchanged  = 0
	AccessByCommand  = 1 // SET TARGET PORT GROUPS
	AccessByImplicit = 2 // the device itself
)

// PortGroup is a target port group as REPORT TARGET PORT GROUPS describes it.
type PortGroup struct {
	ID        uint16
	State     AccessState
	Preferred bool
	Status    uint8    // one of Access...
	Ports     []uint16 // relative identifiers, at most 255
}

// supportedStates are those that AppendPortGroups says of every group that it can
// have: the two active ones, standby and unavailable.
const supportedStates = 0x0f

// ReportTargetPortGroups is REPORT TARGET PORT GROUPS (SPC-4, 6.37).
type ReportTargetPortGroups struct {
	Extended bool   // with the extended header
	Length   uint32 // allocation length
}

// CDB builds the command.
func (r ReportTargetPortGroups) CDB() CDB {
	c := CDB{byte(OpMaintenanceIn), bit(r.Extended, 0x20) | ActionReportTargetPortGroups}
	c.put32(6, r.Length)
	return c
}

// ParseReportTargetPortGroups takes the command apart.
func ParseReportTargetPortGroups(c *CDB) ReportTargetPortGroups {
	return ReportTargetPortGroups{Extended: c[1]>>5 == 1, Length: c.u32(6)}
}

// AppendPortGroups appends the data of REPORT TARGET PORT GROUPS.
func AppendPortGroups(dst []byte, groups []PortGroup, extended bool) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if extended {
		dst = append(dst, 0x10, 0, 0, 0) // no time is told for transitions
	}
	for _, g := range groups {
		ports := g.Ports[:min(len(g.Ports), 255)]
		dst = append(dst, bit(g.Preferred, 0x80)|byte(g.State)&0x0f, supportedStates, byte(g.ID>>8), byte(g.ID),
			0, g.Status, 0, byte(len(ports)))
		for _, p := range ports {
			dst = append(dst, 0, 0, byte(p>>8), byte(p))
		}
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// ParsePortGroups reads the data of REPORT TARGET PORT GROUPS, with either header.
// A last descriptor that is cut off is left out.
func ParsePortGroups(b []byte) ([]PortGroup, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("scsi: REPORT TARGET PORT GROUPS data: %d bytes, want at least 4", len(b))
	}
	b = b[4:min(uint64(len(b)), 4+uint64(binary.BigEndian.Uint32(b)))]
	if len(b) >= 4 && b[0]&0x70 == 0x10 {
		b = b[4:]
	}
	var groups []PortGroup
	for len(b) >= 8 && len(b) >= 8+4*int(b[7]) {
		g := PortGroup{
			ID: binary.BigEndian.Uint16(b[2:]), State: AccessState(b[0] & 0x0f), Preferred: b[0]&0x80 != 0, Status: b[5],
		}
		for p := range slices.Chunk(b[8:8+4*int(b[7])], 4) {
			g.Ports = append(g.Ports, binary.BigEndian.Uint16(p[2:]))
		}
		groups = append(groups, g)
		b = b[8+4*int(b[7]):]
	}
	return groups, nil
}

// SetTargetPortGroups is SET TARGET PORT GROUPS (SPC-4, 6.45).
type SetTargetPortGroups struct {
	Length uint32 // parameter list length
}

// CDB builds the command.
func (s SetTargetPortGroups) CDB() CDB {
	c := CDB{byte(OpMaintenanceOut), ActionSetTargetPortGroups}
	c.put32(6, s.Length)
	return c
}

// ParseSetTargetPortGroups takes the command apart.
func ParseSetTargetPortGroups(c *CDB) SetTargetPortGroups {
	return SetTargetPortGroups{Length: c.u32(6)}
}

// AppendSetPortGroups appends the parameter list of SET TARGET PORT GROUPS, of
// which groups' ID and State count.
func AppendSetPortGroups(dst []byte, groups []PortGroup) []byte {
	dst = append(dst, 0, 0, 0, 0)
	for _, g := range groups {
		dst = append(dst, byte(g.State)&0x0f, 0, byte(g.ID>>8), byte(g.ID))
	}
	return dst
}

// ParseSetPortGroups reads the parameter list of SET TARGET PORT GROUPS.
func ParseSetPortGroups(b []byte) ([]PortGroup, error) {
	if len(b) < 4 || len(b)%4 != 0 {
		return nil, CheckCondition(KeyIllegalRequest, ASCParameterListLength)
	}
	var groups []PortGroup
	for d := range slices.Chunk(b[4:], 4) {
		groups = append(groups, PortGroup{ID: binary.BigEndian.Uint16(d[2:]), State: AccessState(d[0] & 0x0f)})
	}
	return groups, nil
}
