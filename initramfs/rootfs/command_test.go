package rootfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var shell = tool{"sh", "dash"}

func TestToolMissing(t *testing.T) {
	none := tool{"no-such-program", "such-a-package"}
	err := none.run(t.Context(), logger(nil), nil)
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "apt install such-a-package") {
		t.Errorf("the error is %v", err)
	}
	both := missing(none, shell, tool{"nor-this", "other-package"})
	for _, want := range []string{"such-a-package", "other-package"} {
		if !strings.Contains(both.Error(), want) {
			t.Errorf("%q does not name %s", both, want)
		}
	}
}

func TestToolFails(t *testing.T) {
	var heard recorder
	err := shell.run(t.Context(), slog.New(&heard), []string{"STEP=digging"},
		"-c", `echo "I: $STEP..." >&2; seq 100 >&2; printf 'the end' >&2; exit 3`)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if !strings.Contains(lines[0], "exit status 3") || len(lines) != remembered+1 {
		t.Errorf("the error is %v", err)
	}
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "the end" {
		t.Errorf("the last line of the error is %q", last)
	}
	if !slices.Equal(heard.steps, []string{"digging..."}) {
		t.Errorf("heard of the steps %q", heard.steps)
	}
}

func TestToolCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	heard := recorder{onStep: cancel}
	// The program is asked to end before it is made to.
	err := shell.run(ctx, slog.New(&heard), nil, "-c", `trap 'echo cleaning up... >&2; kill $!; exit' TERM; sleep 60 & echo ready... >&2; wait`)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if !slices.Equal(heard.steps, []string{"ready...", "cleaning up..."}) {
		t.Errorf("heard %q", heard.steps)
	}
}

// recorder is a log that keeps what is told to the user.
type recorder struct {
	steps  []string
	onStep func()
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	if record.Level < slog.LevelInfo {
		return nil
	}
	r.steps = append(r.steps, record.Message)
	if r.onStep != nil {
		r.onStep()
	}
	return nil
}

func ExampleTinyCommands() {
	for _, path := range TinyCommands()[:2] {
		fmt.Println(path)
	}
	// Output:
	// github.com/u-root/u-root/cmds/core/cat
	// github.com/u-root/u-root/cmds/core/chmod
}
