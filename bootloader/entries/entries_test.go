package entries

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/internal/golden"
)

const rootUUID = "6b1cf0a4-27b6-4f1e-9d3a-0c5b1f0e7a11"

func volume(number int, kind, uuid, fsType string, files fstest.MapFS) *Volume {
	return &Volume{
		Volume: bootloader.Volume{
			Partition: bootloader.Partition{Number: number, Type: kind},
			FS:        bootloader.FileSystem{Type: fsType, UUID: uuid, Label: "label"},
			Name:      fmt.Sprintf("sda%d", number),
		},
		Files: files,
	}
}

// from puts files of testdata at paths: pairs of path and name. A folder brings what is in it.
func from(t testing.TB, pairs ...string) fstest.MapFS {
	t.Helper()
	files := make(fstest.MapFS)
	for i := 0; i < len(pairs); i += 2 {
		name := filepath.Join("testdata", pairs[i+1])
		err := filepath.WalkDir(name, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			rel, _ := filepath.Rel(name, p)
			files[filepath.Join(pairs[i], rel)] = &fstest.MapFile{Data: data}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// show is a menu as the golden files have it.
func show(m Menu, err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "default %d timeout %v\n", m.Default, m.Timeout)
	showEnv(&b, m.Env)
	for i, e := range m.Entries {
		fmt.Fprintf(&b, "\n%d %s\n  id %q from %s\n", i, e, e.ID, e.Source)
		if e.Err != nil {
			fmt.Fprintf(&b, "  error %v\n", e.Err)
			continue
		}
		fmt.Fprintf(&b, "  kernel %s unified %v\n", e.Kernel, e.Unified)
		for _, f := range e.Initramfs {
			fmt.Fprintf(&b, "  initramfs %s\n", f)
		}
		fmt.Fprintf(&b, "  cmdline %s\n", e.Cmdline)
		if h := e.Hypervisor; h != nil {
			fmt.Fprintf(&b, "  hypervisor %s by multiboot %d, %q, %d more modules\n", h.File, h.Multiboot, h.Cmdline, len(h.Modules))
		}
		if e.CountAs != "" {
			fmt.Fprintf(&b, "  counted %s as %s\n", e.Counted, e.CountAs)
		}
		showEnv(&b, e.Env)
	}
	for _, p := range m.Problems {
		fmt.Fprintf(&b, "\nproblem %v\n", p)
	}
	if err != nil {
		fmt.Fprintf(&b, "\nerror %v\n", err)
	}
	return b.String()
}

func showEnv(b *strings.Builder, changes []EnvChange) {
	for _, c := range changes {
		fmt.Fprintf(b, "  saves %s=%q unset %v in %s\n", c.Name, c.Value, c.Unset, c.File)
	}
}

func TestDistributions(t *testing.T) {
	esp := func(files fstest.MapFS) *Volume { return volume(1, typeESP, "AAAA-BBBB", "vfat", files) }
	tests := map[string][]*Volume{
		"debian": {
			esp(fstest.MapFS{"EFI/debian/grub.cfg": {Data: []byte("search.fs_uuid " + rootUUID + " root hd0,gpt2\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n")}}),
			volume(2, "linux", rootUUID, "ext4", from(t, "boot/grub/grub.cfg", "debian/grub.cfg", "boot/grub/grubenv", "debian/grubenv")),
		},
		"debian-lvm": {
			esp(nil),
			{
				Volume: bootloader.Volume{
					FS: bootloader.FileSystem{Type: "ext4", UUID: "85414c23-74bc-4403-bcc4-b4b27673398b"}, Name: "mapper/debian--vg-root",
					LVM: &bootloader.LogicalVolume{GroupUUID: "jO836g-iTg9-g3Sg-c4gh-RsmJ-KhGc-UpXTFx", UUID: "uDl8yh-TOVQ-4PcF-NhnJ-GXdR-XEMI-jlZmgb"},
				},
				Files: from(t, "boot/grub/grub.cfg", "debian-lvm/grub.cfg"),
			},
		},
		"debian-xen": {
			esp(nil), volume(2, "linux", "68d5a978-e35e-595f-9414-016d83486549", "ext4", from(t, "boot/grub/grub.cfg", "debian-xen/grub.cfg")),
		},
		"btrfs": { // Debian's installer puts the root into a subvolume
			volume(2, "linux", rootUUID, "btrfs", fstest.MapFS{
				"@rootfs/boot/grub/grub.cfg": {Data: []byte("load_env\nset default=\"${saved_entry}\"\nmenuentry one {\nfalse\n}\nmenuentry Debian {\n" +
					"search --no-floppy --fs-uuid --set=root " + rootUUID + "\nlinux /@rootfs/boot/vmlinuz-6.1 root=UUID=" + rootUUID + " ro rootflags=subvol=@rootfs\n" +
					"initrd /@rootfs/boot/initrd.img-6.1\n}\n")},
				"@rootfs/boot/grub/grubenv": {Data: []byte(envBlockHead + "saved_entry=1\n#")},
				"@rootfs/etc/fstab":         {}, "@home/boot": {},
			}),
		},
		"ubuntu": {
			esp(nil),
			volume(2, "linux", rootUUID, "ext4", from(t, "grub/grub.cfg", "ubuntu/grub.cfg", "grub/grubenv", "ubuntu/grubenv")),
		},
		"fedora": {
			esp(fstest.MapFS{}),
			volume(2, "linux", rootUUID, "xfs", from(t, "grub2/grub.cfg", "fedora/grub.cfg", "grub2/grubenv", "fedora/grubenv", "loader/entries", "fedora/entries")),
		},
		"suse": {
			volume(2, "linux", rootUUID, "btrfs", from(t, "boot/grub2/grub.cfg", "suse/grub.cfg", ".snapshots/grub-snapshot.cfg", "suse/snapshot.cfg")),
		},
		"sdboot": {
			esp(from(t, "loader/loader.conf", "sdboot/loader.conf", "loader/entries", "sdboot/entries", "EFI/Linux/debian-6.12+3.efi", "sdboot/loader.conf")),
		},
		"extlinux": {
			volume(1, "0x83", rootUUID, "ext4", from(t, "boot/extlinux/extlinux.conf", "extlinux/extlinux.conf", "boot/extlinux/linux.cfg", "extlinux/linux.cfg")),
		},
		"rhel": {
			esp(from(t, "EFI/redhat/grub.cfg", "rhel/esp.cfg")),
			volume(2, "linux", rootUUID, "xfs", from(t, "grub2/grub.cfg", "rhel/grub.cfg", "grub2/grubenv", "rhel/grubenv", "loader/entries", "rhel/entries")),
		},
		"arch": {
			volume(2, "linux", rootUUID, "ext4", from(t, "boot/grub/grub.cfg", "arch/grub.cfg", "boot/grub/grubenv", "debian/grubenv")),
		},
		"alpine": {
			esp(nil), volume(2, "linux", rootUUID, "ext4", from(t, "grub/grub.cfg", "alpine/grub.cfg")),
		},
		"alpine-extlinux": {
			volume(1, "0x83", rootUUID, "ext4", from(t, "extlinux.conf", "alpine-extlinux/extlinux.conf")),
		},
		"u-boot-menu": {
			volume(1, "0x83", rootUUID, "ext4", from(t, "extlinux/extlinux.conf", "u-boot-menu/extlinux.conf")),
		},
		"plain": {
			volume(1, "0x83", rootUUID, "ext4", fstest.MapFS{
				"vmlinuz": {}, "initrd.img": {}, "etc/fstab": {}, "boot/vmlinuz-6.1.0-9-amd64": {}, "boot/vmlinuz-6.1.0-40-amd64": {},
				"boot/initrd.img-6.1.0-40-amd64": {}, "boot/initrd.img-6.1.0-9-amd64": {},
			}),
		},
		"nothing": {volume(1, "0x83", rootUUID, "ext4", fstest.MapFS{"etc/fstab": {}})},
	}
	for name, volumes := range tests {
		t.Run(name, func(t *testing.T) {
			menu, err := Find(volumes, FindOptions{EFI: true})
			got := show(menu, err)
			golden.Compare(t, filepath.Join("testdata", name+".golden"), got)
		})
	}
}

// grubMenu runs a script on a volume with more files.
func grubMenu(script string, files fstest.MapFS) (Menu, error) {
	all := fstest.MapFS{"boot/grub/grub.cfg": {Data: []byte(script)}}
	for name, f := range files {
		all[name] = f
	}
	v := volume(2, "linux", rootUUID, "ext4", all)
	return readGRUB([]*Volume{v}, v, "/boot/grub/grub.cfg", "pc")
}

func TestGRUBLanguage(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"quotes", `menuentry x { linux /k 'a b' "c$z d" e\ f $"g" }`, `"a b" "c d" "e f" g`},
		{"split", "set a='one  two'\nmenuentry x { linux /k $a \"$a\" x${a}y $none \"\" }", `one two "one  two" xone twoy `},
		{"assignment", "b=--id\nmenuentry x { linux /k $b }", "--id"},
		{"conditions", "if [ 1 -lt 2 -a ! -z x ]; then set r=yes; elif true; then set r=elif; else set r=no; fi\nmenuentry x { linux /k $r }", "yes"},
		{"or", "if test a = b -o c = c; then r=yes; fi\nmenuentry x { linux /k $r }", "yes"},
		{"loops", "for i in a b c; do s=\"$s$i\"; done\nn=0\nwhile [ $n -lt 3 ]; do increment n; done\nmenuentry x { linux /k $s $n }", "abc 3"},
		{"functions", "function f { set r=\"$1-$2\"; }\nf a b\nmenuentry x { linux /k $r }", "a-b"},
		{"late variables", "menuentry x { linux /k $r }\nset r=late", "late"},
		{"hex escapes", `menuentry x { linux /k "a\x20b" }`, `a\x20b`},
		{"positions", "menuentry x a b { linux /k $2 $3 }", "a b"},
		{"comments", "# one\nmenuentry x { # two\n linux /k a#b # three\n}", "a#b"},
		{"probe", "probe -s u -u $root\nmenuentry x { linux /k $u }", rootUUID},
		{"search by file", "unset root\nsearch --set=root --file /boot/grub/grub.cfg\nmenuentry x { linux /k $root }", "hd0,gpt2"},
		{"not found", "if search --set=x --label nobody; then r=1; else r=2; fi\nmenuentry x { linux /k $r }", "2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			menu, err := grubMenu(tt.script, nil)
			if err != nil || len(menu.Entries) != 1 || menu.Entries[0].Err != nil {
				t.Fatalf("%+v, %v", menu, err)
			}
			if got := menu.Entries[0].Cmdline; got != tt.want {
				t.Errorf("command line %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGRUBErrors(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	tests := []struct {
		name, script, want string
		files              fstest.MapFS
	}{
		{"no end", "if true; then\n", `"fi"`, nil},
		{"stray brace", "true\n}\n", "line 2", nil},
		{"open quote", "\n\nset a='x", "line 3: a quote has no end", nil},
		{"deep", strings.Repeat("if true; then ", 100), "in one another", nil},
		{"for ever", "while true; do true; done", "does not come to an end", nil},
		{"recursion", "function f { f; }\nf", "calls itself", nil},
		{"evaluation", "set a='eval $a'\neval $a", "without end", nil},
		{"itself", "source /boot/grub/grub.cfg", "includes itself", nil},
		{"ring", "source /a", "includes itself: sda2:/boot/grub/grub.cfg → sda2:/a → sda2:/b → sda2:/a", fstest.MapFS{"a": file("source /b"), "b": file("source /a")}},
		{"giant", "source /a", "too large", fstest.MapFS{"a": {Data: make([]byte, maxConfig+1)}}},
		{"many entries", "while true; do menuentry x { linux /k }; done", "more than 4096 entries", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := grubMenu(tt.script, tt.files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	menu, err := grubMenu(`
menuentry "one" --id first { linux /1 }
submenu "more > of it" --id sub { menuentry "two" --id second { linux /2 }
menuentry "Debian GNU/Linux, three" --id three { linux /3 } }
menuentry "four" { chainloader /x }`, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"0": 0, "one": 0, "first": 0, "1>0": 1, "1>1": 2, "sub>second": 1, "sub>three": 2, "Debian*three": 2, "1": 1, "sub": 1, "thr*": 2, "2": 3, "nobody": -1, "9": -1, "": -1,
	} {
		if got := menu.Lookup(name); got != want {
			t.Errorf("%q is entry %d, want %d", name, got, want)
		}
	}
	if got := fmt.Sprint(menu.Order(1)); got != "[1 2 0]" {
		t.Errorf("order %s", got)
	}
	if !errors.Is(menu.Entries[3].Err, ErrNotLinux) {
		t.Errorf("error = %v", menu.Entries[3].Err)
	}
}

// What a hypervisor is given is read with it.
func TestLoadHypervisor(t *testing.T) {
	kernel := make([]byte, 0x400)
	kernel[0x1FE], kernel[0x1FF] = 0x55, 0xAA
	copy(kernel[0x202:], "HdrS")
	files := fstest.MapFS{
		"xen": {Data: []byte("xen")}, "linux": {Data: kernel}, "initrd": {Data: []byte("initrd")}, "policy": {Data: []byte("policy")},
	}
	for _, command := range []string{"multiboot", "multiboot2"} {
		module := strings.Replace(command, "multiboot", "module", 1)
		menu, err := grubMenu(fmt.Sprintf("menuentry xen {\n%s /xen console=com1\n%s /linux root=/dev/sda1 ro\n%s --nounzip /initrd\n%s /policy\n}",
			command, module, module, module), files)
		if err != nil {
			t.Fatal(err)
		}
		e := menu.Entries[0]
		img, err := e.Load(LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %q %q %s %s %s %d", img.Hypervisor, e.Hypervisor.Cmdline, img.Cmdline, img.Initramfs, img.Modules, kernel[0x202:0x206], img.Size())
		if want := `xen "console=com1" "root=/dev/sda1 ro" initrd [policy] HdrS 1039`; got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
	// Without a module there is no Linux in it, and what cannot be found is said.
	for script, want := range map[string]string{
		"multiboot2 /xen":                      ErrNotLinux.Error(),
		"multiboot2 /xen\nmodule2 /policy":     ErrNotKernel.Error(),
		"multiboot2 /xen\nmodule2 (hd9)/linux": errNoDevice.Error(),
		"multiboot2 (hd9)/xen\nmodule2 /linux": errNoDevice.Error(),
		"multiboot2 /nothing\nmodule2 /linux":  "nothing",
	} {
		menu, err := grubMenu("menuentry xen {\n"+script+"\n}", files)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := menu.Entries[0].Load(LoadOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error = %v, want %q", script, err, want)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	// From UAPI.10's own list of examples.
	for _, pair := range [][2]string{
		{"11", "11a"}, {"123~rc1", "123"}, {"122.1", "123~rc1-1"}, {"123-3", "123-3.1"}, {"123^post1", "123.1"}, {"6.9", "6.10"}, {"124-1", "124a-1"}, {"123.a", "123a"},
	} {
		if compareVersions(pair[0], pair[1]) >= 0 || compareVersions(pair[1], pair[0]) <= 0 {
			t.Errorf("%q is not before %q", pair[0], pair[1])
		}
	}
	if compareVersions("1.02", "1.2") != 0 {
		t.Error("leading zeros count")
	}
}

func TestSyslinuxRing(t *testing.T) {
	v := volume(1, "0x83", rootUUID, "ext4", fstest.MapFS{
		"syslinux.cfg": {Data: []byte("include a.cfg\n")}, "a.cfg": {Data: []byte("MENU INCLUDE syslinux.cfg\n")},
	})
	_, err := Find([]*Volume{v}, FindOptions{})
	if !errors.Is(err, ErrNoEntries) || !strings.Contains(err.Error(), "includes itself") {
		t.Errorf("error = %v", err)
	}
}

func FuzzGRUB(f *testing.F) {
	for _, name := range []string{"debian", "ubuntu", "fedora", "suse"} {
		data, err := os.ReadFile(filepath.Join("testdata", name, "grub.cfg"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("while [ ! ( x ) ]; do eval $@; done\nsubmenu x { source /a; blscfg }")
	f.Fuzz(func(t *testing.T, script string) {
		menu, err := grubMenu(script, fstest.MapFS{"loader/entries/a.conf": {Data: []byte(script)}})
		if err == nil && menu.Default >= len(menu.Entries) {
			t.Errorf("default %d of %d", menu.Default, len(menu.Entries))
		}
	})
}

func FuzzSyslinux(f *testing.F) {
	data, err := os.ReadFile("testdata/extlinux/linux.cfg")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Fuzz(func(t *testing.T, text string) {
		v := volume(1, typeESP, rootUUID, "vfat", fstest.MapFS{
			"syslinux.cfg": {Data: []byte(text)}, "loader/loader.conf": {Data: []byte(text)}, "loader/entries/a.conf": {Data: []byte(text)},
		})
		Find([]*Volume{v}, FindOptions{})
	})
}
