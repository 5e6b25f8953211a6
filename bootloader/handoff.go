package bootloader

import "fmt"

// Handoff gives the machine to what the LUN holds.
type Handoff interface {
	// Stringer names the way in logs and timelines, such as "switch root".
	fmt.Stringer
	// Check reports what would make Start fail. It changes nothing.
	Check() error
	// Start does not return if it succeeds. It checks first; an error that wraps ErrPastReturn leaves nothing to go back to,
	// after any other the machine is as it was.
	Start() error
}
