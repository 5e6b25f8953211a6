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
	q := l.Queue(t.Context())
	defer q.Close()
	for name, do := range map[string]func() (int, error){
		"read":           func() (int, error) { return l.ReadAt(p[:4096], 8192) },
		"long read":      func() (int, error) { return l.ReadAt(p, 0) },
		"unaligned read": func() (int, error) { return l.ReadAt(p[:5000], 777) },
		"write":          func() (int, error) { return l.WriteAt(p[:4096], 8192) },
		"long write":     func() (int, error) { return l.WriteAt(p, 0) },
		"queue": func() (int, error) {
			for i := range 8 {
				q.Write(p[i*4096:][:4096], int64(i*4096), i)
				q.Read(p[i*8192:][:8192], int64(i*8192), i)
			}
			for range 16 {
				if c, ok := q.Next(); !ok || c.Err != nil {
					return 0, c.Err
				}
			}
			return 0, nil
		},
		"partial write": func() (int, error) { return l.WriteAt(p[:5000], 777) },
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
