//go:build tools

// The commands that images carry are programs, so no code imports them. These
// lines keep their modules in go.mod.

package initramfs

import (
	_ "github.com/u-root/u-root/cmds/core/cat"
	_ "github.com/u-root/u-root/cmds/core/gosh"
	_ "github.com/u-root/u-root/cmds/core/ip"
)
