package scenario_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// putFiles puts files on the root's file system, in place of what is there by their names.
func putFiles(t *testing.T, root scenario.Root, dir string, files map[string][]byte) {
	t.Helper()
	var commands []string
	for name, data := range files {
		source := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(source, data, 0o600); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, "rm "+name, "write "+source+" "+name)
	}
	debugfs(t, root.Path, commands...)
}

// withoutSignature is a kernel as it was before somebody signed it.
func withoutSignature(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Microsoft's PE format: CheckSum, and "Certificate Table" of the data directories.
	optional := binary.LittleEndian.Uint32(b[0x3C:]) + 24
	table := b[optional+144:][:8]
	end := binary.LittleEndian.Uint32(table)
	if end == 0 || int(end) > len(b) {
		t.Fatalf("%s is not signed", file)
	}
	clear(b[optional+64:][:4])
	clear(table)
	return b[:end]
}

// A machine that is locked down, as by Secure Boot, starts no kernel without a signature, nor one signed by a key that it does not
// know, as Debian's is on a machine without EFI; it says so, and what to do.
func TestOwnKernelLockdown(t *testing.T) {
	needInstallations(t)
	root, dir, kernel, _ := copyOfDebian(t)
	const line = " root=LABEL=bootlun-debian ro console=ttyS0,115200\n initrd /initrd.img }\n"
	putFiles(t, root, dir, map[string][]byte{
		"/boot/grub/grub.cfg": []byte("menuentry 'unsigned' { linux /boot/unsigned" + line + "menuentry 'signed' { linux /vmlinuz" + line),
		"/boot/unsigned":      withoutSignature(t, kernel),
	})
	lab := labFor(t, scenario.RootDebian)
	lab.Root, lab.OwnKernel, lab.Cmdline = root, true, "lockdown=integrity"
	running, ctx := start(t, lab)
	expect(ctx, t, running, `trying the next entry, "signed"`)
	expect(ctx, t, running, `bootlun: failed: kexec: none of 2 entries could be started: load "unsigned".*kexec_file_load: .*locked down.*load "signed".*bootlun.handoff=switch_root`)
	expect(ctx, t, running, `here is a shell`)
}

// unreadable serves an image whose middle sectors of a file cannot be read, and gives the server's URI.
func unreadable(t *testing.T, image, file string) string {
	t.Helper()
	blocks := strings.Fields(debugfs(t, image, "blocks "+file))
	block, err := strconv.ParseInt(blocks[len(blocks)/2], 10, 64)
	if err != nil {
		t.Fatalf("%s has blocks %q: %v", file, blocks, err)
	}
	at := partitionAt + block*4096
	return peers.NBDKit(t, "eval", "get_size=stat -c %s "+image, fmt.Sprintf(
		"pread=if [ $4 -lt %d ] && [ $(($4 + $3)) -gt %d ]; then echo EIO >&2; exit 1; fi; "+
			"dd if=%s skip=$4 count=$3 iflag=skip_bytes,count_bytes,fullblock bs=1M status=none", at+4096, at, image)).URI()
}

// What is wrong with a LUN is said, and is never waited for: a shell, or what there is to start besides.
func TestOwnKernelBadLUN(t *testing.T) {
	needInstallations(t)
	const entries = "menuentry 'bad' { linux /boot/bad root=LABEL=bootlun-debian ro\n initrd /initrd.img }\n" +
		"menuentry 'good' { linux /vmlinuz root=LABEL=bootlun-debian ro console=ttyS0,115200\n initrd /initrd.img }\n"
	tests := []struct {
		name  string
		spoil func(t *testing.T, root *scenario.Root, dir, kernel string)
		wants []string // on the console, in this order
	}{
		{
			name: "truncated",
			spoil: func(t *testing.T, root *scenario.Root, _, _ string) {
				if err := os.Truncate(root.Path, 200<<20); err != nil {
					t.Fatal(err)
				}
			},
			wants: []string{`bootlun: failed: entries: .*cut short: its partitions go on for 184\d MiB beyond its end`, `here is a shell`},
		},
		{
			name: "circular includes",
			spoil: func(t *testing.T, root *scenario.Root, dir, _ string) {
				putFiles(t, *root, dir, map[string][]byte{
					"/boot/grub/grub.cfg": []byte("source /boot/a.cfg\n"), "/boot/a.cfg": []byte("configfile /boot/b.cfg\n"), "/boot/b.cfg": []byte("source /boot/a.cfg\n"),
				})
			},
			// Without a configuration the kernel is started that is at the usual place.
			wants: []string{`includes itself: .*/boot/a.cfg → .*/boot/b.cfg → .*/boot/a.cfg`, `bootlun: kexec .* takes over`},
		},
		{
			name: "unreadable sectors",
			spoil: func(t *testing.T, root *scenario.Root, dir, kernel string) {
				bad, err := os.ReadFile(kernel)
				if err != nil {
					t.Fatal(err)
				}
				putFiles(t, *root, dir, map[string][]byte{"/boot/grub/grub.cfg": []byte(entries), "/boot/bad": bad})
				root.NBD, root.Path = unreadable(t, root.Path, "/boot/bad"), ""
			},
			wants: []string{`"bad".*(?i:unrecovered read error)`, `trying the next entry, "good"`, `bootlun: kexec .* "good" takes over`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, dir, kernel, _ := copyOfDebian(t)
			tt.spoil(t, &root, dir, kernel)
			lab := labFor(t, scenario.RootDebian)
			lab.Root, lab.OwnKernel = root, true
			running, ctx := start(t, lab)
			for _, want := range tt.wants {
				expect(ctx, t, running, want)
			}
		})
	}
}
