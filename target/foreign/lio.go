package foreign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/target/control"
)

// What saveconfig.json says, as far as ours can.
type lioConfig struct {
	Modules        []lioModule `json:"fabric_modules"`
	StorageObjects []lioStore  `json:"storage_objects"`
	Targets        []struct {
		Fabric string   `json:"fabric"`
		WWN    string   `json:"wwn"`
		TPGs   []lioTPG `json:"tpgs"`
	} `json:"targets"`
}

type lioStore struct {
	Name       string         `json:"name"`
	Plugin     string         `json:"plugin"`
	Dev        string         `json:"dev"`
	WWN        string         `json:"wwn"`
	ReadOnly   bool           `json:"readonly"`
	WriteBack  *bool          `json:"write_back"`
	Attributes map[string]any `json:"attributes"`
}

type lioTPG struct {
	Tag        int            `json:"tag"`
	Enable     *bool          `json:"enable"`
	Attributes map[string]any `json:"attributes"`
	lioUser
	LUNs []struct {
		Index         int    `json:"index"`
		StorageObject string `json:"storage_object"`
	} `json:"luns"`
	NodeACLs   []lioACL          `json:"node_acls"`
	Parameters map[string]string `json:"parameters"`
	Portals    []struct {
		Address string `json:"ip_address"`
		Port    int    `json:"port"`
	} `json:"portals"`
}

type lioModule struct {
	Name         string `json:"name"`
	Enabled      bool   `json:"discovery_enable_auth"`
	User         string `json:"discovery_userid"`
	Password     string `json:"discovery_password"`
	MutualUser   string `json:"discovery_mutual_userid"`
	MutualSecret string `json:"discovery_mutual_password"`
}

type lioACL struct {
	NodeWWN string `json:"node_wwn"`
	lioUser
	MappedLUNs []lioMapping `json:"mapped_luns"`
}

type lioMapping struct {
	Index        int  `json:"index"`
	TPGLUN       int  `json:"tpg_lun"`
	WriteProtect bool `json:"write_protect"`
}

type lioUser struct {
	User         string `json:"chap_userid"`
	Password     string `json:"chap_password"`
	MutualUser   string `json:"chap_mutual_userid"`
	MutualSecret string `json:"chap_mutual_password"`
}

// lioFile finds the lines of what is said of things with a name.
type lioFile struct {
	path string
	text []byte
}

// where makes the statement that notes are about: the first line with the text.
func (f lioFile) where(word, text string) *statement {
	s := &statement{file: f.path, line: 1, words: []string{word}}
	if i := bytes.Index(f.text, []byte(`"`+text+`"`)); i >= 0 {
		s.line = 1 + bytes.Count(f.text[:i], []byte("\n"))
	}
	return s
}

// lio reads saveconfig.json.
func (r *reader) lio(path string, text []byte) error {
	var c lioConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f := lioFile{path, text}
	r.lioDiscovery(f, c.Modules)
	stores := make(map[string]*lioStore)
	for i := range c.StorageObjects {
		s := &c.StorageObjects[i]
		stores["/backstores/"+s.Plugin+"/"+s.Name] = s
	}
	for _, t := range c.Targets {
		at := f.where(t.WWN, t.WWN)
		if t.Fabric != "iscsi" {
			r.notCarried(at, "its fabric is "+t.Fabric)
			continue
		}
		for i := range t.TPGs {
			if i > 0 {
				r.at(at, "%s has more portal groups than one: that with tag %d is not carried over", t.WWN, t.TPGs[i].Tag)
				continue
			}
			r.lioTPG(f, at, t.WWN, &t.TPGs[i], stores)
		}
	}
	return nil
}

func (r *reader) lioTPG(f lioFile, at *statement, name string, g *lioTPG, stores map[string]*lioStore) {
	t := &control.Target{Name: name}
	for _, l := range g.LUNs {
		r.lioLUN(f, t, l.Index, l.StorageObject, stores)
	}
	authenticates, open := truth(g.Attributes["authentication"]), truth(g.Attributes["generate_node_acls"])
	switch {
	case open:
		r.lioOpen(f, at, t, g)
	case len(g.NodeACLs) == 0:
		r.allow(t, at, nobody)
	default:
		r.lioMapped(f, at, t, g.NodeACLs)
	}
	if authenticates {
		r.lioUsers(f, at, t, g, open)
	}
	r.lioParameters(at, t, g.Parameters)
	if g.Enable != nil && !*g.Enable {
		r.at(at, "%s is disabled: it lets nobody in", name)
		shut(t)
	}
	for _, p := range g.Portals {
		if p.Address != "0.0.0.0" && p.Address != "[::0]" && p.Address != "::0" || p.Port != 3260 {
			r.at(f.where(p.Address, p.Address), "portal %s port %d is not carried over: say it in iscsi: portals", p.Address, p.Port)
		}
	}
	r.add(t, at)
}

// lioOpen is a target in demo mode, which anybody may use whole. Of an initiator
// that has an ACL of less, ours could keep out nobody but that one.
func (r *reader) lioOpen(f lioFile, at *statement, t *control.Target, g *lioTPG) {
	for i := range g.NodeACLs {
		acl := &g.NodeACLs[i]
		for _, l := range t.LUNs {
			if m := acl.mapping(l.Number); m == nil || m.Index != m.TPGLUN || m.WriteProtect && !l.ReadOnly {
				r.at(f.where(acl.NodeWWN, acl.NodeWWN), "%s may use less of LUN %d than all others may: say with access who the others are", acl.NodeWWN, l.Number)
				r.allow(t, at, nobody)
			}
		}
	}
	if truth(g.Attributes["demo_mode_write_protect"]) && len(g.NodeACLs) == 0 {
		r.at(at, "%s is read-only in demo mode, and its LUNs become read-only", t.Name)
		for i := range t.LUNs {
			t.LUNs[i].ReadOnly = true
		}
	}
}

// mapping is what an initiator has of a LUN, nil if nothing.
func (a *lioACL) mapping(number int) *lioMapping {
	for i := range a.MappedLUNs {
		if a.MappedLUNs[i].TPGLUN == number {
			return &a.MappedLUNs[i]
		}
	}
	return nil
}

// lioMapped gives each initiator the LUNs that are mapped to it, by the numbers by
// which it knows them.
func (r *reader) lioMapped(f lioFile, at *statement, t *control.Target, acls []lioACL) {
	disks := make(map[int]control.LUN)
	for _, l := range t.LUNs {
		disks[l.Number] = l
	}
	t.LUNs = nil
	of, users := make(map[int]int), make(map[int][]control.Rule) // the disk, and who may use it, by a LUN's number
	for i := range acls {
		acl := &acls[i]
		where := f.where(acl.NodeWWN, acl.NodeWWN)
		r.allow(t, where, acl.NodeWWN)
		for _, m := range acl.MappedLUNs {
			l, ok := disks[m.TPGLUN]
			disk, taken := of[m.Index]
			switch {
			case !ok: // which is noted already
				continue
			case taken && disk != m.TPGLUN:
				r.at(where, "LUN %d of %s is not carried over: for others LUN %d is another disk; give it a target of its own", m.Index, acl.NodeWWN, m.Index)
				continue
			}
			if of[m.Index] = m.TPGLUN; m.WriteProtect && !l.ReadOnly {
				r.at(where, "%s may not write to LUN %d, and nobody may now", acl.NodeWWN, m.Index)
				l.ReadOnly = true
				disks[m.TPGLUN] = l
			}
			users[m.Index] = append(users[m.Index], control.Rule{Initiator: strings.ToLower(acl.NodeWWN)})
		}
	}
	used := make(map[int]bool)
	for _, number := range slices.Sorted(maps.Keys(of)) {
		l := disks[of[number]]
		used[of[number]] = true
		if l.Number = number; len(users[number]) < len(acls) {
			l.Access = users[number]
		}
		t.LUNs = append(t.LUNs, l)
	}
	for _, number := range slices.Sorted(maps.Keys(disks)) {
		if !used[number] {
			r.at(at, "LUN %d of %s is not carried over: it is mapped to nobody", number, t.Name)
		}
	}
}

// lioUsers reads what initiators must prove: each its own, and where others are let in
// those the target's.
func (r *reader) lioUsers(f lioFile, at *statement, t *control.Target, g *lioTPG, open bool) {
	if open {
		r.lioUser(f, &t.CHAP, t.Name, g.lioUser)
		if t.CHAPName == "" {
			r.at(at, "%s asks for CHAP, but has no user", t.Name)
			t.AllowedInitiators = nil
			r.allow(t, at, nobody)
		}
	}
	for i := range g.NodeACLs {
		acl := &g.NodeACLs[i]
		name := strings.ToLower(acl.NodeWWN)
		own := control.InitiatorCHAP{Initiator: name}
		if r.lioUser(f, &own.CHAP, acl.NodeWWN, acl.lioUser); own.CHAPName != "" {
			t.InitiatorCHAP = append(t.InitiatorCHAP, own)
			continue
		}
		r.at(f.where(acl.NodeWWN, acl.NodeWWN), "%s must prove who it is, but has no user: it is not let in", acl.NodeWWN)
		t.AllowedInitiators = slices.DeleteFunc(t.AllowedInitiators, func(n string) bool { return n == name })
		r.allow(t, at, nobody)
	}
}

func (r *reader) lioUser(f lioFile, c *control.CHAP, of string, u lioUser) {
	if u.User != "" {
		r.user(c, of, f.where("chap_userid", u.User), false, u.User, u.Password)
	}
	if u.MutualUser != "" {
		r.user(c, of, f.where("chap_mutual_userid", u.MutualUser), true, u.MutualUser, u.MutualSecret)
	}
	r.oneWay(c, of, f.where("chap_mutual_userid", u.MutualUser))
}

// lioParameters notes the parameters that somebody has set.
func (r *reader) lioParameters(at *statement, t *control.Target, set map[string]string) {
	usual := map[string]string{
		"MaxConnections": "1", "InitialR2T": "Yes", "ImmediateData": "Yes", "MaxRecvDataSegmentLength": "8192",
		"MaxXmitDataSegmentLength": "262144", "MaxBurstLength": "262144", "FirstBurstLength": "65536", "DefaultTime2Wait": "2",
		"DefaultTime2Retain": "20", "MaxOutstandingR2T": "1", "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes",
		"ErrorRecoveryLevel": "0", "HeaderDigest": "CRC32C,None", "DataDigest": "CRC32C,None", "AuthMethod": "CHAP,None",
		"IFMarker": "No", "OFMarker": "No", "IFMarkInt": "2048~65535", "OFMarkInt": "2048~65535", "TargetAlias": "LIO Target",
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		switch value := set[name]; {
		case name == "TargetAlias" && value != usual[name]:
			t.Alias = value
		case name != "AuthMethod" && value != usual[name]:
			r.at(at, "%s=%s of %s is not carried over: ours has such settings for the whole server (iscsi)", name, value, t.Name)
		}
	}
}

// lioDiscovery reads what discovery sessions must prove.
func (r *reader) lioDiscovery(f lioFile, modules []lioModule) {
	for _, m := range modules {
		if m.Name != "iscsi" || !m.Enabled {
			continue
		}
		r.discoveryUser(f.where("discovery_userid", m.User), false, m.User, m.Password)
		if m.MutualUser != "" {
			r.discoveryUser(f.where("discovery_mutual_userid", m.MutualUser), true, m.MutualUser, m.MutualSecret)
		}
	}
}

func (r *reader) lioLUN(f lioFile, t *control.Target, number int, path string, stores map[string]*lioStore) {
	at := f.where("storage object "+path, path)
	s := stores[path]
	switch {
	case s == nil:
		r.notCarried(at, "the file does not say what it is")
		return
	case s.Plugin != "fileio" && s.Plugin != "block":
		r.notCarried(at, "its kind is "+s.Plugin+", not a file or a block device")
		return
	}
	l := control.LUN{Number: number, Medium: control.Medium{Path: s.Dev, ReadOnly: s.ReadOnly, Serial: s.WWN, Identity: s.WWN}}
	if len(l.Serial) > maxSerial {
		l.Serial = strings.ReplaceAll(l.Serial, "-", "")
		l.Serial = l.Serial[:min(len(l.Serial), maxSerial)]
	}
	if s.WWN != "" {
		r.at(at, "the identifier of LUN %d is made from wwn %s, and is another: multipath and Windows will see a new disk", number, s.WWN)
	}
	if n, ok := s.Attributes["block_size"].(float64); ok && n != 512 {
		l.BlockSize = int(n)
	}
	if s.WriteBack != nil && !*s.WriteBack {
		l.WriteThrough = true
	}
	t.LUNs = append(t.LUNs, l)
}

// maxSerial is how long a LUN's serial number can be.
const maxSerial = 32

// truth reads an attribute that is a number, a text or a truth value.
func truth(v any) bool { s := fmt.Sprint(v); return s == "1" || s == "true" }
