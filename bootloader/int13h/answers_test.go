package int13h

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/bootprobe"
	"github.com/bootlun/bootlun/internal/golden"
)

// qemuMap is the memory map of the machine that gave SeaBIOS's answers.
var qemuMap = []Range{
	{1 << 20, 127<<20 - 140<<10, 1},
	{128<<20 - 140<<10, 140 << 10, 2},
	{0xFFFC0000, 256 << 10, 2},
	{0xFD00000000, 12 << 30, 2},
}

// Every call of a service is answered as testdata/answers/ours.txt says. Beside it
// lie SeaBIOS's and iPXE's answers, from package scenario's TestInt13h.
func TestAnswers(t *testing.T) {
	calls := bootprobe.Calls()
	sectors, err := bootprobe.Disk(calls)
	if err != nil {
		t.Fatal(err)
	}
	d := &memoryDisk{make([]byte, bootprobe.Size), 512}
	copy(d.data, sectors)
	var said strings.Builder
	m := newTestMachine(t, Config{Disk: d, Memory: 128 << 20, Map: qemuMap, Steps: 1e6, Serial: &said})
	if err := m.cpu.Run(t.Context(), m.Steps); !errors.Is(err, ErrHalted) || !strings.Contains(said.String(), bootprobe.Done) {
		t.Fatalf("error %v, said %q", err, said.String())
	}
	lines, err := bootprobe.Answers(calls, m.bytes(bootprobe.Address, bootprobe.AnswersSize(calls)))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(lines, "\n") + "\n"
	golden.Compare(t, filepath.Join("testdata", "answers", "ours.txt"), got)
	agree(t, calls, lines)
}

// ownAnswers are those that are not SeaBIOS's, of int 13h only where iPXE agrees
// with it.
var ownAnswers = map[string]string{
	"44 verify past the end":   "reading there says 04h, sector not found; iPXE has no function 44h",
	"4e hardware, prefetch on": "there is nothing to switch on, and a loader that asks for it loses nothing; they know no function 4Eh for this disk",
	"14 03 status of COM4":     "AH says time out: its bit 7 is what a program looks at",
	"15 87 move 16 words":      "what is moved is the same; SeaBIOS keeps descriptors of its own in the caller's table meanwhile",
	"15 5300 APM":              "there is none: a kernel started by kexec could not call it",
	"1a b101 PCI BIOS":         "there is none, as there are no PCI devices",
	"10 4f00 VESA":             "there is no graphics, and loaders go on with text",
}

// agree tells where our answers are not SeaBIOS's: of int 13h, where iPXE has the
// same; of the other services, of which iPXE has none of its own, always.
func agree(t *testing.T, calls []bootprobe.Call, ours []string) {
	t.Helper()
	read := func(name string) []string {
		b, err := os.ReadFile(filepath.Join("testdata", "answers", name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(b), "\n")
	}
	seabios, ipxe := read("seabios.txt"), read("ipxe.txt")
	for i, line := range ours {
		theirs := seabios[i] == ipxe[i] || calls[i].Int != 0
		own := ownAnswers[calls[i].Name] != ""
		switch {
		case theirs && !own && line != seabios[i]:
			t.Errorf("%s\nof SeaBIOS:\n%s", line, seabios[i])
		case own && line == seabios[i]:
			t.Errorf("an answer of our own is SeaBIOS's: %s", line)
		}
	}
}
