//go:build tools

// The commands on a tiny root are programs, so no code imports them. This keeps
// the modules in go.mod and go.sum that they need and nothing else does.

package rootfs

import (
	_ "github.com/u-root/u-root/cmds/core/gosh"
	_ "github.com/u-root/u-root/cmds/core/insmod"
)
