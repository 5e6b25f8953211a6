package netboot

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// cmdline is the kernel's command line, with what the machine is to start from its LUN at its end, where it counts.
func (m Machine) cmdline() string {
	words := []string{m.Cmdline}
	for _, o := range []struct{ key, value string }{{"handoff", m.Handoff}, {"entry", m.Entry}, {"menu", m.Menu}} {
		switch {
		case o.value == "":
		case strings.ContainsAny(o.value, " \t"):
			words = append(words, fmt.Sprintf(`bootlun.%s="%s"`, o.key, o.value))
		default:
			words = append(words, "bootlun."+o.key+"="+o.value)
		}
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// checkHandoff wants a choice that gets through iPXE's script and the kernel's command line to our init.
func (m Machine) checkHandoff() error {
	if m.Handoff+m.Entry+m.Menu == "" {
		return nil
	}
	if m.Mode != ModeImage {
		return fmt.Errorf("mode %s: handoff, entry and menu are for our init, which mode %s starts", m.Mode, ModeImage)
	}
	switch m.Handoff {
	case "", "switch_root", "kexec", "int13h":
	default:
		return fmt.Errorf("handoff %q: want switch_root, kexec or int13h", m.Handoff)
	}
	if m.Entry+m.Menu != "" && m.Handoff != "kexec" {
		return errors.New("entry and menu are of the LUN's own boot loader: they need handoff: kexec")
	}
	if strings.ContainsAny(m.Entry, `"$`) || strings.Join(strings.Fields(m.Entry), " ") != m.Entry {
		return fmt.Errorf("entry %q: quotes, dollar signs and several blanks in a row do not get to the machine; name it by its number, its identifier or a pattern with *", m.Entry)
	}
	if m.Menu == "" || m.Menu == "wait" {
		return nil
	}
	if d, err := time.ParseDuration(m.Menu); err != nil || d < 0 {
		return fmt.Errorf("menu %q: want a duration such as 5s, 0 for none, or wait", m.Menu)
	}
	return nil
}
