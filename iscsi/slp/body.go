package slp

import (
	"encoding/binary"
	"time"
)

// ServiceRequest asks for services (RFC 2608, 8.1).
type ServiceRequest struct {
	Responders []string // IPv4 addresses that have answered already
	Type       string   // such as service:iscsi:target
	Scopes     []string
	Predicate  string // an LDAP filter; empty matches all
	SPI        string // empty: without authentication
}

func (*ServiceRequest) function() Function { return FunctionServiceRequest }

func (s *ServiceRequest) append(dst []byte) []byte {
	dst = appendText(appendList(dst, s.Responders), s.Type)
	return appendText(appendText(appendList(dst, s.Scopes), s.Predicate), s.SPI)
}

func (s *ServiceRequest) parse(r *reader) {
	*s = ServiceRequest{r.list("responders"), r.text("service type"), r.list("scopes"), r.text("predicate"), r.text("SPI")}
}

// URL is a URL entry: where a service is, and for how long (RFC 2608, 4.3).
type URL struct {
	URL      string
	Lifetime time.Duration // whole seconds, at most 18 hours
}

func (u URL) append(dst []byte) []byte {
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(min(u.Lifetime/time.Second, maxText)))
	return append(appendText(dst, u.URL), 0)
}

func (u *URL) parse(r *reader) {
	r.byte("URL entry")
	u.Lifetime = time.Duration(r.uint16("lifetime")) * time.Second
	u.URL = r.text("URL")
	r.skipAuth()
}

// ServiceReply answers a ServiceRequest (RFC 2608, 8.2).
type ServiceReply struct {
	Code Code
	URLs []URL
}

func (*ServiceReply) function() Function { return FunctionServiceReply }

func (s *ServiceReply) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(s.Code))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s.URLs)))
	for _, u := range s.URLs {
		dst = u.append(dst)
	}
	return dst
}

func (s *ServiceReply) parse(r *reader) {
	if s.Code = Code(r.uint16("error code")); s.Code != CodeOK && len(r.b) == 0 {
		return // as an error may end (RFC 2608, 7)
	}
	for n := r.uint16("URL count"); n > 0 && r.err == nil; n-- {
		var u URL
		u.parse(r)
		s.URLs = append(s.URLs, u)
	}
}

// Register registers a service with a directory agent (RFC 2608, 8.3).
type Register struct {
	URL        URL
	Type       string
	Scopes     []string
	Attributes string // a list of attributes, see [Attributes]
}

func (*Register) function() Function { return FunctionRegister }

func (s *Register) append(dst []byte) []byte {
	dst = appendText(s.URL.append(dst), s.Type)
	return append(appendText(appendList(dst, s.Scopes), s.Attributes), 0)
}

func (s *Register) parse(r *reader) {
	s.URL.parse(r)
	s.Type, s.Scopes, s.Attributes = r.text("service type"), r.list("scopes"), r.text("attributes")
	r.skipAuth()
}

// Deregister takes a service away from a directory agent (RFC 2608, 10.6).
type Deregister struct {
	Scopes []string
	URL    URL
	Tags   string // of the attributes that go; empty: the service goes
}

func (*Deregister) function() Function { return FunctionDeregister }

func (s *Deregister) append(dst []byte) []byte {
	return appendText(s.URL.append(appendList(dst, s.Scopes)), s.Tags)
}

func (s *Deregister) parse(r *reader) {
	s.Scopes = r.list("scopes")
	s.URL.parse(r)
	s.Tags = r.text("tags")
}

// Ack answers Register and Deregister (RFC 2608, 8.4).
type Ack struct{ Code Code }

func (*Ack) function() Function         { return FunctionAck }
func (s *Ack) append(dst []byte) []byte { return binary.BigEndian.AppendUint16(dst, uint16(s.Code)) }
func (s *Ack) parse(r *reader)          { s.Code = Code(r.uint16("error code")) }

// AttributeRequest asks for the attributes of a service, or of all of a type
// (RFC 2608, 10.3).
type AttributeRequest struct {
	Responders []string
	URL        string // a service's URL, or a type
	Scopes     []string
	Tags       []string // of the attributes that are wanted; none: all
	SPI        string
}

func (*AttributeRequest) function() Function { return FunctionAttributeRequest }

func (s *AttributeRequest) append(dst []byte) []byte {
	dst = appendText(appendList(dst, s.Responders), s.URL)
	return appendText(appendList(appendList(dst, s.Scopes), s.Tags), s.SPI)
}

func (s *AttributeRequest) parse(r *reader) {
	*s = AttributeRequest{r.list("responders"), r.text("URL"), r.list("scopes"), r.list("tags"), r.text("SPI")}
}

// AttributeReply answers an AttributeRequest (RFC 2608, 10.4).
type AttributeReply struct {
	Code       Code
	Attributes string
}

func (*AttributeReply) function() Function { return FunctionAttributeReply }

func (s *AttributeReply) append(dst []byte) []byte {
	return append(appendText(binary.BigEndian.AppendUint16(dst, uint16(s.Code)), s.Attributes), 0)
}

func (s *AttributeReply) parse(r *reader) {
	if s.Code = Code(r.uint16("error code")); s.Code != CodeOK && len(r.b) == 0 {
		return
	}
	s.Attributes = r.text("attributes")
	r.skipAuth()
}

// DirectoryAgent is how a directory agent makes itself known (RFC 2608, 8.5).
type DirectoryAgent struct {
	Code       Code
	Boot       uint32 // when it has started, in seconds since 1970; 0: it ends
	URL        string // service:directory-agent://ADDRESS
	Scopes     []string
	Attributes string
	SPIs       string
}

func (*DirectoryAgent) function() Function { return FunctionDirectoryAgent }

func (s *DirectoryAgent) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(s.Code))
	dst = binary.BigEndian.AppendUint32(dst, s.Boot)
	dst = appendList(appendText(dst, s.URL), s.Scopes)
	return append(appendText(appendText(dst, s.Attributes), s.SPIs), 0)
}

func (s *DirectoryAgent) parse(r *reader) {
	if s.Code = Code(r.uint16("error code")); s.Code != CodeOK && len(r.b) == 0 {
		return
	}
	s.Boot, s.URL, s.Scopes = r.uint32("boot time"), r.text("URL"), r.list("scopes")
	s.Attributes, s.SPIs = r.text("attributes"), r.text("SPIs")
	r.skipAuth()
}

// TypeRequest asks for the types of services that there are (RFC 2608, 10.1).
type TypeRequest struct {
	Responders []string
	Authority  string // naming authority; "*" means all
	Scopes     []string
}

// allAuthorities is the length that stands for all naming authorities.
const allAuthorities = 0xffff

func (*TypeRequest) function() Function { return FunctionTypeRequest }

func (s *TypeRequest) append(dst []byte) []byte {
	dst = appendList(dst, s.Responders)
	if s.Authority == "*" {
		dst = binary.BigEndian.AppendUint16(dst, allAuthorities)
	} else {
		dst = appendText(dst, s.Authority)
	}
	return appendList(dst, s.Scopes)
}

func (s *TypeRequest) parse(r *reader) {
	s.Responders = r.list("responders")
	if len(r.b) >= 2 && binary.BigEndian.Uint16(r.b) == allAuthorities {
		s.Authority, r.b = "*", r.b[2:]
	} else {
		s.Authority = r.text("naming authority")
	}
	s.Scopes = r.list("scopes")
}

// TypeReply answers a TypeRequest (RFC 2608, 10.2).
type TypeReply struct {
	Code  Code
	Types []string
}

func (*TypeReply) function() Function { return FunctionTypeReply }

func (s *TypeReply) append(dst []byte) []byte {
	return appendList(binary.BigEndian.AppendUint16(dst, uint16(s.Code)), s.Types)
}

func (s *TypeReply) parse(r *reader) {
	if s.Code = Code(r.uint16("error code")); s.Code != CodeOK && len(r.b) == 0 {
		return
	}
	s.Types = r.list("types")
}

// ServiceAgent is how a service agent makes itself known (RFC 2608, 8.6).
type ServiceAgent struct {
	URL        string // service:service-agent://ADDRESS
	Scopes     []string
	Attributes string
}

func (*ServiceAgent) function() Function { return FunctionServiceAgent }

func (s *ServiceAgent) append(dst []byte) []byte {
	return append(appendText(appendList(appendText(dst, s.URL), s.Scopes), s.Attributes), 0)
}

func (s *ServiceAgent) parse(r *reader) {
	s.URL, s.Scopes, s.Attributes = r.text("URL"), r.list("scopes"), r.text("attributes")
	r.skipAuth()
}
