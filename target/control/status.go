package control

import (
	"cmp"
	"fmt"
	"time"

	"github.com/bootlun/bootlun/target"
)

// Status is all that a server serves at one moment, as a tree.
type Status struct {
	Targets []TargetStatus `json:"targets"`
	// Portals are where initiators log in: ADDRESS:PORT,TAG. None means that the
	// server does not listen.
	Portals []string `json:"portals"`
	// Discovery are the sessions that have no target.
	Discovery []SessionStatus `json:"discovery,omitempty"`
	// Settings are those of the whole server that are in force.
	Settings Settings `json:"settings"`
	// PortGroups are the states of target port groups that are set.
	PortGroups []PortGroup `json:"portGroups,omitempty"`
	// Announcements are who is told of the targets.
	Announcements []Announcement `json:"announcements,omitempty"`
}

// TargetStatus is a target at one moment.
type TargetStatus struct {
	Name              string          `json:"name"`
	Alias             string          `json:"alias,omitempty"`
	CHAPUsers         []string        `json:"chapUsers,omitempty"`
	CHAPTarget        string          `json:"chapTarget,omitempty"` // mutual CHAP: the target's own name
	AllowedInitiators []string        `json:"allowedInitiators,omitempty"`
	Access            []Rule          `json:"access,omitempty"`
	Draining          bool            `json:"draining,omitempty"`
	Configured        bool            `json:"configured,omitempty"` // in the configuration file, which alone can change it
	InitiatorCHAP     []InitiatorCHAP `json:"initiatorChap,omitempty"`
	Redirect          *Redirect       `json:"redirect,omitempty"`
	PortGroup         uint16          `json:"portGroup,omitempty"`
	PortalGroups      []uint16        `json:"portalGroups,omitempty"`
	Hidden            bool            `json:"hidden,omitempty"`
	LUNs              []LUNStatus     `json:"luns"`
	Sessions          []SessionStatus `json:"sessions"`
}

// LUNStatus is a LUN at one moment.
type LUNStatus struct {
	Number       int                `json:"number"`
	Access       []Rule             `json:"access,omitempty"`
	Disk         string             `json:"disk,omitempty"` // of the configuration's disks
	Path         string             `json:"path"`           // or what it is on an NBD server
	Size         int64              `json:"size"`           // bytes
	BlockSize    int                `json:"blockSize"`
	ReadOnly     bool               `json:"readOnly,omitempty"`
	WriteThrough bool               `json:"writeThrough,omitempty"`
	Removable    bool               `json:"removable,omitempty"`
	Overlay      bool               `json:"overlay,omitempty"`
	Thin         bool               `json:"thin,omitempty"`
	Serial       string             `json:"serial"`
	NAA          string             `json:"naa"`
	Tasks        int                `json:"tasks"` // commands under way
	Counts       map[string]Counter `json:"counts"`
}

// SessionStatus is a session at one moment.
type SessionStatus struct {
	TSIH        uint16             `json:"tsih"`
	ISID        string             `json:"isid"`
	Initiator   string             `json:"initiator"`
	Alias       string             `json:"alias,omitempty"`
	User        string             `json:"user,omitempty"` // proven by CHAP
	Began       time.Time          `json:"began"`
	Tasks       int                `json:"tasks"` // commands under way
	Counts      map[string]Counter `json:"counts"`
	Negotiated  Negotiated         `json:"negotiated"`
	Connections []ConnectionStatus `json:"connections"`
}

// Negotiated are the values in force in a session (RFC 7143, 13).
type Negotiated struct {
	MaxConnections      int  `json:"maxConnections"`
	InitialR2T          bool `json:"initialR2T"`
	ImmediateData       bool `json:"immediateData"`
	MaxBurstLength      int  `json:"maxBurstLength"`
	FirstBurstLength    int  `json:"firstBurstLength"`
	MaxOutstandingR2T   int  `json:"maxOutstandingR2T"`
	DefaultTime2Wait    int  `json:"defaultTime2Wait"`
	DefaultTime2Retain  int  `json:"defaultTime2Retain"`
	DataPDUInOrder      bool `json:"dataPDUInOrder"`
	DataSequenceInOrder bool `json:"dataSequenceInOrder"`
	ErrorRecoveryLevel  int  `json:"errorRecoveryLevel"`
	ProtocolLevel       int  `json:"protocolLevel"`
	MaxRecvDataSegment  int  `json:"maxRecvDataSegmentLength"` // the target's
	MaxSendDataSegment  int  `json:"maxSendDataSegmentLength"` // the initiator's
}

// ConnectionStatus is a connection at one moment.
type ConnectionStatus struct {
	CID          uint16 `json:"cid"`
	Remote       string `json:"remote"` // address and port
	Local        string `json:"local"`
	HeaderDigest bool   `json:"headerDigest,omitempty"`
	DataDigest   bool   `json:"dataDigest,omitempty"`
}

// Counter is what commands of one kind have come to.
type Counter struct {
	Commands uint64  `json:"commands"`
	Errors   uint64  `json:"errors"`
	Bytes    uint64  `json:"bytes"`
	Seconds  float64 `json:"seconds"` // all of them together
}

// Status returns what is served now.
func (m *Manager) Status() Status {
	var s Status
	byName := make(map[string][]SessionStatus)
	for _, info := range m.server.Sessions() {
		byName[info.Target] = append(byName[info.Target], sessionStatus(&info))
	}
	s.Discovery = byName[""]
	s.Portals = []string{}
	for _, g := range m.server.Portals() {
		for _, p := range g.Portals {
			s.Portals = append(s.Portals, fmt.Sprintf("%s,%d", p, g.Tag))
		}
	}
	s.Settings = settingsOf(m.server.Config())
	s.Announcements = m.announcer.status()
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Settings.DiscoveryCHAP = m.cfg.ISCSI.DiscoveryCHAP
	s.Settings.Portals = m.cfg.ISCSI.Portals
	s.PortGroups = mergeGroups(m.cfg.PortGroups, m.keptGroups())
	for _, info := range m.server.Targets() {
		e := m.find(info.Name)
		if e == nil {
			continue
		}
		t := TargetStatus{
			Name: info.Name, Alias: info.Alias, CHAPUsers: info.CHAPUsers, CHAPTarget: info.CHAPTarget,
			AllowedInitiators: info.AllowedInitiators, Access: e.spec.Access, Draining: info.Draining, Configured: e.fixed,
			InitiatorCHAP: e.spec.InitiatorCHAP, Redirect: e.spec.Redirect,
			PortGroup: e.spec.PortGroup, PortalGroups: info.PortalGroups, Hidden: e.spec.Hidden,
			LUNs: []LUNStatus{}, Sessions: append([]SessionStatus{}, byName[info.Name]...),
		}
		for i := range info.LUNs {
			if d := e.disks[info.LUNs[i].Number]; d != nil {
				l := lunStatus(&info.LUNs[i], d)
				l.Access = e.accessOf(l.Number)
				t.LUNs = append(t.LUNs, l)
			}
		}
		s.Targets = append(s.Targets, t)
	}
	return s
}

// settingsOf are the settings that a server's configuration comes to.
func settingsOf(c target.Config) Settings {
	o := &c.Offer
	immediate := !o.NoImmediateData
	return Settings{
		MaxConnections: o.MaxConnections, ErrorRecoveryLevel: o.ErrorRecoveryLevel,
		HeaderDigest: digestOf(o.HeaderDigest), DataDigest: digestOf(o.DataDigest),
		InitialR2T: o.InitialR2T, ImmediateData: &immediate, MaxOutstandingR2T: o.MaxOutstandingR2T,
		MaxBurstLength: Size(o.MaxBurstLength), FirstBurstLength: Size(o.FirstBurstLength),
		MaxRecvDataSegment: Size(o.MaxRecvDataSegmentLength), DefaultTime2Retain: o.DefaultTime2Retain,
		QueueDepth: c.QueueDepth, MaxSessions: c.MaxSessions, MaxPendingLogins: c.MaxPendingLogins, MemoryLimit: Size(c.MemoryLimit),
		LoginTimeout: Duration(c.LoginTimeout), StallTimeout: Duration(c.StallTimeout),
		NOPInterval: Duration(c.NOPInterval), LogoutTimeout: Duration(c.LogoutTimeout),
	}
}

func lunStatus(l *target.LUNInfo, d *disk) LUNStatus {
	return LUNStatus{
		Number: l.Number, Disk: d.name, Path: cmp.Or(d.medium.Path, d.medium.NBD), Size: l.Size, BlockSize: l.BlockSize,
		ReadOnly: l.ReadOnly, WriteThrough: l.WriteThrough, Removable: l.Removable, Overlay: d.medium.Overlay, Thin: l.Thin,
		Serial: l.Serial, NAA: l.NAA, Tasks: l.Tasks, Counts: counters(&l.Counts),
	}
}

func sessionStatus(s *target.SessionInfo) SessionStatus {
	p := &s.Params
	status := SessionStatus{
		TSIH: s.TSIH, ISID: s.ISID.String(), Initiator: s.Initiator, Alias: s.Alias, User: s.User,
		Began: s.Began.Round(0), Tasks: s.Tasks, Counts: counters(&s.Counts),
		Negotiated: Negotiated{
			MaxConnections: p.MaxConnections, InitialR2T: p.InitialR2T, ImmediateData: p.ImmediateData,
			MaxBurstLength: p.MaxBurstLength, FirstBurstLength: p.FirstBurstLength, MaxOutstandingR2T: p.MaxOutstandingR2T,
			DefaultTime2Wait: p.DefaultTime2Wait, DefaultTime2Retain: p.DefaultTime2Retain,
			DataPDUInOrder: p.DataPDUInOrder, DataSequenceInOrder: p.DataSequenceInOrder,
			ErrorRecoveryLevel: p.ErrorRecoveryLevel, ProtocolLevel: p.ProtocolLevel,
			MaxRecvDataSegment: p.MaxRecvDataSegmentLength, MaxSendDataSegment: p.MaxSendDataSegmentLength,
		},
	}
	for _, c := range s.Connections {
		status.Connections = append(status.Connections, ConnectionStatus{
			CID: c.CID, Remote: c.Remote.String(), Local: c.Local.String(), HeaderDigest: c.HeaderDigest, DataDigest: c.DataDigest,
		})
	}
	return status
}

// counters leaves out kinds of commands that there were none of.
func counters(c *target.Counts) map[string]Counter {
	all := make(map[string]Counter)
	for kind := range c {
		if k := &c[kind]; k.Commands > 0 {
			all[target.CommandKind(kind).String()] = Counter{k.Commands, k.Errors, k.Bytes, k.Time.Seconds()}
		}
	}
	return all
}
