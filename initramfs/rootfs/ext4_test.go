package rootfs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// variedTree has what is hard on a writer of file systems.
func variedTree() []entry {
	big := bytes.Repeat([]byte("0123456789abcde\n"), 20<<20/16)
	tree := []entry{
		folder("deep", 0o755), folder("deep/er", 0o700), folder("deep/er/still", 0o755|fs.ModeSticky),
		folder("many", 0o755),
		file("big", 0o755, big),
		file("odd", 0o600, big[:3<<20+17]),
		file("empty", 0o444, nil),
		file("setuid", 0o755|fs.ModeSetuid, []byte("x")),
		file("deep/er/still/"+strings.Repeat("n", maxName), 0o640, []byte("long name")),
		link("short", "big"),
		link("fits", strings.Repeat("5", 59)), // in the inode
		link("just", strings.Repeat("6", 60)), // in a block of its own
		link("long", "/"+strings.Repeat("x/", 1000)),
	}
	for i := range 150 {
		tree = append(tree,
			link(fmt.Sprintf("many/link-%d", i), "../big"),
			text(fmt.Sprintf("many/file-%d", i), fmt.Sprint(i)))
	}
	return tree
}

func TestExt4(t *testing.T) {
	tree := variedTree()
	for _, size := range []int64{64<<20 - 4096, 300 << 20} {
		t.Run(fmt.Sprintf("%d MiB", size>>20), func(t *testing.T) {
			f := newExt4(t, size, tree)
			filesystem := openExt4(t, f, 0, size)
			checkEntries(t, filesystem, tree)
			checkEntries(t, filesystem, []entry{folder("lost+found", 0o700)})
			needs(t, fsck)
			checkExt4(t, f.Name(), 0)
		})
	}
}

// TestExt4Same makes the same file system twice, in different seconds as a
// rule, and in any case with different random numbers.
func TestExt4Same(t *testing.T) {
	const size = 300 << 20 // three groups, two of them with a superblock
	tree := variedTree()
	first, second := newExt4(t, size, tree), newExt4(t, size, tree)
	if digest(t, first) != digest(t, second) {
		t.Error("the second file system differs from the first")
	}
}

func TestExt4Full(t *testing.T) {
	f := newFile(t, 32<<20)
	err := writeExt4(f, 0, 32<<20, "full", identify("full").filesystem, []entry{file("big", 0o644, make([]byte, 40<<20))})
	if err == nil || !strings.Contains(err.Error(), "/big") {
		t.Errorf("40 MiB on a file system of 32 MiB: %v", err)
	}
}

// newExt4 makes a file system with tree in it.
func newExt4(t *testing.T, size int64, tree []entry) *os.File {
	t.Helper()
	f := newFile(t, size)
	if err := writeExt4(f, 0, size, "label", identify("test").filesystem, tree); err != nil {
		t.Fatal(err)
	}
	return f
}

func newFile(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "filesystem"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

func digest(t *testing.T, f *os.File) [sha256.Size]byte {
	t.Helper()
	content, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}
