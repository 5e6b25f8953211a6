package foreign

import (
	"strconv"

	"github.com/bootlun/bootlun/target/control"
)

// ctl reads FreeBSD's ctl.conf: groups and LUNs with names, then targets that refer
// to them.
func (r *reader) ctl(path string, text []byte) error {
	lines, err := parse(path, text, braces)
	if err != nil {
		return err
	}
	auth, luns := make(map[string]*statement), make(map[string]*statement)
	for _, s := range lines {
		switch s.words[0] {
		case "auth-group":
			auth[s.arg(0)] = s
		case "lun":
			luns[s.arg(0)] = s
		case "target", "portal-group":
		case "isns-server":
			r.nameServer(s.arg(0))
		default:
			r.notCarried(s, "a setting of the whole server")
		}
	}
	for _, s := range lines {
		switch s.words[0] {
		case "target":
			r.ctlTarget(s, auth, luns)
		case "portal-group":
			r.ctlPortals(s, auth)
		}
	}
	return nil
}

func (r *reader) ctlPortals(group *statement, auth map[string]*statement) {
	for _, s := range group.body {
		switch {
		case s.words[0] == "discovery-auth-group" && s.arg(0) == "no-authentication":
		case s.words[0] == "discovery-auth-group" && auth[s.arg(0)] != nil:
			r.ctlDiscovery(auth[s.arg(0)])
		case s.words[0] == "listen" && (s.arg(0) == "0.0.0.0" || s.arg(0) == "[::]"):
		default:
			r.notCarried(s, "say it in iscsi: portals")
		}
	}
}

// ctlDiscovery reads what discovery sessions must prove.
func (r *reader) ctlDiscovery(group *statement) {
	for _, s := range group.body {
		switch s.words[0] {
		case "chap", "chap-mutual":
			r.discoveryUser(s, false, s.arg(0), s.arg(1))
			if s.words[0] == "chap-mutual" {
				r.discoveryUser(s, true, s.arg(2), s.arg(3))
			}
		default:
			r.at(s, "%s of discovery is not carried over: initiators see the targets that they may use", s.words[0])
		}
	}
}

func (r *reader) ctlTarget(at *statement, auth, luns map[string]*statement) {
	t := &control.Target{Name: at.arg(0)}
	decided := false // who may log in
	for _, s := range at.body {
		switch s.words[0] {
		case "alias":
			t.Alias = s.arg(0)
		case "lun":
			r.ctlLUN(t, s, luns)
		case "portal-group":
			if s.arg(1) != "" && s.arg(1) != "no-authentication" {
				r.ctlGroup(t, s, s.arg(1), auth)
				decided = true
			}
		case "auth-group":
			r.ctlGroup(t, s, s.arg(0), auth)
			decided = true
		case "auth-type", "chap", "chap-mutual", "initiator-name", "initiator-portal":
			r.ctlAuth(t, s)
			decided = true
		default:
			r.notCarried(s, "ours has no such setting of a target")
		}
	}
	if !decided {
		if auth["default"] == nil {
			r.at(at, "%s has no auth-group, which lets nobody in", t.Name)
		}
		r.ctlGroup(t, at, "default", auth)
	}
	both(t)
	r.add(t, at)
}

func (r *reader) ctlGroup(t *control.Target, at *statement, name string, auth map[string]*statement) {
	switch group := auth[name]; {
	case group != nil:
		for _, s := range group.body {
			r.ctlAuth(t, s)
		}
	case name != "no-authentication":
		r.allow(t, at, nobody)
	}
}

func (r *reader) ctlAuth(t *control.Target, s *statement) {
	switch s.words[0] {
	case "auth-type":
		if s.arg(0) == "deny" {
			r.allow(t, s, nobody)
		}
	case "chap", "chap-mutual":
		r.user(&t.CHAP, t.Name, s, false, s.arg(0), s.arg(1))
		if s.words[0] == "chap-mutual" {
			r.user(&t.CHAP, t.Name, s, true, s.arg(2), s.arg(3))
		}
	case "initiator-name", "initiator-portal":
		r.allow(t, s, s.arg(0))
	default:
		r.notCarried(s, "ours has no such setting of who may log in")
	}
}

func (r *reader) ctlLUN(t *control.Target, at *statement, luns map[string]*statement) {
	number, err := strconv.Atoi(at.arg(0))
	if err != nil {
		r.notCarried(at, "it has no number")
		return
	}
	of := at
	if name := at.arg(1); name != "" {
		if of = luns[name]; of == nil {
			r.notCarried(at, "there is no lun "+name)
			return
		}
	}
	l := control.LUN{Number: number}
	for _, s := range of.body {
		switch v := s.arg(0); s.words[0] {
		case "path":
			l.Path = v
		case "blocksize":
			l.BlockSize, _ = strconv.Atoi(v)
		case "serial":
			l.Serial = v
		case "device-id":
			l.Identity = v
			r.at(s, "the identifier of LUN %d is made from device-id %s, and is another: multipath and Windows will see a new disk", number, v)
		case "size":
			r.at(s, "size of LUN %d is not carried over: the size is the file's", number)
		case "option":
			r.ctlOption(&l, s)
		case "backend":
			if v == "ramdisk" {
				r.notCarried(of, "it is a RAM disk")
				return
			}
		case "device-type":
			if l.CDROM = v == "cd" || v == "cdrom" || v == "dvd" || v == "dvdrom" || v == "5"; !l.CDROM && v != "disk" && v != "direct" && v != "0" {
				r.notCarried(of, "it is a "+v+", not a disk")
				return
			}
		default:
			r.notCarried(s, "ours has no such setting of a LUN")
		}
	}
	t.LUNs = append(t.LUNs, l)
}

func (r *reader) ctlOption(l *control.LUN, s *statement) {
	switch v := s.arg(1); s.arg(0) {
	case "vendor":
		l.Vendor = v
	case "product":
		l.Product = v
	case "revision":
		l.Revision = v
	case "readonly":
		l.ReadOnly = v == "on" || v == "yes" || v == "1"
	case "removable":
		l.Removable = v == "on" || v == "yes" || v == "1"
	case "writecache":
		l.WriteThrough = v == "off"
	case "pblocksize":
		l.PhysicalBlockSize, _ = strconv.Atoi(v)
	default:
		r.at(s, "option %s is not carried over", s.arg(0))
	}
}
