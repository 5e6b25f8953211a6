package slp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Messages byte by byte from RFC 2608: header (8), and bodies (8.1, 8.2).
const (
	requestBytes = "02 01 000044 2000 000000 0007 0002 656e" + // to multicast, XID 7, en
		"0009 3132372e302e302e31" + // 127.0.0.1 has answered
		"0014 736572766963653a69736373693a746172676574" + // service:iscsi:target
		"0007 44454641554c54" + // DEFAULT
		"0000 0000"
	replyBytes = "02 02 00002b 0000 000000 0007 0002 656e" +
		"0000 0001" + // no error, one URL
		"00 003c 000e 736572766963653a783a2f2f7931" + // for 60 s, service:x://y1
		"01 0002 0004" // an authentication block, empty
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequestBytes(t *testing.T) {
	m := &Message{Flags: FlagMulticast, XID: 7, Language: "en", Body: &ServiceRequest{
		Responders: []string{"127.0.0.1"}, Type: TargetType, Scopes: []string{DefaultScope},
	}}
	want := unhex(t, requestBytes)
	want[4] = byte(len(want))
	if got := m.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("%x, want\n%x", got, want)
	}
	if back, err := Parse(want); err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("it comes back as %+v, %v", back, err)
	}
}

func TestReplyBytes(t *testing.T) {
	wire := unhex(t, replyBytes)
	wire[4] = byte(len(wire))
	m, err := Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	want := &ServiceReply{URLs: []URL{{"service:x://y1", time.Minute}}}
	if !reflect.DeepEqual(m.Body, want) {
		t.Errorf("%+v, want %+v", m.Body, want)
	}
	for n := range wire { // cut anywhere
		if _, err := Parse(wire[:n]); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%d of %d bytes: %v", n, len(wire), err)
		}
	}
}

// bodies are one of each function.
func bodies() []Body {
	return []Body{
		&ServiceRequest{Type: "service:iscsi", Scopes: []string{"A", "B"}, Predicate: "(a=b)", SPI: "x"},
		&ServiceReply{URLs: []URL{{"service:a://b", time.Hour}}},
		&Register{URL{"service:a://b", time.Hour}, "service:a", []string{"A"}, "(a=b)"},
		&Deregister{[]string{"A"}, URL{"service:a://b", 0}, "t"},
		&Ack{CodeParseError},
		&AttributeRequest{URL: "service:a", Scopes: []string{"A"}, Tags: []string{"t*"}},
		&AttributeReply{Attributes: "(a=b)"},
		&DirectoryAgent{Boot: 1, URL: "service:directory-agent://h", Scopes: []string{"A"}, Attributes: "(a=b)", SPIs: "x"},
		&TypeRequest{Authority: "*", Scopes: []string{"A"}},
		&TypeReply{Types: []string{"service:a"}},
		&ServiceAgent{"service:service-agent://h", []string{"A"}, "(a=b)"},
	}
}

func TestRoundTrips(t *testing.T) {
	for _, body := range bodies() {
		m := &Message{XID: 3, Language: "en", Body: body}
		back, err := ReadMessage(bytes.NewReader(m.Append(nil)))
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%T comes back as %+v, %v", body, back.Body, err)
		}
	}
}

func TestPredicate(t *testing.T) {
	list := Attributes{{"Name", []string{"Some  Disk", "b(1)"}}, {"size", []string{"9"}}, {"keyword", nil}}
	for s, want := range map[string]bool{
		"":                             true,
		"(name=some disk)":             true,
		"(name=b\\281\\29)":            true,
		"(name=so*sk)":                 true,
		"(name=*e*d*)":                 true,
		"(name=so*x)":                  false,
		"(name=ome*)":                  false,
		"(size>=10)":                   false,
		"(size<=10)":                   true,
		"(size=09)":                    true,
		"(keyword=*)":                  true,
		"(other=*)":                    false,
		"(!(other=*))":                 true,
		"(&(size=9)(name=x))":          false,
		"(|(size=9)(name=x))":          true,
		"(& (size=9) (!(name=x)))":     true,
		"(|(&(size=8)(size=9))(a=b))":  false,
		"(name=some disk*some disk)":   false,
		"(|(auth-name=x)(size~=9))":    true,
		"(&(|(size=1)(size=9))(b<=1))": false,
	} {
		p, err := ParsePredicate(s)
		if err != nil || p.Match(list) != want {
			t.Errorf("%s: %v, %v; want %v", s, p.Match(list), err, want)
		}
	}
	for _, bad := range []string{"x", "(", "()", "(a)", "(a=b", "(a=b)c", "(&)", "(!(a=b)(c=d))", "(=b)", strings.Repeat("(!", 100)} {
		if _, err := ParsePredicate(bad); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestTargetURL(t *testing.T) {
	for _, bad := range []string{"", "service:x://h/n", TargetType + "://h", TargetType + "://h/disk", TargetType + "://:1/" + disk, TargetType + "://h/%zz"} {
		if _, _, err := ParseTarget(bad); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	name, where, err := ParseTarget(TargetType + "://[2001:db8::1]:3261/" + disk + "/someone")
	if err != nil || name != disk || where.HostPort() != "[2001:db8::1]:3261" {
		t.Errorf("%s at %s, %v", name, where, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, body := range bodies() {
		f.Add((&Message{Body: body}).Append(nil))
	}
	a := &Agent{}
	a.Set([]Service{Target(disk, "a", at("127.0.0.1", 1))})
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := Parse(wire)
		if err != nil {
			return
		}
		if answer := a.answer(m); answer != nil {
			if b := datagram(answer); len(b) > maxDatagram+len(m.Language) {
				t.Errorf("a datagram of %d bytes", len(b))
			}
		}
		if r, ok := m.Body.(*ServiceReply); ok {
			records(r.URLs)
		}
	})
}

func FuzzAttributes(f *testing.F) {
	f.Add("(a=b,c),keyword,(d=\\28x\\29)")
	f.Add(Target(disk, "a(b)", at("::1", 1), host1).Attributes.String())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePredicate(s); err == nil {
			p.Match(Attributes{{"a", []string{"b", "1"}}})
		}
		list, err := ParseAttributes(s)
		if err != nil {
			return
		}
		if back, err := ParseAttributes(list.String()); err != nil || len(list) > 0 && !reflect.DeepEqual(trimmed(back), trimmed(list)) {
			t.Errorf("%q comes back as %q, %v", list, back, err)
		}
	})
}

// trimmed is the list without what blanks around values may change.
func trimmed(list Attributes) (texts []string) {
	for _, a := range list {
		texts = append(texts, strings.TrimSpace(a.Tag))
		for _, v := range a.Values {
			texts = append(texts, strings.TrimSpace(v))
		}
	}
	return texts
}
