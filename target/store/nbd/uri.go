package nbd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// defaultPort is NBD's port.
const defaultPort = "10809"

// location is what a URI says.
type location struct {
	network, address string
	export           string
	tls              bool
}

// parseURI takes a URI apart as the NBD URI specification has it:
//
//	nbd[s]://host[:port]/[export]
//	nbd[s]+unix:///[export]?socket=PATH
func parseURI(uri string) (location, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return location{}, fmt.Errorf("nbd: %w", err)
	}
	l, err := locate(u)
	if err != nil {
		return location{}, fmt.Errorf("nbd: %s: %w: want nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH", u.Redacted(), err)
	}
	return l, nil
}

func locate(u *url.URL) (l location, err error) {
	l.export = strings.TrimPrefix(u.Path, "/")
	scheme, unix := strings.CutSuffix(u.Scheme, "+unix")
	l.tls = scheme == "nbds"
	query := u.Query()
	l.address = query.Get("socket")
	query.Del("socket")
	switch {
	case scheme != "nbd" && scheme != "nbds":
		return l, fmt.Errorf("scheme %q", u.Scheme)
	case u.User != nil:
		return l, errors.New("it has a user")
	case len(query) > 0:
		return l, fmt.Errorf("unknown parameter in %q", u.RawQuery)
	case unix && (l.address == "" || u.Host != ""):
		return l, errors.New("a Unix socket is named by socket= alone")
	case unix:
		l.network = "unix"
		return l, nil
	case l.address != "" || u.Hostname() == "":
		return l, errors.New("TCP needs a host and no socket=")
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	l.network, l.address = "tcp", net.JoinHostPort(u.Hostname(), port)
	return l, nil
}
