package slp

import (
	"slices"
	"strings"
)

// Service types of agents (RFC 2608, 8.5 and 8.6).
const (
	directoryType = "service:directory-agent"
	agentType     = "service:service-agent"
)

// answer makes the reply to a request, nil if there is none: to multicasts only
// those reply that have something to say (RFC 2608, 7).
func (a *Agent) answer(m *Message) *Message {
	body, code := a.reply(m.Body)
	if body == nil || code != CodeOK && m.Flags&FlagMulticast != 0 {
		return nil
	}
	return &Message{XID: m.XID, Language: m.Language, Body: body}
}

// errNothing is the code of a reply that says nothing.
const errNothing Code = 0xffff

func (a *Agent) reply(request Body) (Body, Code) {
	switch r := request.(type) {
	case *ServiceRequest:
		switch {
		case strings.EqualFold(r.Type, directoryType):
			return nil, errNothing
		case strings.EqualFold(r.Type, agentType):
			return a.introduce(r)
		}
		reply := a.find(r)
		return reply, orNothing(reply.Code, len(reply.URLs) == 0)
	case *AttributeRequest:
		reply := a.attributes(r)
		return reply, orNothing(reply.Code, reply.Attributes == "")
	case *TypeRequest:
		reply := a.types(r)
		return reply, orNothing(reply.Code, len(reply.Types) == 0)
	case *Register, *Deregister:
		return &Ack{CodeMessageNotSupported}, CodeMessageNotSupported
	}
	return nil, errNothing // somebody's answer
}

func orNothing(code Code, nothing bool) Code {
	if code == CodeOK && nothing {
		return errNothing
	}
	return code
}

// introduce says that the agent is there.
func (a *Agent) introduce(r *ServiceRequest) (Body, Code) {
	if a.answered(r.Responders) || len(r.Scopes) > 0 && a.check(r.Scopes, "") != CodeOK {
		return nil, errNothing
	}
	return &ServiceAgent{URL: agentType + "://" + host(a.Addr), Scopes: a.scopes()}, CodeOK
}

// answered reports whether the agent is among those whose answers have arrived.
func (a *Agent) answered(responders []string) bool {
	return slices.Contains(responders, a.Addr.String())
}

// check finds what all requests may have wrong.
func (a *Agent) check(scopes []string, spi string) Code {
	if spi != "" {
		return CodeAuthenticationUnknown
	}
	for _, s := range scopes {
		if slices.ContainsFunc(a.scopes(), func(own string) bool { return strings.EqualFold(own, s) }) {
			return CodeOK
		}
	}
	return CodeScopeNotSupported
}

func (a *Agent) find(r *ServiceRequest) *ServiceReply {
	if a.answered(r.Responders) {
		return &ServiceReply{}
	}
	if code := a.check(r.Scopes, r.SPI); code != CodeOK {
		return &ServiceReply{Code: code}
	}
	p, err := ParsePredicate(r.Predicate)
	if err != nil {
		return &ServiceReply{Code: CodeParseError}
	}
	reply := &ServiceReply{}
	services, _ := a.current()
	for _, s := range services {
		if s.is(r.Type) && p.Match(s.Attributes) && len(reply.URLs) < maxText {
			reply.URLs = append(reply.URLs, URL{s.URL, a.lifetime()})
		}
	}
	return reply
}

// attributes answers with those of a service, or of all of a type together.
func (a *Agent) attributes(r *AttributeRequest) *AttributeReply {
	if a.answered(r.Responders) {
		return &AttributeReply{}
	}
	if code := a.check(r.Scopes, r.SPI); code != CodeOK {
		return &AttributeReply{Code: code}
	}
	var all Attributes
	services, _ := a.current()
	for _, s := range services {
		if s.URL != r.URL && !s.is(r.URL) {
			continue
		}
		for _, attribute := range s.Attributes {
			if len(r.Tags) == 0 || slices.ContainsFunc(r.Tags, func(tag string) bool { return tagMatches(tag, attribute.Tag) }) {
				all = all.merge(attribute)
			}
		}
	}
	return &AttributeReply{Attributes: all.String()}
}

// tagMatches compares a tag with one that may have wildcards (RFC 2608, 10.3).
func tagMatches(pattern, tag string) bool {
	if !strings.Contains(pattern, "*") {
		return fold(pattern) == fold(tag)
	}
	return like(fold(tag), strings.Split(pattern, "*"))
}

// merge adds an attribute's values.
func (list Attributes) merge(a Attribute) Attributes {
	i := slices.IndexFunc(list, func(have Attribute) bool { return have.Tag == a.Tag })
	if i < 0 {
		return append(list, Attribute{a.Tag, slices.Clone(a.Values)})
	}
	for _, v := range a.Values {
		if !slices.Contains(list[i].Values, v) {
			list[i].Values = append(list[i].Values, v)
		}
	}
	return list
}

func (a *Agent) types(r *TypeRequest) *TypeReply {
	if a.answered(r.Responders) || r.Authority != "" && r.Authority != "*" { // ours are IANA's
		return &TypeReply{}
	}
	if code := a.check(r.Scopes, ""); code != CodeOK {
		return &TypeReply{Code: code}
	}
	reply := &TypeReply{}
	services, _ := a.current()
	for _, s := range services {
		if !slices.Contains(reply.Types, s.Type) {
			reply.Types = append(reply.Types, s.Type)
		}
	}
	return reply
}
