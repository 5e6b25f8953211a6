package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// run parses a command line as main does and runs its command.
func run(ctx context.Context, t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	var out bytes.Buffer
	var c cli
	parser, err := kong.New(&c, append(options(ctx), kong.Writers(&out, &out), kong.Exit(func(int) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return out.String(), err
	}
	err = parsed.Run(slog.New(slog.DiscardHandler))
	return out.String(), err
}

func TestHelpNamesEveryCommandWithExamples(t *testing.T) {
	var out bytes.Buffer
	var c cli
	parser, err := kong.New(&c, append(options(t.Context()), kong.Writers(&out, &out), kong.Exit(func(int) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	// Parse goes on after --help, since Exit is not taken, and fails for want of a command.
	_, _ = parser.Parse([]string{"--help"})
	for _, want := range []string{"serve", "target list", "target drain", "reload", "image build", "image root", "vm run", "vm bench", "Examples:", "--root debian"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help has no %q:\n%s", want, &out)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "serve.yaml")
	if err := os.WriteFile(bad, []byte("adress: 10.0.0.1/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no command", nil, "serve"},
		{"no configuration", []string{"serve"}, "--config"},
		{"no such file", []string{"serve", "--config", filepath.Join(dir, "none")}, "none"},
		{"bad configuration", []string{"serve", "--config", bad}, "adress"},
		{"bad table", []string{"vm", "run", "--table", "paper"}, "dhcp"},
		{"bad compression", []string{"image", "build", "--compression", "rar"}, "zstd"},
		{"bad root", []string{"image", "root", "plan9"}, "debian"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := run(t.Context(), t, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		d    []time.Duration
		want time.Duration
	}{
		{[]time.Duration{3}, 3},
		{[]time.Duration{9, 1, 2}, 2},
		{[]time.Duration{4, 1, 2, 8}, 3},
	} {
		if got := median(tt.d); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.d, got, tt.want)
		}
	}
}
