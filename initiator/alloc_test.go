//go:build !race

package initiator

import "testing"

// Reading and writing, aligned or not, does not allocate. (The race detector makes
// sync.Pool forget.)
func TestAllocations(t *testing.T) {
	g := startTGT(t)
	g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	l := openLUN(t, dial(t, g.config(tgtTarget)), 1)
	p := make([]byte, 3<<20)
	for name, do := range map[string]func() (int, error){
		"read":           func() (int, error) { return l.ReadAt(p[:4096], 8192) },
		"long read":      func() (int, error) { return l.ReadAt(p, 0) },
		"unaligned read": func() (int, error) { return l.ReadAt(p[:5000], 777) },
		"write":          func() (int, error) { return l.WriteAt(p[:4096], 8192) },
		"long write":     func() (int, error) { return l.WriteAt(p, 0) },
		"partial write":  func() (int, error) { return l.WriteAt(p[:5000], 777) },
	} {
		allocs := testing.AllocsPerRun(100, func() {
			if _, err := do(); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
