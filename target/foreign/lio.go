package foreign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/bootlun/bootlun/target/control"
)

// What saveconfig.json says, as far as ours can.
type lioConfig struct {
	StorageObjects []lioStore `json:"storage_objects"`
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
	NodeACLs []struct {
		NodeWWN string `json:"node_wwn"`
		lioUser
		MappedLUNs []lioMapping `json:"mapped_luns"`
	} `json:"node_acls"`
	Portals []struct {
		Address string `json:"ip_address"`
		Port    int    `json:"port"`
	} `json:"portals"`
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
	r.oneUser = true
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
	if g.Enable != nil && !*g.Enable {
		r.at(at, "%s is disabled: it lets nobody in", name)
		r.allow(t, at, nobody)
	}
	for _, l := range g.LUNs {
		r.lioLUN(f, t, l.Index, l.StorageObject, stores)
	}
	authenticates, open := truth(g.Attributes["authentication"]), truth(g.Attributes["generate_node_acls"])
	if authenticates && open {
		r.lioUser(f, t, g.lioUser)
	}
	if !open && len(g.NodeACLs) == 0 {
		r.allow(t, at, nobody)
	}
	for i := range g.NodeACLs {
		acl := &g.NodeACLs[i]
		where := f.where(acl.NodeWWN, acl.NodeWWN)
		seesAll := r.lioMapped(where, acl.NodeWWN, t, acl.MappedLUNs)
		switch {
		case !open && seesAll:
			r.allow(t, where, acl.NodeWWN)
		case !seesAll: // also where all others are let in: ours cannot keep one out
			r.allow(t, where, nobody)
		}
		if authenticates {
			r.lioUser(f, t, acl.lioUser)
		}
	}
	if authenticates && t.CHAPName == "" {
		r.at(at, "%s asks for CHAP, but has no user", name)
		t.AllowedInitiators = nil
		r.allow(t, at, nobody)
	}
	if truth(g.Attributes["demo_mode_write_protect"]) && open && len(g.NodeACLs) == 0 {
		r.at(at, "%s is read-only in demo mode, and its LUNs become read-only", name)
		for i := range t.LUNs {
			t.LUNs[i].ReadOnly = true
		}
	}
	for _, p := range g.Portals {
		if p.Address != "0.0.0.0" && p.Address != "[::0]" && p.Address != "::0" || p.Port != 3260 {
			r.at(f.where(p.Address, p.Address), "portal %s port %d is not carried over: set addr and iscsiPort of the server", p.Address, p.Port)
		}
	}
	r.add(t, at)
}

// lioMapped tells whether an initiator may see all LUNs of the target. One that may
// not cannot be let in: ours shows the same to all.
func (r *reader) lioMapped(where *statement, node string, t *control.Target, mapped []lioMapping) bool {
	sees := make(map[int]bool)
	for _, m := range mapped {
		sees[m.TPGLUN] = true
		if m.Index != m.TPGLUN {
			r.at(where, "%s knows LUN %d as %d: that is not carried over", node, m.TPGLUN, m.Index)
		}
		for i := range t.LUNs {
			if l := &t.LUNs[i]; l.Number == m.TPGLUN && m.WriteProtect && !l.ReadOnly {
				r.at(where, "%s may not write to LUN %d, and nobody may now", node, l.Number)
				l.ReadOnly = true
			}
		}
	}
	for _, l := range t.LUNs {
		if !sees[l.Number] {
			r.at(where, "%s may not see LUN %d, so that it is not let in: give it a target of its own", node, l.Number)
			return false
		}
	}
	return true
}

func (r *reader) lioUser(f lioFile, t *control.Target, u lioUser) {
	if u.User != "" {
		r.user(t, f.where("chap_userid", u.User), false, u.User, u.Password)
	}
	if u.MutualUser != "" {
		r.user(t, f.where("chap_mutual_userid", u.MutualUser), true, u.MutualUser, u.MutualSecret)
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
