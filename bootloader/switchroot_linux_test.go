package bootloader

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSwitchRoot switches roots as PID 1 of namespaces of its own.
func TestSwitchRoot(t *testing.T) {
	needsRoot(t)
	program := filepath.Join(t.TempDir(), "switcher")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./internal/switcher")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var found struct {
		PID       int
		Args, Env []string
		Root, Old []string
		OldBlocks uint64
		Mounts    map[string]bool
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := []string{"/sbin/init", "single", "two words"}; !reflect.DeepEqual(found.Args, want) {
		t.Errorf("init's arguments %q, want %q", found.Args, want)
	}
	if want := []string{"BOOT=lun"}; !reflect.DeepEqual(found.Env, want) || found.PID != 1 {
		t.Errorf("PID %d, environment %q; want 1, %q", found.PID, found.Env, want)
	}
	if want := []string{"dev", "proc", "run", "sbin", "sys", "usr", "view"}; !slices.Equal(found.Root, want) {
		t.Errorf("files in /: %q, want %q", found.Root, want)
	}
	if len(found.Old) != 0 || found.OldBlocks > 1 {
		t.Errorf("the old root still has %q and takes %d blocks", found.Old, found.OldBlocks)
	}
	for mark, there := range found.Mounts {
		if !there {
			t.Errorf("%s did not move along", mark)
		}
	}
}

// tree makes files below a new directory. A text that starts with "->" is a link, one with "x:" an executable.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, path)
		} else if program, ok := strings.CutPrefix(text, "x:"); ok {
			err = os.WriteFile(path, []byte(program), 0o755)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheckProgram(t *testing.T) {
	dynamic, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	interpreter, err := interpreterOf(strings.NewReader(string(dynamic)))
	if err != nil || interpreter == "" {
		t.Skipf("SKIP: /bin/true is no dynamic program here (%q, %v)", interpreter, err)
	}
	script := "x:#! /bin/busybox sh\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		is    error
		want  string // in the error; empty for none
	}{
		{"script", map[string]string{"init": script, "bin/busybox": "x:"}, nil, ""},
		{"links", map[string]string{"init": "->/usr/../../alt/init", "alt": "->usr/alt", "usr/alt/init": script, "bin": "->/usr/bin", "usr/bin/busybox": ""}, nil, ""},
		{"ELF", map[string]string{"init": "x:" + string(dynamic), interpreter: ""}, nil, ""},
		{"absent", nil, fs.ErrNotExist, "init"},
		{"link to nowhere", map[string]string{"init": "->" + t.TempDir()}, fs.ErrNotExist, "init"},
		{"link to itself", map[string]string{"init": "->init"}, unix.ELOOP, "init"},
		{"directory", map[string]string{"init/file": ""}, nil, "not a regular file"},
		{"not executable", map[string]string{"init": "#!/bin/sh\n"}, nil, "not executable"},
		{"empty", map[string]string{"init": "x:"}, nil, "neither a script nor an ELF"},
		{"no interpreter named", map[string]string{"init": "x:#! \n"}, nil, "names no interpreter"},
		{"no interpreter", map[string]string{"init": script}, fs.ErrNotExist, "needs /bin/busybox"},
		{"no dynamic linker", map[string]string{"init": "x:" + string(dynamic)}, fs.ErrNotExist, "needs " + interpreter},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, err := openRoot(tree(t, c.files))
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			err = root.checkProgram("/init")
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("err = %v, want %q and %v in it", err, c.want, c.is)
			}
		})
	}
}

func TestSwitchRootCheck(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		s    SwitchRoot
		want string
	}{
		"not mounted": {SwitchRoot{Root: dir}, "nothing is mounted there"},
		"absent":      {SwitchRoot{Root: dir + "/absent"}, "no such file"},
		"no init":     {SwitchRoot{Root: "/proc"}, "it holds no init; name one with init="},
		"wrong init":  {SwitchRoot{Root: "/proc", Init: "/version"}, "check init="},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.s.Check(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.s.Root) {
				t.Errorf("Check = %v, want %q in it", err, c.want)
			}
			if err := c.s.Start(); err == nil || errors.Is(err, ErrPastReturn) {
				t.Errorf("Start = %v, want an error before the point of no return", err)
			}
		})
	}
	if got := (SwitchRoot{}).String(); got != "switch root" {
		t.Errorf("%q", got)
	}
}
