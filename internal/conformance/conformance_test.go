package conformance_test

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/conformance"
	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// update writes docs/conformance.md, with a run of tgt's beside ours: see "make
// conformance".
var update = flag.Bool("update", false, "write docs/conformance.md from this run")

const (
	name    = "iqn.2001-04.com.example:disk"
	lunSize = 256 << 20
)

// slowMedium takes 8 seconds to be overwritten whole: the suite's Sanitize.Reset
// wants to see a SANITIZE that is still going after 4 seconds, as on a disk.
type slowMedium struct{ *store.Memory }

func (s slowMedium) WriteAt(p []byte, off int64) (int, error) {
	const piece = 256 << 10 // as a SANITIZE writes
	if len(p) >= piece {
		time.Sleep(time.Duration(len(p)) * 8 * time.Second / lunSize)
	}
	return s.Memory.WriteAt(p, off)
}

// luns are the kinds of LUN that the suite is run on, and what must come of it.
var luns = []struct {
	title  string
	lun    target.LUN
	passed int // at least
	// skips are the tests that are skipped, and why; others must not be. Nil
	// says that the suite's own reasons are enough.
	skips  map[string]string
	suites []string // that apply; nil: all
	// fails are the tests that fail by what they assume, and why.
	fails map[string]string
}{
	{title: "disk, thin, removable", lun: target.LUN{Removable: true, PhysicalBlockSize: 512}, passed: 215, skips: diskSkips},
	{title: "disk with 4096-byte blocks", lun: target.LUN{Removable: true, BlockSize: 4096}, passed: 215, fails: fails4096},
	{title: "read-only disk", lun: target.LUN{ReadOnly: true}, passed: 60, suites: readOnlySuites},
	{title: "CD-ROM", lun: target.LUN{CDROM: true}, passed: 25, suites: discSuites},
}

// alone is a test that is run once more in a process of its own, which counts:
// with two URLs Sanitize.Reservations, before it, leaves the second one's
// reservation behind.
const alone = "Sanitize.Reset"

// readOnlySuites do not expect a write to succeed.
var readOnlySuites = []string{
	"Inquiry", "Mandatory", "ModeSense6", "Prefetch10", "Prefetch16", "PrinReadKeys", "PrinServiceactionRange", "PrinReportCapabilities",
	"Read6", "Read10", "Read12", "Read16", "ReadCapacity10", "ReadCapacity16", "ReadDefectData10", "ReadDefectData12", "ReadOnly",
	"ReportSupportedOpcodes", "Reserve6", "StartStopUnit", "TestUnitReady", "Verify10", "Verify12", "Verify16", "iSCSIcmdsn",
}

// discSuites are those that ask for nothing that only a disk has.
var discSuites = []string{
	"Inquiry", "Mandatory", "ModeSense6", "NoMedia", "PreventAllow", "PrinReadKeys", "PrinServiceactionRange", "PrinReportCapabilities",
	"ProutRegister", "ProutClear", "ProutPreempt", "Read10", "Read12", "ReadCapacity10", "ReadOnly", "ReportSupportedOpcodes", "Reserve6",
	"StartStopUnit", "TestUnitReady", "iSCSIcmdsn",
}

// fails4096 are the tests that know blocks of 512 bytes only.
var fails4096 = map[string]string{
	"ProutReserve.AccessEA":   only512,
	"ProutReserve.AccessWE":   only512,
	"ProutReserve.AccessEARO": only512,
	"ProutReserve.AccessWERO": only512,
	"ProutReserve.AccessEAAR": only512,
	"ProutReserve.AccessWEAR": only512,
}

const (
	only512  = "To find out whether the nexus may write, the test sends 512 bytes for a block, whatever the block's size is; libiscsi's master has that mended."
	noKey    = "Nothing is encrypted, so there is no key to erase: SANITIZE CRYPTO ERASE does not exist (SBC-4, 5.30.4)."
	partly   = "Passes for OVERWRITE and BLOCK ERASE; the part about CRYPTO ERASE is skipped."
	physical = "Needs a physical block of several logical ones; run on a LUN of its own, above. On this LUN it is one, because GetLBAStatus.UnmapSingle asks for the block after another (`i + 1`) and expects the answer for the next physical one (`i + lbppb`), which is right only if they are the same."
)

var diskSkips = map[string]string{
	"CompareAndWrite.InvalidDataOutSize": physical,
	"WriteSame10.InvalidDataOutSize":     physical,
	"WriteSame10.UnmapUnaligned":         physical,
	"WriteSame16.InvalidDataOutSize":     physical,
	"WriteSame16.UnmapUnaligned":         physical,
	"ReadOnly.ReadOnlySBC":               "Is for a write-protected LUN: passes on the read-only one.",
	"Sanitize.CryptoErase":               noKey,
	"Sanitize.Readonly":                  partly,
	"Sanitize.Reservations":              partly,
}

// serve serves one LUN on loopback and returns its URL.
func serve(t *testing.T, lun target.LUN) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lun.Store = slowMedium{store.NewMemory(lunSize)}
	srv, err := target.New(target.Config{
		Targets: []*target.Target{{Name: name, LUNs: []target.LUN{lun}}}, LogoutTimeout: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, target.ErrServerClosed) {
			t.Error(err)
		}
	})
	return "iscsi://" + l.Addr().String() + "/" + name + "/0"
}

// run runs tests of the suite with two paths to one LUN, or one to a disc, of
// which the suite takes no more.
func run(t *testing.T, url, pattern string, disc bool) conformance.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	urls := []string{url, url}
	if disc {
		urls = urls[:1]
	}
	r, output, err := conformance.Run(ctx, pattern, urls...)
	if errors.Is(err, conformance.ErrNoSuite) {
		t.Skip("SKIP: needs iscsi-test-cu (apt install libiscsi-bin)")
	}
	t.Logf("%d passed, %d failed, %d skipped", r.Count(conformance.Passed), r.Count(conformance.Failed), r.Count(conformance.Skipped))
	if err != nil || t.Failed() || testing.Verbose() {
		t.Logf("%v\n%s", err, output)
	}
	if err != nil {
		t.FailNow()
	}
	return r
}

// TestSuite runs the whole suite on every kind of LUN. No test may fail, and on
// the first kind none may be skipped without a reason of ours.
func TestSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: takes two minutes, and -short is set")
	}
	report := conformance.Report{}
	t.Run("all", func(t *testing.T) {
		for i, k := range luns {
			report.Runs = append(report.Runs, conformance.NamedRun{Title: "bootlun, " + k.title, Skips: k.skips, Fails: k.fails})
			t.Run(k.title, func(t *testing.T) {
				t.Parallel()
				url := serve(t, k.lun)
				var r conformance.Result
				for _, suite := range k.suites {
					r = append(r, run(t, url, "ALL."+suite, k.lun.CDROM)...)
				}
				if k.suites == nil {
					r = run(t, url, "ALL", false).With(run(t, url, "ALL."+alone, false))
				}
				report.Runs[i].Result = r
				failed := slices.DeleteFunc(r.Names(conformance.Failed), func(name string) bool { return k.fails[name] != "" })
				if len(failed) > 0 || r.Count(conformance.Passed) < k.passed {
					t.Errorf("failed: %q; passed: %d, want at least %d", failed, r.Count(conformance.Passed), k.passed)
				}
				for _, name := range r.Names(conformance.Skipped) {
					if k.skips != nil && k.skips[name] == "" {
						test, _ := r.Find(name)
						t.Errorf("%s was skipped: %s", name, test.Reason)
					}
				}
			})
		}
		t.Run("large physical blocks", func(t *testing.T) {
			t.Parallel()
			url := serve(t, target.LUN{Removable: true})
			for name, why := range diskSkips {
				if why != physical {
					continue
				}
				report.Physical = append(report.Physical, name)
				if r := run(t, url, "ALL."+name, false); r.Count(conformance.Passed) != 1 {
					t.Errorf("%s: %+v", name, r)
				}
			}
			slices.Sort(report.Physical)
		})
		if *update {
			for _, removable := range []string{"0", "1"} {
				t.Run("tgt"+removable, func(t *testing.T) {
					title := map[string]string{"0": "tgt, disk, thin", "1": "tgt, disk, thin, removable"}[removable]
					report.Runs = append(report.Runs, conformance.NamedRun{Title: title, Peer: true, Result: run(t, serveTGT(t, removable), "ALL", false)})
				})
			}
		}
	})
	if *update && !t.Failed() {
		if err := os.WriteFile("../../docs/conformance.md", report.Markdown(), 0o666); err != nil {
			t.Error(err)
		}
	}
}

// serveTGT has tgt serve a LUN like the first of luns.
func serveTGT(t *testing.T, removable string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, lunSize); err != nil {
		t.Fatal(err)
	}
	g := peers.TGTFor(t, "127.0.0.1")
	tid, err := g.Target(name, []string{path})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Admin("--mode", "logicalunit", "--op", "update", "--tid", tid, "--lun", "1", "--params", "thin_provisioning=1,removable="+removable); err != nil {
		t.Fatal(err)
	}
	return "iscsi://" + g.Portal + "/" + name + "/1"
}
