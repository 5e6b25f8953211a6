package boot

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/efivarfs"

	"github.com/bootlun/bootlun/bootloader/entries"
	"github.com/bootlun/bootlun/target/targettest"
)

// firmware has variables as efivarfs does, which no test may touch: writing none of a variable deletes it.
type firmware map[string][]byte

func (f firmware) Get(d efivarfs.VariableDescriptor) (efivarfs.VariableAttributes, []byte, error) {
	raw, ok := f[d.Name]
	if !ok {
		return 0, nil, efivarfs.ErrVarNotExist
	}
	return 7, raw, nil
}

func (f firmware) Set(d efivarfs.VariableDescriptor, attributes efivarfs.VariableAttributes, raw []byte) error {
	if "-"+d.GUID.String() != loaderVendor || attributes != 7 {
		return efivarfs.ErrVarPermission
	}
	if f[d.Name] = raw; len(raw) == 0 {
		delete(f, d.Name)
	}
	return nil
}

func (firmware) List() ([]efivarfs.VariableDescriptor, error) { return nil, errors.ErrUnsupported }
func (firmware) Remove(d efivarfs.VariableDescriptor) error   { return errors.ErrUnsupported }
func (f firmware) open(context.Context) efivarfs.EFIVar       { return f }
func (f firmware) with(name, value string) firmware           { f[name] = encodeVariable(value); return f }

// systemPartition is a disk with an MBR and an EFI system partition with these files.
func systemPartition(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	image := filepath.Join(t.TempDir(), "fat.img")
	command := func(name string, args ...string) {
		path, err := exec.LookPath(name)
		if err != nil {
			if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
				t.Skipf("SKIP: needs %s (apt install dosfstools mtools)", name)
			}
		}
		if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	command("mkfs.fat", "-C", "-F", "32", "-s", "1", image, "36864")
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	command("mcopy", append([]string{"-s", "-i", image}, append(list, "::")...)...)
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return partitioned(0xEF, content)
}

// What the firmware's variables say for one boot counts once.
func TestOneShotCountsOnce(t *testing.T) {
	entry := func(number string) []byte {
		return []byte("title entry\nlinux /k\ninitrd /i\noptions entry=" + number + "\n")
	}
	medium := memory(t, systemPartition(t, map[string][]byte{
		"k": soundKernel(64 << 10), "i": soundInitramfs(t), "loader/loader.conf": []byte("default counted*\n"),
		"loader/entries/counted+3.conf": entry("1"), "loader/entries/once.conf": entry("2"),
	}))
	vars := firmware{}.with("LoaderEntryOneShot", "once.conf")
	for i, want := range []string{"2", "1"} {
		a := newAttempt(t, targettest.Options{Store: medium})
		a.efiVars = vars.open
		if err := a.boot(t); !errors.Is(err, errNotHere) {
			t.Fatal(err)
		}
		if got := a.entries(); len(got) != 2 || got[0] != want {
			t.Errorf("boot %d began with entries %v, want %s\n%s", i, got, want, a.console())
		}
		if got := slices.Collect(maps.Keys(vars)); !slices.Equal(got, []string{"LoaderInfo"}) {
			t.Errorf("boot %d: the firmware has %v", i, got)
		}
	}
}

// A boot counter that nobody could end, or on a LUN that is not to be written to, is left as it is.
func TestCounterLeftAlone(t *testing.T) {
	disk := systemPartition(t, map[string][]byte{
		"k": soundKernel(64 << 10), "i": soundInitramfs(t), "loader/entries/a+3.conf": []byte("linux /k\ninitrd /i\n"),
	})
	tests := []struct {
		name, want string
		set        func(*attempt)
	}{
		{"no variables", "has no EFI variables", func(*attempt) {}},
		{"bootlun.readonly", "bootlun.readonly", func(a *attempt) { a.efiVars, a.cfg.ReadOnly = firmware{}.open, true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAttempt(t, targettest.Options{Store: memory(t, disk)})
			tt.set(a)
			if err := a.boot(t); !errors.Is(err, errNotHere) {
				t.Fatal(err)
			}
			a.noteStart(t.Context(), console{a}, a.own.menu.Entries[0])
			if want := "counter is not counted down"; !strings.Contains(a.console(), want) || !strings.Contains(a.console(), tt.want) {
				t.Errorf("the console says nothing of %q and %q:\n%s", want, tt.want, a.console())
			}
		})
	}
}

func TestVariables(t *testing.T) {
	vars := variables{firmware{}.with("LoaderEntryDefault", "ä.conf").with("Another", "x")}
	if got, want := vars.read(), map[string]string{"LoaderEntryDefault": "ä.conf"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	err := vars.change([]entries.EnvChange{
		{Name: "LoaderEntryDefault", Unset: true}, {Name: "LoaderEntryOneShot", Unset: true}, {Name: "LoaderBootCountPath", Value: `\x+2-1.conf`},
	})
	if got, want := vars.read(), map[string]string{"LoaderBootCountPath": `\x+2-1.conf`}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if err := (variables{}).change([]entries.EnvChange{{Name: "x"}}); err == nil || !strings.Contains(err.Error(), "no variables") {
		t.Errorf("without firmware: %v", err)
	}
	for raw, want := range map[string]string{"": "", "a": "", "a\x00": "a", "a\x00\x00\x00b\x00": "a", "\x3d\xd8\x00\xdeb": "😀"} {
		if got := decodeVariable([]byte(raw)); got != want {
			t.Errorf("%q is %q, want %q", raw, got, want)
		}
	}
}
