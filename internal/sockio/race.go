//go:build race

package sockio

import "sync/atomic"

// io orders what comes before a write before what comes after a read of what was
// written; as package syscall does, for all descriptors together.
var io atomic.Uint32

func release() { io.Add(1) }
func acquire() { io.Load() }
