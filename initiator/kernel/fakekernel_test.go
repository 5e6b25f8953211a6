//go:build linux && !386

package kernel

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel is the kernel's side of NETLINK_ISCSI as far as Login and Logout go: it keeps the order of calls that Linux
// insists on, and moves PDUs over the socket that is bound. It decodes messages by offsets of its own.
type fakeKernel struct {
	t *testing.T

	mu       sync.Mutex
	socks    []*os.File // one for each link, for events
	writeMu  sync.Mutex
	sessions map[uint32]*fakeSession
	lastSID  uint32
	calls    []string              // in order, parameters with their values
	fail     map[string]unix.Errno // by the start of a call
	silent   map[eventType]bool    // never answered
	params   map[uint32]string     // as last set, also of sessions that are gone
	host     map[uint32]string     // host parameters
	before   func(call string)     // runs before a call is served
	readers  sync.WaitGroup        // one for each bound connection
	noise    func(*fakeKernel)     // runs after each call: events of others
}

type fakeSession struct {
	conn    bool
	started bool
	tcp     net.Conn
	burst   [2]int // first, max
	busy    bool   // a login PDU is on its way
	itt     [4]byte
}

const fakeHost = 4

// newFakeKernel starts a kernel and gives the function that opens links to it.
func newFakeKernel(t *testing.T) *fakeKernel {
	k := &fakeKernel{
		t: t, sessions: make(map[uint32]*fakeSession), lastSID: 6, fail: make(map[string]unix.Errno),
		silent: make(map[eventType]bool), params: make(map[uint32]string), host: make(map[uint32]string),
	}
	t.Cleanup(k.readers.Wait)
	return k
}

// open makes a link over a pair of sockets that keep message boundaries.
func (k *fakeKernel) open() (link, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	sock := os.NewFile(uintptr(fds[1]), "kernel")
	k.mu.Lock()
	k.socks = append(k.socks, sock)
	k.mu.Unlock()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer sock.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := sock.Read(buf)
			if err != nil || n == 0 {
				return
			}
			k.serve(sock, append([]byte(nil), buf[:n]...))
		}
	}()
	k.t.Cleanup(func() { sock.Close(); <-served })
	return netlinkSocket{os.NewFile(uintptr(fds[0]), "program")}, nil
}

// serve answers one message as iscsi_if_rx does.
func (k *fakeKernel) serve(sock *os.File, m []byte) {
	ne := binary.NativeEndian
	if int(ne.Uint32(m)) != len(m) || len(m) < 72 {
		k.t.Errorf("message of %d bytes says %d", len(m), ne.Uint32(m))
		return
	}
	kind := eventType(ne.Uint32(m[16:]))
	call := k.describe(kind, m)
	if k.before != nil {
		k.before(call)
	}
	k.mu.Lock()
	k.calls = append(k.calls, call)
	var failure unix.Errno
	for prefix, errno := range k.fail {
		if strings.HasPrefix(call, prefix) {
			failure = errno
		}
	}
	k.mu.Unlock()
	answer := append([]byte(nil), m[:72]...)
	ne.PutUint32(answer, 72)
	viaIfError := true
	if failure == 0 {
		failure, viaIfError = k.perform(kind, m, answer)
	}
	switch {
	case failure != 0 && viaIfError:
		ne.PutUint32(answer[16:], uint32(evIfError))
		ne.PutUint32(answer[20:], uint32(-int32(failure)))
	case failure != 0:
		ne.PutUint32(answer[56:], uint32(-int32(failure)))
	}
	if k.noise != nil {
		k.noise(k)
	}
	if !k.silent[kind] {
		k.write(sock, answer)
	}
}

func (k *fakeKernel) write(sock *os.File, b []byte) {
	k.writeMu.Lock()
	defer k.writeMu.Unlock()
	if _, err := sock.Write(b); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, os.ErrClosed) {
		k.t.Logf("fake kernel: %v", err)
	}
}

func (k *fakeKernel) describe(kind eventType, m []byte) string {
	ne := binary.NativeEndian
	switch kind {
	case evSetParam:
		return fmt.Sprintf("%v %d=%s", kind, ne.Uint32(m[40:]), strings.TrimSuffix(string(m[72:]), "\x00"))
	case evSetHostParam:
		return fmt.Sprintf("%v %d=%s", kind, ne.Uint32(m[36:]), strings.TrimSuffix(string(m[72:]), "\x00"))
	case evSendPDU:
		return fmt.Sprintf("%v %#x", kind, m[72]&0x3f)
	}
	return kind.String()
}

// perform does the work; viaIfError tells the two ways apart in which Linux reports failures.
func (k *fakeKernel) perform(kind eventType, m, answer []byte) (errno unix.Errno, viaIfError bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ne := binary.NativeEndian
	sid := ne.Uint32(m[32:])
	s := k.sessions[sid]
	if kind == evCreateSession {
		k.lastSID++
		k.sessions[k.lastSID] = &fakeSession{}
		ne.PutUint32(answer[56:], k.lastSID)
		ne.PutUint32(answer[60:], fakeHost)
		return 0, false
	}
	if kind == evSetHostParam {
		k.host[ne.Uint32(m[36:])] = strings.TrimSuffix(string(m[72:]), "\x00")
		return 0, false
	}
	if s == nil {
		return unix.EINVAL, true
	}
	if kind != evDestroySession && kind != evCreateConn && !s.conn {
		return unix.EINVAL, true
	}
	switch kind {
	case evCreateConn:
		s.conn = true
		ne.PutUint32(answer[56:], sid)
		ne.PutUint32(answer[60:], ne.Uint32(m[36:]))
	case evBindConn:
		return k.bind(sid, s, int(ne.Uint64(m[40:]))), false
	case evSetParam:
		return k.setParam(s, m), true
	case evSendPDU:
		return k.sendPDU(s, m), false
	case evStartConn:
		if s.tcp == nil || s.burst[0] > s.burst[1] {
			return unix.EINVAL, false
		}
		s.started = true
	case evStopConn:
		if s.tcp != nil {
			s.tcp.Close()
			s.tcp = nil
		}
	case evDestroyConn:
		s.conn = false
	case evDestroySession:
		if s.conn {
			return unix.EBUSY, true
		}
		delete(k.sessions, sid)
	default:
		return unix.ENOSYS, true
	}
	return 0, false
}

// bind takes a reference of its own to the program's socket.
func (k *fakeKernel) bind(sid uint32, s *fakeSession, fd int) unix.Errno {
	own, err := unix.Dup(fd)
	if err != nil {
		return unix.EEXIST
	}
	f := os.NewFile(uintptr(own), "bound")
	defer f.Close()
	if s.tcp, err = net.FileConn(f); err != nil {
		return unix.EINVAL
	}
	tcp := s.tcp
	k.readers.Go(func() { k.readPDUs(sid, s, tcp) })
	return 0
}

func (k *fakeKernel) setParam(s *fakeSession, m []byte) unix.Errno {
	ne := binary.NativeEndian
	id, length := ne.Uint32(m[40:]), int(ne.Uint32(m[44:]))
	value, terminated := strings.CutSuffix(string(m[72:]), "\x00")
	if s.tcp == nil {
		return unix.ENOTCONN
	}
	if !terminated || length != len(m)-72 {
		return unix.EINVAL
	}
	var n int
	_, err := fmt.Sscan(value, &n)
	switch id {
	case 5: // MAX_R2T
		if err != nil || n&(n-1) != 0 || n == 0 {
			return unix.EINVAL
		}
	case 7, 8: // FIRST_BURST, MAX_BURST
		s.burst[id-7] = n
	case 36, 39: // as if this kernel did not know TARGET_ALIAS and BOOT_ROOT
		return unix.ENOSYS
	}
	k.params[id] = value
	return 0
}

// sendPDU writes a PDU with a task tag of the kernel's own.
func (k *fakeKernel) sendPDU(s *fakeSession, m []byte) unix.Errno {
	ne := binary.NativeEndian
	header, size := int(ne.Uint32(m[40:])), int(ne.Uint32(m[44:]))
	pdu := m[72:]
	if header != 48 || header+size != len(pdu) || size > 8192 || s.tcp == nil || s.busy {
		return unix.EPERM
	}
	s.busy = true
	s.itt = [4]byte{0xA0, 1, 2, 3}
	copy(pdu[16:], s.itt[:])
	pdu = append(pdu, make([]byte, -size&3)...)
	if _, err := s.tcp.Write(pdu); err != nil {
		return unix.EPERM
	}
	return 0
}

// readPDUs passes on what the target sends.
func (k *fakeKernel) readPDUs(sid uint32, s *fakeSession, tcp net.Conn) {
	for {
		pdu := make([]byte, 48)
		_, err := io.ReadFull(tcp, pdu)
		if err == nil {
			size := int(pdu[5])<<16 | int(pdu[6])<<8 | int(pdu[7])
			pdu = append(pdu, make([]byte, (size+3)&^3)...)
			_, err = io.ReadFull(tcp, pdu[48:])
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			k.event(evConnError, sid, 0, 1020, nil)
			return
		}
		k.mu.Lock()
		s.busy = false
		known := [4]byte(pdu[16:20]) == s.itt
		k.mu.Unlock()
		if !known {
			k.t.Errorf("target answers with task tag %x", pdu[16:20])
		}
		k.event(evRecvPDU, sid, 0, 0, pdu)
	}
}

// event multicasts.
func (k *fakeKernel) event(kind eventType, sid, cid, cause uint32, rest []byte) {
	ne := binary.NativeEndian
	m := make([]byte, 72, 72+len(rest))
	m = append(m, rest...)
	ne.PutUint32(m, uint32(len(m)))
	ne.PutUint32(m[16:], uint32(kind))
	ne.PutUint32(m[56:], sid)
	ne.PutUint32(m[60:], cid)
	ne.PutUint32(m[64:], cause)
	k.mu.Lock()
	socks := slices.Clone(k.socks)
	k.mu.Unlock()
	for _, sock := range socks {
		k.write(sock, m)
	}
}

// left gives how many sessions there are.
func (k *fakeKernel) left() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sessions)
}

// shut ends what sessions are left, as a machine does that is switched off.
func (k *fakeKernel) shut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.sessions {
		if s.tcp != nil {
			s.tcp.Close()
		}
	}
}

func (k *fakeKernel) called() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.calls...)
}

// testConfig is a Config that goes through the fake kernel.
func (k *fakeKernel) testConfig(portal string) Config {
	k.t.Helper()
	return Config{
		Initiator: "iqn.2024-01.test:initiator", Target: "iqn.2024-01.test:disk", Portal: portal,
		Roots: k.roots(), Timeouts: Timeouts{Login: 20 * time.Second}, openLink: k.open,
	}
}

// roots makes the little of sysfs that Login reads.
func (k *fakeKernel) roots() Roots {
	k.t.Helper()
	dir := k.t.TempDir()
	r := Roots{dir + "/sys", dir + "/dev", dir + "/proc"}
	put(k.t, r.Sys+"/class/iscsi_transport/tcp/handle", "18446744072\n")
	return r
}

// put writes a file and makes its directories.
func put(t *testing.T, path, text string) {
	t.Helper()
	dir := path[:strings.LastIndex(path, "/")]
	if err := cmp.Or(os.MkdirAll(dir, 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}
