package target

import (
	"cmp"
	"net"
	"slices"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// EventKind says what an [Event] is about.
type EventKind int

// Kinds of events.
const (
	// LoginEvent is the beginning of a session.
	LoginEvent EventKind = iota + 1
	// LogoutEvent is the end of a session, however it came about.
	LogoutEvent
)

// String returns "login" or "logout".
func (k EventKind) String() string {
	switch k {
	case LoginEvent:
		return "login"
	case LogoutEvent:
		return "logout"
	}
	return "unknown event"
}

// Event is something that happened to a session.
type Event struct {
	Kind    EventKind
	Session SessionInfo
	// Reason says why a session has ended; nil in other events.
	Reason error
}

// SessionInfo describes a session at one moment.
type SessionInfo struct {
	TSIH      uint16
	ISID      iscsi.ISID
	Initiator string // its iSCSI name
	Alias     string // what the initiator calls itself; may be empty
	User      string // the CHAP name it has proven; empty without CHAP
	Target    string // the target's name; empty in a discovery session
	Began     time.Time
	Params    iscsi.Params // the values in force; of those that connections differ in, the first one's

	// Connections are those that it has now, by CID; after its end, none.
	Connections []ConnectionInfo
	// Remote and Local are the ends of its first connection.
	Remote, Local net.Addr

	// Counts are the commands that it has had carried out so far.
	Counts Counts
	// Tasks is how many commands are under way.
	Tasks int
}

// ConnectionInfo describes a connection of a session at one moment.
type ConnectionInfo struct {
	CID           uint16
	Remote, Local net.Addr
	HeaderDigest  bool
	DataDigest    bool
}

// Sessions returns the sessions that there are now, by target, initiator and
// time.
func (s *Server) Sessions() []SessionInfo {
	s.mu.Lock()
	all := make([]*session, 0, len(s.sessions))
	for _, sess := range s.sessions {
		all = append(all, sess)
	}
	s.mu.Unlock()
	infos := make([]SessionInfo, len(all))
	for i, sess := range all {
		infos[i] = sess.info()
	}
	slices.SortFunc(infos, func(a, b SessionInfo) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Initiator, b.Initiator),
			a.Began.Compare(b.Began), cmp.Compare(a.TSIH, b.TSIH))
	})
	return infos
}

func (s *session) targetName() string { return s.id.target }

// info describes the session now.
func (s *session) info() SessionInfo {
	counts := s.counts()
	s.mu.Lock()
	defer s.mu.Unlock()
	return SessionInfo{
		TSIH: s.tsih, ISID: s.id.isid, Initiator: s.id.initiator, Alias: s.alias, User: s.who.user,
		Target: s.id.target, Began: s.began, Params: s.params,
		Connections: s.connectionInfos(), Remote: s.remote, Local: s.local,
		Counts: counts, Tasks: len(s.tasks),
	}
}

// connectionInfos describes the session's connections. The caller holds s.mu.
func (s *session) connectionInfos() []ConnectionInfo {
	var infos []ConnectionInfo
	for _, c := range s.conns {
		infos = append(infos, ConnectionInfo{
			CID: c.cid, Remote: c.nc.RemoteAddr(), Local: c.nc.LocalAddr(),
			HeaderDigest: c.params.HeaderDigest, DataDigest: c.params.DataDigest,
		})
	}
	slices.SortFunc(infos, func(a, b ConnectionInfo) int { return cmp.Compare(a.CID, b.CID) })
	return infos
}

// digests says for a log which digests are on.
func (c *conn) digests() string {
	switch p := &c.params; {
	case p.HeaderDigest && p.DataDigest:
		return "header,data"
	case p.HeaderDigest:
		return "header"
	case p.DataDigest:
		return "data"
	}
	return "none"
}
