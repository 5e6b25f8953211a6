package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initiator/kernel"
)

// What the keeper leaves for people and programs of the installed system. The same lines go to the kernel's log.
const (
	keeperLog    = "/run/bootlun/keeper.log"
	keeperStatus = "/run/bootlun/keeper.json"
)

// RunKeeper is the keeper process, started by init with its order on in. It says on out that it is ready, and ends with the
// last of its sessions, or by SIGTERM.
func RunKeeper(ctx context.Context, in io.ReadCloser, out io.WriteCloser) error {
	k, err := prepareKeeper(in)
	answer := keeperReady
	if err != nil {
		answer = strings.ReplaceAll(err.Error(), "\n", "; ") + "\n"
	}
	_, writeErr := io.WriteString(out, answer)
	if err = errors.Join(err, writeErr, in.Close(), out.Close()); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM)
	defer stop()
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE, unix.SIGINT)
	return k.run(ctx)
}

// keeperProcess is what the keeper works with.
type keeperProcess struct {
	order order
	log   *slog.Logger

	mu     sync.Mutex
	states [][]kernel.KeptState // of each kernel.Keep
}

// prepareKeeper reads the order and makes the process one that no disk can stop.
func prepareKeeper(in io.Reader) (*keeperProcess, error) {
	k := new(keeperProcess)
	if err := json.NewDecoder(in).Decode(&k.order); err != nil {
		return nil, fmt.Errorf("read the order: %w", err)
	}
	if err := moveIn(); err != nil {
		return nil, err
	}
	if err := harden(); err != nil {
		return nil, err
	}
	messages, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{} // the kernel adds its own
		}
		return a
	}
	k.log = slog.New(slog.NewMultiHandler(
		slog.NewTextHandler(&boundedFile{path: keeperLog}, nil),
		slog.NewTextHandler(kernelLog{messages}, &slog.HandlerOptions{ReplaceAttr: noTime})))
	return k, nil
}

func (k *keeperProcess) run(ctx context.Context) error {
	k.log.Info("the keeper is at work and in charge, until an iscsid takes over", "pid", os.Getpid(), "sessions", len(k.order.Sessions))
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { k.settle() })
	for _, l := range k.order.Leases {
		others.Go(func() { l.keep(ctx, k.log) })
	}
	if k.order.Multipath != nil {
		others.Go(func() {
			k.order.Multipath.keep(ctx, k.log, func(ctx context.Context, s kernel.Kept) { k.keep(ctx, s) })
		})
	}
	var sessions []kernel.Kept
	for _, s := range k.order.Sessions {
		sessions = append(sessions, s.kept())
	}
	err := k.keep(ctx, sessions...)
	cancel()
	others.Wait()
	k.log.Info("the keeper ends", "err", err)
	return err
}

// keep is kernel.Keep, of whose sessions others are told.
func (k *keeperProcess) keep(ctx context.Context, sessions ...kernel.Kept) error {
	var states []kernel.KeptState
	for _, s := range sessions {
		states = append(states, kernel.KeptState{SID: s.SID, Target: s.Config.Target, Portal: s.Config.Portal, State: "LOGGED_IN"})
	}
	k.mu.Lock()
	slot := len(k.states)
	k.states = append(k.states, nil)
	k.mu.Unlock()
	k.tell(slot, states)
	return kernel.Keep(ctx, kernel.KeeperConfig{
		Sessions: sessions, Logger: k.log, Changed: func(states []kernel.KeptState) { k.tell(slot, states) },
	})
}

// tell leaves the sessions' states where others can read them.
func (k *keeperProcess) tell(slot int, states []kernel.KeptState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.states[slot] = states
	status := struct {
		PID      int                `json:"pid"`
		Sessions []kernel.KeptState `json:"sessions"`
	}{os.Getpid(), slices.Concat(k.states...)}
	text, err := json.MarshalIndent(status, "", "  ")
	if err == nil {
		err = replaceFile(keeperStatus, append(text, '\n'))
	}
	if err != nil {
		k.log.Warn("leave the sessions' states for others", "err", err)
	}
}

// replaceFile writes a file of /run, which no reader sees half.
func replaceFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// moveIn leaves the initramfs, whose files are about to be deleted, for a root directory of the keeper's own: the kernel's file
// systems and the system's /run, nothing else. The mount namespace is the keeper's already, so nothing that the system mounts is
// in it, and nothing in it keeps the system from unmounting its disks.
func moveIn() error {
	const root = "/mnt"
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID, "mode=0755,size=64k"); err != nil {
		return fmt.Errorf("mount the keeper's root: %w", err)
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run"} {
		if err := os.Mkdir(root+dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, root+dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount the keeper's %s: %w", dir, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the keeper's root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("enter the keeper's root: %w", err)
	}
	return os.Chdir("/")
}

// harden makes sure that the process never waits for the disk that it keeps: all its memory stays in memory, what it allocates
// is not got by writing to disks, and it is the last to be killed for want of memory.
func harden() error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("PR_SET_IO_FLUSHER: %w", errno)
	}
	for file, text := range map[string]string{"/proc/self/oom_score_adj": "-1000", "/proc/self/comm": "bootlun-keeper"} {
		if err := os.WriteFile(file, []byte(text), 0); err != nil {
			return err
		}
	}
	// On fault: Go reserves far more than it ever uses.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("lock the memory: %w", err)
	}
	return nil
}

// settle does what has time until the machine has nothing more urgent to do: nobody is to wait for it in a boot. Until it is done
// the program's file is in memory all the same, the initramfs's; only swap space could take it from there.
func (k *keeperProcess) settle() {
	runtime.LockOSThread() // the thread ends with the goroutine, and its priority with it
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19); err != nil {
		k.log.Warn("work in the background", "err", err)
	}
	if err := lockProgram(); err != nil {
		k.log.Warn("the keeper's program is not locked in memory", "err", err)
	}
	if err := copyProgram("/proc/self/exe", shutdownProgram); err != nil {
		k.log.Warn("nobody unmounts the root and logs out at the machine's end", "err", err)
	}
}

// copyProgram puts a program where it can be executed.
func copyProgram(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// lockProgram brings in and locks the program's own text and data, which so far are locked only where they have been used.
func lockProgram() error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		// "00400000-0080c000 r-xp 00000000 00:02 37  /bin/bootlun-init": proc(5). What is of no file has no inode.
		f := strings.Fields(line)
		if len(f) < 5 || f[4] == "0" || f[1][0] != 'r' {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		// By number: Go's own mlock wants a slice, and these pages are not Go's to have one of.
		if _, _, errno := unix.Syscall(unix.SYS_MLOCK, uintptr(start), uintptr(end-start), 0); errno != 0 {
			return fmt.Errorf("lock the program: %w", errno)
		}
	}
	return nil
}

// kernelLog writes lines to the kernel's log.
type kernelLog struct{ w io.Writer }

func (l kernelLog) Write(line []byte) (int, error) {
	const notice = "<5>"
	if _, err := l.w.Write(append([]byte(notice+"bootlun-keeper: "), bytes.TrimRight(line, "\n")...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// boundedFile is a log of which the last part is kept: the file, and the one before it as .old.
type boundedFile struct {
	path string
	size int64
}

const maxLog = 128 << 10

// Write appends a line. It opens the file each time, so that nothing is held open.
func (f *boundedFile) Write(line []byte) (int, error) {
	if f.size += int64(len(line)); f.size > maxLog {
		f.size = int64(len(line))
		if err := os.Rename(f.path, f.path+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return 0, err
	}
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	n, err := file.Write(line)
	return n, errors.Join(err, file.Close())
}
