package kexec

import (
	"regexp"
	"slices"
	"strings"
)

// What makes an initramfs log in, by the table or without it (dracut.cmdline(7), "iSCSI"; Debian's
// open-iscsi/README.Debian, "Root on iSCSI"), and what sets up a network for dracut. A name that ends in "=" or ":" has anything behind.
var (
	toolsLogIn    = []string{"iscsi_auto", "iscsi_target_name=", "root=iscsi:"}
	dracutLogIn   = []string{"rd.iscsi.firmware", "rd.iscsi.firmware=", "iscsi_firmware", "netroot=", "root=iscsi:", "iscsiroot="}
	dracutNetwork = []string{"ip=", "rd.iscsi.ibft", "rd.iscsi.ibft="}
)

// Complete adds to a command line what the initramfs needs to go by the iBFT, unless that is there already or comes with the initramfs.
func Complete(cmdline string, c Contents) string {
	ours, _, _ := strings.Cut(" "+cmdline+" ", " -- ")
	words := append(strings.Fields(ours), strings.Fields(c.Words)...)
	var more []string
	switch c.Maker {
	case InitramfsTools:
		if !anyOf(words, toolsLogIn) {
			more = append(more, "iscsi_auto")
		}
	case Dracut:
		if !anyOf(words, dracutLogIn) {
			more = append(more, "rd.iscsi.firmware=1")
		}
		if !anyOf(words, dracutNetwork) {
			more = append(more, "rd.iscsi.ibft=1")
		}
	}
	return addWords(cmdline, more...)
}

// addWords adds words to a command line, before what follows " -- ": that is the init's, or of Xen's line the first domain's.
func addWords(cmdline string, more ...string) string {
	if len(more) == 0 {
		return cmdline
	}
	ours, rest, split := strings.Cut(" "+cmdline+" ", " -- ")
	line := strings.TrimSpace(ours) + " " + strings.Join(more, " ")
	if split {
		line += " -- " + strings.TrimSpace(rest)
	}
	return strings.TrimSpace(line)
}

func anyOf(words, wanted []string) bool {
	return slices.ContainsFunc(words, func(w string) bool {
		return slices.ContainsFunc(wanted, func(p string) bool {
			return w == p || strings.HasSuffix(p, "=") && strings.HasPrefix(w, p) || strings.HasSuffix(p, ":") && strings.HasPrefix(w, p)
		})
	})
}

// maxSettings bounds the files that brings names, in bytes.
const maxSettings = 64 << 10

// comments are those of a shell.
var comments = regexp.MustCompile(`(?m)^\s*#.*`)

// brings knows the files whose settings count as if they were on the command line.
func (c *Contents) brings(name string) bool {
	return name == "etc/iscsi.initramfs" || // open-iscsi's for initramfs-tools
		name == "etc/cmdline" || strings.HasPrefix(name, "etc/cmdline.d/") // dracut's
}

// settings takes from such a file the words that Complete asks for, without their values: those may be secrets.
func (c *Contents) settings(text string) {
	for w := range strings.FieldsSeq(comments.ReplaceAllString(text, "")) {
		name, value, assigned := strings.Cut(w, "=")
		switch {
		case name == "ISCSI_AUTO" && strings.Trim(value, `"'`) != "":
			w = "iscsi_auto"
		case name == "ISCSI_TARGET_NAME" && strings.Trim(value, `"'`) != "":
			w = "iscsi_target_name="
		case name == "root" && strings.HasPrefix(value, "iscsi:"):
			w = "root=iscsi:"
		case assigned:
			w = name + "="
		}
		if slices.Contains(toolsLogIn, w) || slices.Contains(dracutLogIn, w) || slices.Contains(dracutNetwork, w) {
			c.Words += " " + w
		}
	}
}
