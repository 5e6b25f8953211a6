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

// Every call of int 13h is answered as testdata/answers/ours.txt says. Beside it
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
	m := newTestMachine(t, Config{Disk: d, Memory: 4 << 20, Steps: 1e6, Serial: &said})
	if err := m.cpu.Run(t.Context(), m.Steps); !errors.Is(err, ErrHalted) || !strings.Contains(said.String(), bootprobe.Done) {
		t.Fatalf("error %v, said %q", err, said.String())
	}
	lines, err := bootprobe.Answers(calls, m.bytes(bootprobe.Address, bootprobe.AnswersSize(calls)))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(lines, "\n") + "\n"
	golden.Compare(t, filepath.Join("testdata", "answers", "ours.txt"), got)
	agree(t, lines)
}

// ownAnswers are those for which SeaBIOS and iPXE agree and we do not.
var ownAnswers = map[string]string{
	"44 verify past the end":   "reading there says 04h, sector not found; iPXE has no function 44h",
	"4e hardware, prefetch on": "there is nothing to switch on, and a loader that asks for it loses nothing; they know no function 4Eh for this disk",
}

// agree tells where SeaBIOS and iPXE agree and our answers are not theirs.
func agree(t *testing.T, ours []string) {
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
		name, _, _ := strings.Cut(line, ":")
		if same := seabios[i] == ipxe[i]; same && line != ipxe[i] && ownAnswers[name] == "" {
			t.Errorf("%s\nof SeaBIOS and iPXE:\n%s", line, ipxe[i])
		}
	}
}
