package boot

import (
	"strings"
	"testing"
)

func TestMountPoints(t *testing.T) {
	const info = `21 1 8:1 / / rw - tmpfs tmpfs rw
30 21 8:1 / /oldroot rw,relatime - ext4 /dev/sda1 rw
31 30 8:2 / /oldroot/var\040lib rw - ext4 /dev/sda2 rw
32 21 0:5 / /oldroots rw - tmpfs tmpfs rw
33 31 0:6 / /oldroot/var\040lib/x rw - tmpfs tmpfs rw
`
	got := mountPoints(info, "/oldroot")
	want := "/oldroot/var lib/x,/oldroot/var lib,/oldroot"
	if strings.Join(got, ",") != want {
		t.Errorf("mount points %q, want %q", got, want)
	}
}
