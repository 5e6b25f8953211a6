package netboot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// script is what iPXE runs on a machine. It tries again for ever: a machine that cannot reach its server has nothing
// better to do, and the server may be what is being restarted.
func (s *Server) script(m Machine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#!ipxe\n# %s boots %s in mode %s\n\n", m.label(), m.MAC, m.Mode)
	again := fmt.Sprintf("echo bootlun: %s could not be booted\n", m.label())
	if m.Mode == ModeSANBoot {
		sanBoot(&b, m)
	} else {
		s.kernelBoot(&b, m)
		again += fmt.Sprintf("iseq ${base} %[1]s && set base %[2]s || set base %[1]s\nimgfree\n", s.httpBase(), s.tftpBase())
	}
	fmt.Fprintf(&b, "\n:failed\n%s", again)
	b.WriteString("prompt --key s --timeout 5000 Trying again in 5 s; press s for a shell && shell ||\ngoto try\n")
	return b.String()
}

// kernelBoot loads the kernel, the machine's table where it is to have one, and the initramfs, by HTTP and TFTP in turn.
//
// An initramfs is named on the kernel's command line too: a kernel started by UEFI looks there for the ones to load,
// others pass over it.
func (s *Server) kernelBoot(b *strings.Builder, m Machine) {
	args := []string{"initrd=initramfs"}
	table := m.getsTable(s.cfg.DHCP)
	if table {
		args = []string{"initrd=ibft.cpio", "initrd=initramfs"}
	}
	args = append(args, "BOOTIF=01-${netX/mac:hexhyp}")
	args = append(args, strings.Fields(m.cmdline())...)
	fmt.Fprintf(b, "set base %s\n:try\necho bootlun: %s boots from ${base}\n", s.httpBase(), m.label())
	fmt.Fprintf(b, "kernel ${base}/%s %s || goto failed\n", s.bootFilePath(m, "kernel"), strings.Join(args, " "))
	if table {
		fmt.Fprintf(b, "initrd ${base}/%s || goto failed\n", machinePath(m.MAC, "ibft.cpio"))
	}
	fmt.Fprintf(b, "initrd ${base}/%s || goto failed\nboot || goto failed\n", s.bootFilePath(m, "initramfs"))
}

// sanBoot has iPXE attach the LUN as the first disk and start its boot sector. Secrets are written in hexadecimal, since
// a script line has no quotes.
func sanBoot(b *strings.Builder, m Machine) {
	if m.InitiatorName != "" {
		fmt.Fprintf(b, "set initiator-iqn %s\n", m.InitiatorName)
	}
	if m.CHAPName != "" {
		fmt.Fprintf(b, "set username %s\nset password:hex %s\n", m.CHAPName, colonHex(m.CHAPSecret.Reveal()))
	}
	if m.ReverseCHAPName != "" {
		secret := colonHex(m.ReverseCHAPSecret.Reveal())
		fmt.Fprintf(b, "set reverse-username %s\nset reverse-password:hex %s\n", m.ReverseCHAPName, secret)
	}
	fmt.Fprintf(b, ":try\nsanboot --drive 0x80 %s || goto failed\n", strings.Join(m.RootPaths, " "))
}

// chainScript sends a machine that the server cannot tell by its address to the script of its MAC address.
func (s *Server) chainScript() string {
	return fmt.Sprintf("#!ipxe\nchain --replace --autofree %s/boot.ipxe?mac=${netX/mac:hexhyp}\n", s.httpBase())
}

// bootFilePath is where a machine's kernel or initramfs is fetched: everybody's, unless it has one of its own.
func (s *Server) bootFilePath(m Machine, name string) string {
	if name == "kernel" && m.Kernel == s.cfg.Boot.Kernel || name == "initramfs" && m.Initramfs == s.cfg.Boot.Initramfs {
		return name
	}
	return machinePath(m.MAC, name)
}

// colonHex is s as iPXE's setting type "hex" reads it.
func colonHex(s string) string {
	pairs := make([]string, len(s))
	for i := range len(s) {
		pairs[i] = hex.EncodeToString([]byte{s[i]})
	}
	return strings.Join(pairs, ":")
}

// checkToken wants a string that iPXE takes as one word and as it stands, wherever in a line it is: scripts have no
// quotes and no escapes.
func checkToken(s string) error {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return errors.New("holds a space, a control character or one that is not ASCII: an iPXE script cannot carry it")
		}
	}
	if strings.Contains(s, "${") {
		return errors.New(`holds "${", which iPXE would expand`)
	}
	if strings.HasPrefix(s, "-") {
		return errors.New(`begins with "-", which iPXE would take for an option`)
	}
	return checkWord(s)
}

// checkCmdline wants a kernel command line whose words iPXE does not take for its own syntax.
func checkCmdline(s string) error {
	for _, word := range strings.Fields(s) {
		for _, r := range word {
			if r < ' ' || r == 0x7f {
				return fmt.Errorf("cmdline: %q holds a control character", word)
			}
		}
		if err := checkWord(word); err != nil {
			return fmt.Errorf("cmdline: %q: %w", word, err)
		}
	}
	return nil
}

func checkWord(word string) error {
	switch {
	case word == "||" || word == "&&" || word == ";":
		return errors.New("ends a command in an iPXE script")
	case strings.HasPrefix(word, "#"):
		return errors.New(`begins with "#", a comment in an iPXE script`)
	case strings.HasSuffix(word, `\`):
		return errors.New(`ends with "\", which joins lines in an iPXE script`)
	}
	return nil
}
