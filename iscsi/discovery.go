package iscsi

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// DefaultPort is the TCP port of iSCSI.
const DefaultPort = 3260

// TargetAddress is where a target can be reached (RFC 7143, 13.8).
type TargetAddress struct {
	Host string // a name, an IPv4 address, or an IPv6 address without brackets
	Port int
	Tag  int // target portal group tag, or NoTag
}

// NoTag is the Tag of an address that says nothing of a portal group.
const NoTag = -1

// ParseTargetAddress reads the value of a TargetAddress key:
// host[:port][,tag] with brackets around an IPv6 address.
func ParseTargetAddress(s string) (TargetAddress, error) {
	a := TargetAddress{Port: DefaultPort, Tag: NoTag}
	hostPort, tag, tagged := strings.Cut(s, ",")
	if tagged {
		n, err := strconv.ParseUint(tag, 10, 16)
		if err != nil {
			return TargetAddress{}, fmt.Errorf("iscsi: target address %.300q: portal group tag %.20q is no number in 0..65535", s, tag)
		}
		a.Tag = int(n)
	}
	var err error
	if a.Host, a.Port, err = splitHostPort(hostPort); err != nil {
		return TargetAddress{}, fmt.Errorf("iscsi: target address %.300q: %w", s, err)
	}
	return a, nil
}

// splitHostPort is net.SplitHostPort where the port may be missing.
func splitHostPort(s string) (host string, port int, err error) {
	host, rest := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errors.New("the bracket is not closed")
		}
		host, rest = s[1:end], s[end+1:]
	} else if strings.Count(s, ":") == 1 { // more: a bare IPv6 address, which some targets send
		colon := strings.IndexByte(s, ':')
		host, rest = s[:colon], s[colon:]
	}
	if host == "" {
		return "", 0, errors.New("the host is missing")
	}
	if strings.ContainsAny(host, "[] \t\r\n") {
		return "", 0, fmt.Errorf("%q is no host", host)
	}
	if rest == "" || rest == ":" {
		return host, DefaultPort, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(rest, ":"), 10, 16)
	if err != nil || n == 0 || rest[0] != ':' {
		return "", 0, fmt.Errorf("%q is no port", rest)
	}
	return host, int(n), nil
}

// HostPort returns the address as net.Dial takes it.
func (a TargetAddress) HostPort() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// String returns the address as the TargetAddress key has it.
func (a TargetAddress) String() string {
	if a.Tag == NoTag {
		return a.HostPort()
	}
	return a.HostPort() + "," + strconv.Itoa(a.Tag)
}

// TargetRecord is one target of a SendTargets response (RFC 7143, appendix C).
type TargetRecord struct {
	Name string // as the target writes it, and as it may want it back
	// Addresses is empty if the target is reached where the question was asked.
	Addresses []TargetAddress
}

// AppendTargets appends records in the wire format of a SendTargets response.
func AppendTargets(dst []byte, records []TargetRecord) []byte {
	var t Text
	for _, r := range records {
		t.Add("TargetName", r.Name)
		for _, a := range r.Addresses {
			t.Add("TargetAddress", a.String())
		}
	}
	return t.Append(dst)
}

// ParseTargets reads the text of a SendTargets response. Keys other than
// TargetName and TargetAddress are ignored.
func ParseTargets(data []byte) ([]TargetRecord, error) {
	text, err := parsePairs(data)
	if err != nil {
		return nil, err
	}
	var records []TargetRecord
	for _, kv := range text {
		switch kv.Key {
		case "TargetName":
			if _, err := peerName(kv.Value); err != nil {
				return nil, err
			}
			records = append(records, TargetRecord{Name: kv.Value})
		case "TargetAddress":
			if len(records) == 0 {
				return nil, fmt.Errorf("%w: TargetAddress before any TargetName", ErrBadText)
			}
			a, err := ParseTargetAddress(kv.Value)
			if err != nil {
				return nil, err
			}
			last := &records[len(records)-1]
			last.Addresses = append(last.Addresses, a)
		}
	}
	return records, nil
}

// AnswerText answers the text of a Text Request in full feature phase, as a
// target: it updates p, and returns the answer in wire format for a TextSplitter.
// sendTargets answers the SendTargets key, whose value is All, a target's name or
// empty for the target of the session (RFC 7143, appendix C); refusing is right
// for All in a normal session.
func (p *Params) AnswerText(text Text, sendTargets func(value string) (records []TargetRecord, ok bool)) ([]byte, error) {
	var answer []byte
	var reply Text
	for _, kv := range text {
		k := findKey(kv.Key)
		switch {
		case kv.Key == "SendTargets":
			if records, ok := sendTargets(kv.Value); ok {
				answer = AppendTargets(answer, records)
			} else {
				reply.Add(kv.Key, Rejected)
			}
		case kv.Key == keyInitiatorAlias:
		case k == nil:
			new(negotiator).receiveUnknown(kv, &reply)
		case k.kind != kindDeclare:
			reply.Add(kv.Key, Rejected) // settled at login
		default:
			v, err := k.parse(kv.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kv.Key, err)
			}
			*k.number(p) = v
		}
	}
	return reply.Append(answer), nil
}
