package slp

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/bootlun/bootlun/iscsi"
)

// TargetType is the service type of iSCSI targets (RFC 4018, 5.2).
const TargetType = "service:iscsi:target"

// Any stands in the attributes auth-name and auth-addr for everybody.
const Any = "any"

// Target makes the service that a target is at an address. allowed are the names of
// the initiators that may use it; none means any.
func Target(name, alias string, at iscsi.TargetAddress, allowed ...string) Service {
	if len(allowed) == 0 {
		allowed = []string{Any}
	}
	s := Service{
		Type: TargetType,
		URL:  TargetType + "://" + at.HostPort() + "/" + url.PathEscape(name),
		Attributes: Attributes{
			{"iscsi-name", []string{name}},
			{"transports", []string{"tcp"}},
			{"auth-name", allowed},
			{"auth-addr", []string{Any}},
			{"auth-cred", []string{Any}},
		},
	}
	if at.Tag != iscsi.NoTag {
		s.Attributes = append(s.Attributes, Attribute{"portal-group", []string{strconv.Itoa(at.Tag)}})
	}
	if alias != "" {
		s.Attributes = append(s.Attributes, Attribute{"alias", []string{alias}})
	}
	return s
}

// ParseTarget reads a target's URL: where it is and its name.
func ParseTarget(s string) (name string, at iscsi.TargetAddress, err error) {
	rest, ok := strings.CutPrefix(s, TargetType+"://")
	address, path, found := strings.Cut(rest, "/")
	if !ok || !found {
		return "", at, fmt.Errorf("%w: %.300q is no URL of a target", ErrBadMessage, s)
	}
	path, _, _ = strings.Cut(path, "/") // what follows is an identity that may use it
	if name, err = url.PathUnescape(path); err == nil {
		err = iscsi.ValidateName(name)
	}
	if err == nil {
		at, err = iscsi.ParseTargetAddress(address)
	}
	if err != nil {
		return "", at, fmt.Errorf("%w: target %.300q: %w", ErrBadMessage, s, err)
	}
	return name, at, nil
}

// FindTargets looks for targets; the query's type is that of targets. For those
// alone that an initiator may use ask with [ForInitiator]'s predicate. URLs that
// are none of targets are left out.
func FindTargets(ctx context.Context, q Query) ([]iscsi.TargetRecord, error) {
	q.Type = TargetType
	urls, err := Find(ctx, q)
	if err != nil {
		return nil, err
	}
	return records(urls), nil
}

// records gathers the addresses of each target.
func records(urls []URL) (list []iscsi.TargetRecord) {
	index := make(map[string]int)
	for _, u := range urls {
		name, at, err := ParseTarget(u.URL)
		if err != nil {
			continue
		}
		i, ok := index[name]
		if !ok {
			i = len(list)
			index[name] = i
			list = append(list, iscsi.TargetRecord{Name: name})
		}
		list[i].Addresses = append(list[i].Addresses, at)
	}
	return list
}

// ForInitiator is the predicate for targets that say that the initiator of a name,
// or everybody, may use them (RFC 4018, 5.2).
func ForInitiator(name string) string {
	return "(|(auth-name=" + escape(name) + ")(auth-name=" + Any + "))"
}
