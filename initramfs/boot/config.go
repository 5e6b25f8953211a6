package boot

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/ibft"
)

// Source says where the table may come from.
type Source string

// Sources, as the kernel command line's bootlun.source= names them.
const (
	SourceAuto    Source = "auto"    // a root path of the command line, else the firmware's table, else DHCP
	SourceTable   Source = "table"   // the firmware's table only
	SourceDHCP    Source = "dhcp"    // a DHCP lease's root path only
	SourceCmdline Source = "cmdline" // bootlun.rootpath= only
)

// OnFailure says what the machine does when it cannot boot.
type OnFailure string

// Failure actions, as bootlun.failure= names them.
const (
	FailShell    OnFailure = "shell"
	FailPowerOff OnFailure = "poweroff"
	FailReboot   OnFailure = "reboot"
)

// Handoff says what is started from the LUN.
type Handoff string

// Handoffs, as bootlun.handoff= names them.
const (
	HandoffSwitchRoot Handoff = "switch_root" // its root, with the kernel that runs
	HandoffKexec      Handoff = "kexec"       // its own kernel, as its boot loader is configured
	HandoffBootSector Handoff = "int13h"      // its own boot sector, and the kernel that this loads
)

// Config is what the kernel command line says of this boot. [ParseCmdline]
// makes one, with the defaults of what is not said.
type Config struct {
	Source    Source
	RootPaths []string     // bootlun.rootpath=, RFC 4173 URIs; several are several paths
	Initiator string       // bootlun.initiator=, an iSCSI name
	Address   netip.Prefix // bootlun.address=; absent means DHCP
	Gateway   netip.Addr   // bootlun.gateway=
	BootIF    net.HardwareAddr
	Failure   OnFailure
	Timeout   time.Duration // bootlun.timeout=, for each step; default 60 s
	Debug     bool

	Handoff Handoff        // bootlun.handoff=; empty is switch_root
	Entry   string         // bootlun.entry=, with kexec: an entry as GRUB's default names it
	Menu    *time.Duration // bootlun.menu=, with kexec: how long to show the menu; negative is for ever, nil as the LUN's configuration says
	Bench   string         // bootlun.bench=, with kexec: host:port that sends without end, for a comparison of ways to read
	// ReadOnly refuses what the boot loader writes (bootlun.readonly, with int13h).
	ReadOnly bool

	// Root says which root to start and how: root=, rootfstype=, rootflags=, ro, rw, init=.
	Root bootloader.Spec
}

// options maps a command-line key to what it sets. A key may come several
// times; the last one counts, except bootlun.rootpath, which adds.
var options = map[string]func(c *Config, value string) error{
	"bootlun.source": func(c *Config, v string) error {
		return oneOf(&c.Source, v, SourceAuto, SourceTable, SourceDHCP, SourceCmdline)
	},
	"bootlun.failure": func(c *Config, v string) error {
		return oneOf(&c.Failure, v, FailShell, FailPowerOff, FailReboot)
	},
	"bootlun.rootpath": func(c *Config, v string) error {
		c.RootPaths = append(c.RootPaths, v)
		_, err := ibft.ParseRootPath(v)
		return err
	},
	"bootlun.initiator": func(c *Config, v string) error { c.Initiator = v; return nil },
	"bootlun.address":   func(c *Config, v string) (err error) { c.Address, err = netip.ParsePrefix(v); return },
	"bootlun.gateway":   func(c *Config, v string) (err error) { c.Gateway, err = netip.ParseAddr(v); return },
	"bootlun.timeout":   func(c *Config, v string) (err error) { c.Timeout, err = parseTimeout(v); return },
	"bootlun.handoff": func(c *Config, v string) error {
		return oneOf(&c.Handoff, v, HandoffSwitchRoot, HandoffKexec, HandoffBootSector)
	},
	"bootlun.entry":    func(c *Config, v string) error { c.Entry = v; return nil },
	"bootlun.menu":     func(c *Config, v string) (err error) { c.Menu, err = parseMenu(v); return },
	"bootlun.bench":    func(c *Config, v string) error { c.Bench = v; return nil },
	"bootlun.readonly": func(c *Config, _ string) error { c.ReadOnly = true; return nil },
	"bootlun.debug":    func(c *Config, _ string) error { c.Debug = true; return nil },
	"BOOTIF":           func(c *Config, v string) (err error) { c.BootIF, err = parseBootIF(v); return },
}

// ParseCmdline reads a kernel command line. Options of other programs are
// passed over; a bootlun.* option that does not exist or has a bad value is
// reported, all of them at once, beside the configuration of the good ones.
func ParseCmdline(cmdline string) (Config, error) {
	c := Config{Source: SourceAuto, Failure: FailShell, Timeout: time.Minute}
	var errs []error
	spec, err := bootloader.ParseCommandLine(cmdline)
	c.Root = spec
	if err != nil {
		errs = append(errs, fmt.Errorf("kernel command line: %w", err))
	}
	for _, word := range splitCmdline(cmdline) {
		key, value, _ := strings.Cut(word, "=")
		set, known := options[key]
		if !known {
			if strings.HasPrefix(key, "bootlun.") {
				errs = append(errs, fmt.Errorf("kernel command line: there is no option %q; docs/first-boot.md lists them", key))
			}
			continue
		}
		if err := set(&c, value); err != nil {
			errs = append(errs, fmt.Errorf("kernel command line: %s=%s: %w", key, value, err))
		}
	}
	return c, errors.Join(errs...)
}

// splitCmdline splits at white space outside double quotes, as the kernel does.
func splitCmdline(s string) []string {
	quoted := false
	words := strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\n')
	})
	for i, w := range words {
		words[i] = strings.ReplaceAll(w, `"`, "")
	}
	return words
}

func oneOf[T ~string](dst *T, value string, allowed ...T) error {
	for _, a := range allowed {
		if T(value) == a {
			*dst = a
			return nil
		}
	}
	return fmt.Errorf("want one of %v", allowed)
}

func parseTimeout(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err == nil && d <= 0 {
		err = errors.New("want a positive duration such as 90s")
	}
	return d, err
}

// parseMenu reads how long to show the menu.
func parseMenu(v string) (*time.Duration, error) {
	d := time.Duration(-1)
	if v == "wait" {
		return &d, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return nil, errors.New("want a duration such as 5s, 0 for no menu, or wait")
	}
	return &d, nil
}

// parseBootIF reads PXELINUX's and iPXE's BOOTIF: a hardware type, then the
// MAC address, all joined by hyphens ("01-52-54-00-12-34-56").
func parseBootIF(v string) (net.HardwareAddr, error) {
	_, mac, found := strings.Cut(v, "-")
	if !found {
		return nil, errors.New("want a hardware type and a MAC address such as 01-52-54-00-12-34-56")
	}
	return net.ParseMAC(mac)
}
