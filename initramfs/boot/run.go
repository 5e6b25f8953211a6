package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/u-root/u-root/pkg/efivarfs"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/bootloader/kexec"
	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/initiator/kernel"
	"github.com/bootlun/bootlun/initramfs/modules"
)

// machine is what the steps work on: each fills in what the next ones need.
type machine struct {
	cfg Config
	log *slog.Logger

	modules *modules.Loader
	table   *ibft.Table
	netDevs map[uint8]string // network device by the NIC's index in the table
	leases  []keptLease      // for the keeper to renew
	paths   []sessionPath    // those logged in to
	missing []kernel.Config  // of paths by which nobody was there
	disk    kernel.Disk
	shared  *multipathDisk // what disk is of, if there are several paths to it
	keeper  *keeperChild   // nil if there is none
	handoff bootloader.Handoff
	own     ownKernel // of HandoffKexec; HandoffBootSector uses the session
	began   time.Time // when our init began

	// What tests put others in the place of.
	kexec      func(kexec.Config) (*kexec.Loaded, error)
	freeMemory func() int64 // bytes
	efiVars    func(context.Context) efivarfs.EFIVar
}

// sessionPath is a session, and how it was logged in to.
type sessionPath struct {
	config  kernel.Config
	session *kernel.Session
}

// timelineFile tells the installed system how its boot went; /run moves along.
const timelineFile = "/run/bootlun/boot.json"

// Run boots this machine: it ends in the installed system's init and so
// returns only an error. out is the console. The caller is PID 1 and has
// called [Prepare].
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	m := &machine{cfg: cfg, log: logger(cfg, out), netDevs: make(map[uint8]string), began: time.Now(), kexec: kexec.Load, freeMemory: freeMemory}
	m.efiVars = m.firmwareVariables
	c := console{out}
	c.result(Result{Step: "kernel", Took: uptime(), Detail: "until our init"})
	var results []Result
	for _, s := range cfg.Handoff.steps() {
		r, err := runStep(ctx, s, m)
		if err != nil {
			return err
		}
		c.result(r)
		results = append(results, r)
	}
	if err := writeTimeline(timelineFile, results); err != nil {
		m.log.Warn("leave the boot timeline for the installed system", "error", err)
	}
	switch cfg.Handoff {
	case HandoffKexec:
		return m.startOwnKernel(ctx, c)
	case HandoffBootSector:
		return m.startBootSector(ctx, c)
	}
	return m.handOff(c)
}

func logger(cfg Config, out io.Writer) *slog.Logger {
	level := slog.LevelWarn
	if cfg.Debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	text, err := os.ReadFile("/proc/uptime")
	var seconds float64
	if err == nil {
		_, err = fmt.Sscan(string(text), &seconds)
	}
	if err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func writeTimeline(path string, results []Result) error {
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, append(text, '\n'), 0o644))
}
