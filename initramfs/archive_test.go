package initramfs

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"slices"
	"testing"
)

func testFiles() []File {
	return append(baseFiles(),
		File{Name: "bin/tool", Mode: 0o755, Data: []byte("#!/bin/sh\n")},
		File{Name: "a/b/c/empty", Mode: 0o600},
		link("bin/link", "tool"),
	)
}

func archiveOf(t *testing.T, files []File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteArchive(&b, files); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestArchiveRoundTrip(t *testing.T) {
	got, err := readArchive(bytes.NewReader(archiveOf(t, testFiles())))
	if err != nil {
		t.Fatal(err)
	}
	want, err := complete(testFiles())
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if len(got[i].Data) == 0 {
			got[i].Data = nil
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for _, dir := range []string{"a", "a/b", "a/b/c", "dev", "etc"} {
		i := slices.IndexFunc(got, func(f File) bool { return f.Name == dir })
		if i < 0 || got[i].Mode != fs.ModeDir|0o755 {
			t.Errorf("folder %s is missing", dir)
		}
	}
}

func TestArchiveOrderDoesNotMatter(t *testing.T) {
	files := testFiles()
	want := archiveOf(t, files)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	if !bytes.Equal(archiveOf(t, files), want) {
		t.Error("another order gives another archive")
	}
}

func TestArchiveErrors(t *testing.T) {
	for name, files := range map[string][]File{
		"twice":              {{Name: "a", Mode: 0o644}, {Name: "a", Mode: 0o600}},
		"folder and file":    {{Name: "a", Mode: fs.ModeDir | 0o755}, {Name: "a", Mode: 0o600}},
		"file above":         {{Name: "a", Mode: 0o644}, {Name: "a/b", Mode: 0o600}},
		"absolute":           {{Name: "/a", Mode: 0o644}},
		"up":                 {{Name: "../a", Mode: 0o644}},
		"empty":              {{}},
		"root":               {{Name: ".", Mode: fs.ModeDir | 0o755}},
		"a type it has not":  {{Name: "a", Mode: fs.ModeSocket}},
		"a block device too": {{Name: "a", Mode: fs.ModeDevice}},
	} {
		if err := WriteArchive(&bytes.Buffer{}, files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCompressions(t *testing.T) {
	data := archiveOf(t, testFiles())
	for c, tool := range map[Compression][]string{
		Zstd: {"zstd", "-dc"}, Gzip: {"gzip", "-dc"}, XZ: {"xz", "-dc"}, None: {"cat"},
	} {
		t.Run(string(c), func(t *testing.T) {
			packed, err := c.compress(data)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := c.compress(data); err != nil || !bytes.Equal(packed, again) {
				t.Errorf("a second time is not the same (%v)", err)
			}
			if _, err := exec.LookPath(tool[0]); err != nil {
				t.Skipf("SKIP: needs %s", tool[0])
			}
			cmd := exec.CommandContext(t.Context(), tool[0], tool[1:]...)
			cmd.Stdin = bytes.NewReader(packed)
			if got, err := cmd.Output(); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s gives other data (%v)", tool[0], err)
			}
		})
	}
	if _, err := ParseCompression("rar"); err == nil {
		t.Error("ParseCompression(rar) gave no error")
	}
	if c, err := ParseCompression(""); c != Zstd || err != nil {
		t.Errorf("the default is %q (%v)", c, err)
	}
}
