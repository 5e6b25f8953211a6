//go:build tools

// The commands that images carry are programs, so no code imports them. These
// lines keep in go.mod what they are built from. The shell is represented by
// its interpreter: of its three line editors, which we build without, two would
// bring twenty modules more.

package initramfs

import (
	_ "github.com/u-root/u-root/cmds/core/free"
	_ "github.com/u-root/u-root/cmds/core/insmod"
	_ "github.com/u-root/u-root/cmds/core/ip"
	_ "github.com/u-root/u-root/cmds/core/ls"
	_ "github.com/u-root/u-root/cmds/core/netstat"
	_ "github.com/u-root/u-root/cmds/core/ping"
	_ "golang.org/x/term"
	_ "mvdan.cc/sh/v3/interp"
)
