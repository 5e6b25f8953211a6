//go:build linux && !386

package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// recoveryOff is what sysfs has for a recovery timeout that never comes.
const recoveryOff = "off"

// stateLoggedIn is the state of a session whose connection works.
const stateLoggedIn = "LOGGED_IN"

// Session is a session that the kernel has. Its fields are as they were when it was made or listed. Its methods may be called
// by one goroutine at a time.
type Session struct {
	// SID and CID number session and connection, Host the SCSI host that stands for the session.
	SID, CID uint32
	Host     int
	// Initiator and Target are iSCSI names, TPGT is the target portal group.
	Initiator, Target string
	TPGT              int
	// Portal is the address in use, PersistentPortal the one to come back to; both as "host:port".
	Portal, PersistentPortal string
	// Interface is the NIC as it was told to the kernel.
	Interface Interface
	// Params are what was negotiated.
	Params iscsi.Params
	// State is "LOGGED_IN", "FAILED" (being recovered) or "FREE".
	State string
	// ISID is its identity at the target; Sessions cannot see it and leaves it zero.
	ISID iscsi.ISID
	// LUN is the logical unit that Disk scans for. Sessions leaves it 0.
	LUN iscsi.LUN

	cfg Config
}

// Sessions lists the kernel's sessions, whoever made them, by number. No session and no iSCSI support both give an empty list.
func Sessions(roots Roots) ([]*Session, error) {
	cfg := Config{
		Roots: roots.withDefaults(), Logger: slog.New(slog.DiscardHandler), openLink: openNetlink,
		Timeouts: Timeouts{Login: defaultLoginTimeout},
	}
	class := filepath.Join(cfg.Roots.Sys, "class/iscsi_session")
	entries, err := os.ReadDir(class)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list iSCSI sessions: %w", err)
	}
	var sessions []*Session
	for _, e := range entries {
		sid, err := strconv.ParseUint(strings.TrimPrefix(e.Name(), "session"), 10, 32)
		if err != nil {
			continue
		}
		if s, err := readSession(cfg, uint32(sid)); err == nil { // it may be gone by now
			sessions = append(sessions, s)
		}
	}
	slices.SortFunc(sessions, func(a, b *Session) int { return cmp.Compare(a.SID, b.SID) })
	return sessions, nil
}

// dir is the session's directory of attributes.
func (s *Session) dir() sysDir { return sessionDir(s.cfg.Roots, s.SID) }

func sessionDir(r Roots, sid uint32) sysDir {
	return sysDir(r.Sys).sub("class/iscsi_session", fmt.Sprintf("session%d", sid))
}

func readSession(cfg Config, sid uint32) (*Session, error) {
	s := &Session{SID: sid, cfg: cfg}
	session := s.dir()
	conn := sysDir(cfg.Roots.Sys).sub("class/iscsi_connection", fmt.Sprintf("connection%d:%d", sid, s.CID))
	var err error
	if s.Host, err = hostNumber(string(session.sub("device"))); err != nil {
		return nil, err
	}
	host := sysDir(cfg.Roots.Sys).sub("class/iscsi_host", fmt.Sprintf("host%d", s.Host))
	s.Initiator, s.Target = session.text("initiatorname"), session.text("targetname")
	s.TPGT = int(session.number("tpgt"))
	s.State = session.text("state")
	s.Portal = joinAddress(conn.text("address"), conn.text("port"))
	s.PersistentPortal = joinAddress(conn.text("persistent_address"), conn.text("persistent_port"))
	s.Interface = Interface{Name: session.text("ifacename"), NetDev: host.text("netdev")}
	if mac, err := net.ParseMAC(host.text("hwaddress")); err == nil {
		s.Interface.HWAddress = mac
	}
	s.Params = readParams(session, conn)
	s.cfg.Timeouts.Replacement = time.Duration(session.number("recovery_tmo")) * time.Second
	if session.text("recovery_tmo") == recoveryOff {
		s.cfg.Timeouts.Replacement = -1
	}
	return s, nil
}

// SetReplacement changes how long the kernel holds I/O back while the connection is lost: see Timeouts.Replacement.
func (s *Session) SetReplacement(d time.Duration) error {
	return at("set the recovery timeout", s.Target, s.Portal, setRecovery(s.cfg.Roots, s.SID, d))
}

// setRecovery writes the timeout to sysfs, which from then on is the only way to change it.
func setRecovery(r Roots, sid uint32, d time.Duration) error {
	value := replacementSeconds(d)
	if d < 0 {
		value = recoveryOff
	}
	return writeFile(string(sessionDir(r, sid).sub("recovery_tmo")), value)
}

func joinAddress(host, port string) string {
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, port)
}

// readParams gives the parameters that sysfs shows; the others keep the protocol's defaults.
func readParams(session, conn sysDir) iscsi.Params {
	p := iscsi.DefaultParams()
	p.HeaderDigest = conn.number("header_digest") != 0
	p.DataDigest = conn.number("data_digest") != 0
	p.MaxRecvDataSegmentLength = int(conn.number("max_recv_dlength"))
	p.MaxSendDataSegmentLength = int(conn.number("max_xmit_dlength"))
	p.InitialR2T = session.number("initial_r2t") != 0
	p.ImmediateData = session.number("immediate_data") != 0
	p.MaxBurstLength = int(session.number("max_burst_len"))
	p.FirstBurstLength = int(session.number("first_burst_len"))
	p.MaxOutstandingR2T = int(session.number("max_outstanding_r2t"))
	p.DataPDUInOrder = session.number("data_pdu_in_order") != 0
	p.DataSequenceInOrder = session.number("data_seq_in_order") != 0
	p.ErrorRecoveryLevel = int(session.number("erl"))
	return p
}

// Logout flushes and removes the session's disks, logs out at the target and destroys the session. It refuses with ErrInUse
// while a disk is mounted, swapped to or held by another device. A target that does not answer is left behind.
func (s *Session) Logout(ctx context.Context) error {
	if err := s.logout(ctx); err != nil {
		return at("log out", s.Target, s.Portal, err)
	}
	return nil
}

func (s *Session) logout(ctx context.Context) error {
	if err := s.checkUnused(); err != nil {
		return err
	}
	transport, err := transportHandle(s.cfg.Roots.Sys)
	if err != nil {
		return err
	}
	if err := s.removeDevices(ctx); err != nil {
		return err
	}
	l, err := s.cfg.openLink()
	if err != nil {
		return err
	}
	defer l.Close()
	ctl := newControl(l, transport)
	ctl.watch(s.SID, s.CID)
	if err := s.sendLogout(ctx, ctl); err != nil {
		s.cfg.Logger.Warn("the target did not answer the logout", "target", s.Target, "err", err)
	}
	return ctl.destroy(s.SID, true, true)
}

// sendLogout closes the session at the target (RFC 7143, 11.14).
func (s *Session) sendLogout(ctx context.Context, ctl *control) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Login)
	defer cancel()
	request := iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession}
	var bhs iscsi.BHS
	request.Encode(&bhs)
	if err := ctl.send(&bhs, nil); err != nil {
		return err
	}
	for {
		bhs, _, err := ctl.receive(ctx)
		if err != nil {
			return err
		}
		var resp iscsi.LogoutResponse
		if err := resp.Decode(&bhs); err == nil {
			if resp.Response != iscsi.LogoutClosed {
				return fmt.Errorf("logout response: %v", resp.Response)
			}
			return nil
		}
	}
}
