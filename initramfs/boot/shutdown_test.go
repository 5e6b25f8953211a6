package boot

import (
	"slices"
	"testing"
)

func TestMountPoints(t *testing.T) {
	const info = `21 1 0:2 / / rw - tmpfs tmpfs rw
30 21 8:1 / /oldroot rw,relatime - ext4 /dev/sda1 rw
31 30 0:44 / /oldroot/var\040lib rw master:1 - btrfs /dev/sda2 rw
32 21 0:5 / /oldroots rw - tmpfs tmpfs rw
33 31 0:6 / /oldroot/var\040lib/x rw shared:5 - tmpfs tmpfs rw
`
	got := mountPoints(info, "/oldroot")
	want := []mountPoint{{"/oldroot/var lib/x", false}, {"/oldroot/var lib", true}, {"/oldroot", true}}
	if !slices.Equal(got, want) {
		t.Errorf("mount points %+v, want %+v", got, want)
	}
}
