package target_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// childRole is the environment variable that makes this program a child of the
// tests, with what it is to do as JSON.
const childRole = "BOOTLUN_TEST_CHILD"

// calmTarget is a second target of a child, with a disk of its own.
const calmTarget = "iqn.2001-04.com.example:calm"

// role is what a child is to do: one of them.
type role struct {
	Serve  *bounds
	Attack *siege
	Open   *opening
}

func TestMain(m *testing.M) {
	text := os.Getenv(childRole)
	if text == "" {
		os.Exit(m.Run())
	}
	var r role
	err := json.Unmarshal([]byte(text), &r)
	switch {
	case err != nil:
	case r.Serve != nil:
		err = r.Serve.run()
	case r.Attack != nil:
		r.Attack.run()
	case r.Open != nil:
		r.Open.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bounds are those of target.Config that tests of a child set.
type bounds struct {
	QueueDepth, MaxSessions, MaxPendingLogins int
	MemoryLimit                               int64
	StallTimeout, LoginTimeout                time.Duration
}

// report is what a child says of itself.
type report struct {
	Sessions, Goroutines int
	Memory               int64 // target.Server.MemoryInUse
	Heap                 uint64
}

// run serves two targets on a port of loopback, which it prints, and a report for
// each line of input, until that ends.
func (b *bounds) run() error {
	srv, err := target.New(target.Config{
		Targets: []*target.Target{
			disk(store.NewMemory(diskSize)),
			{Name: calmTarget, LUNs: []target.LUN{{Store: store.NewMemory(diskSize)}}},
		},
		QueueDepth: b.QueueDepth, MaxSessions: b.MaxSessions, MaxPendingLogins: b.MaxPendingLogins,
		MemoryLimit: b.MemoryLimit, StallTimeout: b.StallTimeout, LoginTimeout: b.LoginTimeout,
		LogoutTimeout: -1, Offer: iscsi.Offer{ErrorRecoveryLevel: 2},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	answer(func() any {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return report{len(srv.Sessions()), runtime.NumGoroutine(), srv.MemoryInUse(), m.HeapAlloc}
	})
	stop()
	if err := <-ended; !errors.Is(err, target.ErrServerClosed) {
		return err
	}
	return nil
}

// answer prints an answer to each line of input, as JSON, until that ends.
func answer(f func() any) {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := json.NewEncoder(os.Stdout).Encode(f()); err != nil {
			return
		}
	}
}

// child is a process that plays a role.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	stop func()
	port string // of a server
}

// startServer starts a server in a process of its own, which must be well when the
// test ends.
func startServer(t *testing.T, b bounds) *child {
	t.Helper()
	c := start(t, role{Serve: &b}, os.Args[0])
	port, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	c.port = strings.TrimSpace(port)
	return c
}

func start(t *testing.T, r role, command ...string) *child {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(command[0], command[1:]...)}
	c.cmd.Env = append(os.Environ(), childRole+"="+string(text), "GORACE=atexit_sleep_ms=0")
	c.cmd.Stderr = t.Output()
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	c.stop = sync.OnceFunc(func() {
		c.in.Close()
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	})
	t.Cleanup(c.stop)
	return c
}

// ask has the child answer.
func (c *child) ask(v any) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.in)
	var line []byte
	if err == nil {
		line, err = c.out.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, v)
	}
	if err != nil {
		c.t.Fatalf("%v does not answer: %v", c.cmd, err)
	}
}

// addr is where the child listens, by the address of loopback with the given end.
func (c *child) addr(end int) string {
	return net.JoinHostPort("127.0.0."+strconv.Itoa(end), c.port)
}

// report asks a server how it is.
func (c *child) report() (r report) {
	c.t.Helper()
	c.ask(&r)
	return r
}

// proc names a file of the child's in /proc.
func (c *child) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid), name)
}

// descriptors returns how many the child has.
func (c *child) descriptors() int {
	c.t.Helper()
	list, err := os.ReadDir(c.proc("fd"))
	if err != nil {
		c.t.Skipf("SKIP: needs /proc: %v", err)
	}
	return len(list)
}

// peak returns the most memory that the child has had at one time, in bytes.
func (c *child) peak() int64 { return c.status("VmHWM:") }

// resident returns how much memory the child has.
func (c *child) resident() int64 { return c.status("VmRSS:") }

func (c *child) status(key string) int64 {
	c.t.Helper()
	text, err := os.ReadFile(c.proc("status"))
	if err != nil {
		c.t.Skipf("SKIP: needs /proc: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == key {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return n << 10
		}
	}
	c.t.Fatalf("no %s in %s", key, c.proc("status"))
	return 0
}

// settle waits until the child has no more sessions than are left, and holds no
// more than before.
func (c *child) settle(before report, descriptors int) {
	c.t.Helper()
	var now report
	var open int
	for end := time.Now().Add(3 * patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		now, open = c.report(), c.descriptors()
		if now.Sessions <= before.Sessions && now.Goroutines <= before.Goroutines && now.Memory <= before.Memory && open <= descriptors {
			return
		}
	}
	c.t.Errorf("the server has %+v and %d descriptors, before it had %+v and %d", now, open, before, descriptors)
}

// sizeOf is how large a test is to be: what an environment variable says, or what
// is quick.
func sizeOf(variable string, quick int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return quick
}
