package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/iscsi"
)

// location is what a URL names.
type location struct {
	user   string // CHAP name, empty if none
	portal string // host:port
	target string
	lun    iscsi.LUN
	hasLUN bool
}

// parseLocation reads a URL or a root path.
func parseLocation(s string) (location, error) {
	if rest, ok := strings.CutPrefix(s, "iscsi://"); ok {
		return parseURL(rest)
	}
	if !strings.HasPrefix(s, "iscsi:") {
		return location{}, fmt.Errorf("%q is neither iscsi://HOST/TARGET/LUN nor a root path iscsi:HOST::::TARGET", s)
	}
	p, err := ibft.ParseRootPath(s)
	if err != nil {
		return location{}, err
	}
	if p.Server == "" {
		return location{}, fmt.Errorf("root path %q names no server", s)
	}
	a := iscsi.TargetAddress{Host: p.Server, Port: int(p.Port)}
	return location{portal: a.HostPort(), target: p.Target, lun: iscsi.LUN(binary.BigEndian.Uint64(p.LUN[:])), hasLUN: true}, nil
}

// parseURL reads [USER@]HOST[:PORT]/TARGET[/LUN], as libiscsi's programs do.
func parseURL(s string) (l location, err error) {
	authority, path, _ := strings.Cut(s, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		l.user, authority = authority[:at], authority[at+1:]
		if strings.ContainsAny(l.user, "%:") {
			return l, errors.New("a secret has no place in a URL, which others can see: give --chap-secret-file or --chap-secret-env")
		}
	}
	a, err := iscsi.ParseTargetAddress(authority)
	if err != nil {
		return l, err
	}
	l.portal = a.HostPort()
	target, lun, hasLUN := strings.Cut(path, "/")
	if l.target = target; target == "" {
		return l, errors.New("the URL names no target: iscsi discover lists a portal's targets")
	}
	if l.hasLUN = hasLUN && lun != ""; l.hasLUN {
		l.lun, err = iscsi.ParseLUN(lun)
	}
	return l, err
}
