package scenario

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initramfs/boot"
	"github.com/bootlun/bootlun/netboot"
)

func TestTimeline(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	line := func(ms int, step, detail string) func(*Timeline) {
		return func(tl *Timeline) { tl.Line(at(ms), boot.Result{Step: step, Detail: detail}.String()) }
	}
	event := func(ms int, k netboot.Kind, detail string) func(*Timeline) {
		return func(tl *Timeline) { tl.Event(netboot.Event{Time: at(ms), Kind: k, Detail: detail}) }
	}
	tl := NewTimeline(ImageMarks(regexp.MustCompile("login: ")))
	tl.PowerOn(start)
	for _, happen := range []func(*Timeline){
		event(300, netboot.DHCPDiscover, "iPXE"),
		event(310, netboot.DHCPAck, "iPXE"),
		event(400, netboot.HTTPDone, "/kernel: 200"),
		event(700, netboot.HTTPDone, "/initramfs: 200"),
		event(750, netboot.DHCPDiscover, "of our init: not the first"),
		line(3000, "kernel", "until our init"),
		line(3500, "hardware", ""),
		line(3550, "table", "read"),
		line(3600, "network", ""),
		line(3700, "login", ""),
		line(3800, "disk", ""),
		line(3900, PhaseRoot, "sda1"),
		line(3950, "switch root", ""),
	} {
		select {
		case <-tl.Done():
			t.Fatal("done before its last mark")
		default:
		}
		happen(tl)
	}
	tl.Line(at(9000), "debian login: ")
	select {
	case <-tl.Done():
	default:
		t.Fatalf("not done after its last mark: %+v", tl.Phases())
	}
	if got, ok := tl.Until(PhaseRoot); !ok || got != 3900*time.Millisecond {
		t.Errorf("until root: %v, %v", got, ok)
	}
	if _, ok := tl.Until("lunch"); ok {
		t.Error("a phase that does not exist has ended")
	}
	loader := slices.IndexFunc(tl.Phases(), func(p Phase) bool { return p.Name == "loader" })
	if got := tl.Phases()[loader].Took; got != 390*time.Millisecond {
		t.Errorf("loader took %v, want until the image was sent", got)
	}
	var text bytes.Buffer
	tl.Print(&text)
	if want := "table               50      3550  read\n"; !strings.Contains(text.String(), want) {
		t.Errorf("no %q in\n%s", want, &text)
	}
}
