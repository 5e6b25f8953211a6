package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bootlun/bootlun/target/control"
)

// maxIncludes bounds how deeply files include each other.
const maxIncludes = 8

// tgt reads targets.conf, and the files that it includes.
func (r *reader) tgt(path string, text []byte, depth int) error {
	if depth > maxIncludes {
		return fmt.Errorf("%s: %w", path, errTooDeep)
	}
	lines, err := parse(path, text, angles)
	if err != nil {
		return err
	}
	for _, s := range lines {
		word := s.words[0]
		if lower := strings.ToLower(word); strings.HasPrefix(lower, "isns") {
			word = lower
		}
		switch word {
		case "target":
			r.tgtTarget(s)
		case "include":
			files, err := filepath.Glob(s.arg(0))
			if err != nil {
				return fmt.Errorf("%s:%d: %w", s.file, s.line, err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				if err := r.tgt(file, text, depth+1); err != nil {
					return err
				}
			}
		case "incomingdiscoveryuser":
			r.discoveryUser(s, false, s.arg(0), r.tgtSecret(s))
		case "outgoingdiscoveryuser":
			r.discoveryUser(s, true, s.arg(0), r.tgtSecret(s))
		case "isnsserverip":
			r.nameServer(s.arg(0))
		case "isns":
		case "default-driver":
			if s.arg(0) != "iscsi" {
				r.notCarried(s, "ours is iSCSI")
			}
		default:
			r.notCarried(s, "a setting of the whole server")
		}
	}
	return nil
}

func (r *reader) tgtTarget(at *statement) {
	t := &control.Target{Name: at.arg(0)}
	next := 1 // LUN 0 is tgt's controller
	for _, s := range at.body {
		switch s.words[0] {
		case "backing-store", "direct-store":
			next = r.tgtLUN(t, s, next)
		case "incominguser":
			r.tgtUser(t, s, false)
		case "outgoinguser":
			r.tgtUser(t, s, true)
		case "initiator-name", "initiator-address":
			for _, who := range s.words[1:] {
				r.allow(t, s, who)
			}
		case "driver":
			if s.arg(0) != "iscsi" {
				r.notCarried(at, "its driver is "+s.arg(0))
				return
			}
		case "write-cache":
			if s.arg(0) == "off" {
				for i := range t.LUNs {
					t.LUNs[i].WriteThrough = true
				}
			}
		default:
			r.notCarried(s, "ours has no such setting of a target")
		}
	}
	both(t)
	r.add(t, at)
}

func (r *reader) tgtUser(t *control.Target, s *statement, reverse bool) {
	r.user(&t.CHAP, t.Name, s, reverse, s.arg(0), r.tgtSecret(s))
}

// tgtSecret reads a user's secret, which tgt-admin --dump does not tell.
func (r *reader) tgtSecret(s *statement) string {
	secret := s.arg(1)
	if secret == "" || strings.HasPrefix(secret, "PLEASE_CORRECT") {
		r.at(s, "the secret of user %q is not in the file: put it into the file that the configuration names", s.arg(0))
		secret = "replace this secret"
	}
	return secret
}

// tgtLUN reads a backing store and returns the number for the next one.
func (r *reader) tgtLUN(t *control.Target, at *statement, next int) int {
	l := control.LUN{Number: next, Medium: control.Medium{Path: at.arg(0)}}
	if at.words[0] == "direct-store" {
		r.at(at, "%s is served as a disk of ours: its own identifiers are not passed on", l.Path)
	}
	for _, s := range at.body {
		switch v := s.arg(0); s.words[0] {
		case "lun":
			if n, err := strconv.Atoi(v); err == nil {
				l.Number = n
			}
		case "readonly":
			l.ReadOnly = v == "1" || v == "yes"
		case "write-cache":
			l.WriteThrough = v == "off"
		case "removable":
			l.Removable = v == "1"
		case "block-size":
			l.BlockSize, _ = strconv.Atoi(v)
		case "vendor_id":
			l.Vendor = v
		case "product_id":
			l.Product = v
		case "product_rev":
			l.Revision = v
		case "scsi_sn":
			l.Serial = v
		case "scsi_id":
			l.Identity = v
			r.at(s, "the identifier of LUN %d is made from scsi_id %s, and is another: multipath and Windows will see a new disk", l.Number, v)
		case "bs-type", "bstype":
			if v != "rdwr" && v != "aio" {
				r.notCarried(s, "its disk is not a file: "+v)
			}
		case "device-type":
			if l.CDROM = v == "cd"; v != "cd" && v != "disk" {
				r.notCarried(at, "it is a "+v+", not a disk")
				return next
			}
		default:
			r.notCarried(s, "ours has no such setting of a LUN")
		}
	}
	t.LUNs = append(t.LUNs, l)
	return max(next, l.Number) + 1
}
