package iscsi

import (
	"fmt"
	"slices"
	"strconv"
)

// keyKind is how the two sides' values of a key become one (RFC 7143, 6.2).
type keyKind uint8

const (
	kindDigest  keyKind = iota // list: the first of the offer that the responder takes
	kindAnd                    // boolean
	kindOr                     // boolean
	kindMin                    // numerical
	kindMax                    // numerical
	kindDeclare                // numerical; each side states its own
)

// key describes one operational key (RFC 7143, 13).
type key struct {
	name      string
	kind      keyKind
	low, high uint64 // range of a numerical value
	leading   bool   // only on a session's first connection (LO)
	normal    bool   // irrelevant in a discovery session
	// Where the key's value lives; one pair per kind of value.
	number     func(*Params) *int
	wantNumber func(*Offer) int
	flag       func(*Params) *bool
	wantFlag   func(*Offer) bool
	wantDigest func(*Offer) DigestChoice
}

// operationalKeys are in the order in which they are offered. ErrorRecoveryLevel
// comes early because its value decides what others mean.
var operationalKeys = [...]key{
	{
		name: "HeaderDigest", kind: kindDigest,
		flag:       func(p *Params) *bool { return &p.HeaderDigest },
		wantDigest: func(o *Offer) DigestChoice { return o.HeaderDigest },
	},
	{
		name: "DataDigest", kind: kindDigest,
		flag:       func(p *Params) *bool { return &p.DataDigest },
		wantDigest: func(o *Offer) DigestChoice { return o.DataDigest },
	},
	{
		name: "MaxRecvDataSegmentLength", kind: kindDeclare, low: 512, high: MaxDataSegmentLength,
		number:     func(p *Params) *int { return &p.MaxSendDataSegmentLength },
		wantNumber: func(o *Offer) int { return o.MaxRecvDataSegmentLength },
	},
	{
		name: "ErrorRecoveryLevel", kind: kindMin, low: 0, high: 2, leading: true,
		number:     func(p *Params) *int { return &p.ErrorRecoveryLevel },
		wantNumber: func(o *Offer) int { return o.ErrorRecoveryLevel },
	},
	{
		name: "DefaultTime2Wait", kind: kindMax, low: 0, high: 3600, leading: true,
		number:     func(p *Params) *int { return &p.DefaultTime2Wait },
		wantNumber: func(o *Offer) int { return o.DefaultTime2Wait },
	},
	{
		name: "DefaultTime2Retain", kind: kindMin, low: 0, high: 3600, leading: true,
		number:     func(p *Params) *int { return &p.DefaultTime2Retain },
		wantNumber: func(o *Offer) int { return o.DefaultTime2Retain },
	},
	{
		name: "MaxConnections", kind: kindMin, low: 1, high: 65535, leading: true, normal: true,
		number:     func(p *Params) *int { return &p.MaxConnections },
		wantNumber: func(o *Offer) int { return o.MaxConnections },
	},
	{
		name: "InitialR2T", kind: kindOr, leading: true, normal: true,
		flag:     func(p *Params) *bool { return &p.InitialR2T },
		wantFlag: func(o *Offer) bool { return o.InitialR2T },
	},
	{
		name: "ImmediateData", kind: kindAnd, leading: true, normal: true,
		flag:     func(p *Params) *bool { return &p.ImmediateData },
		wantFlag: func(o *Offer) bool { return !o.NoImmediateData },
	},
	{
		name: "MaxBurstLength", kind: kindMin, low: 512, high: MaxDataSegmentLength, leading: true, normal: true,
		number:     func(p *Params) *int { return &p.MaxBurstLength },
		wantNumber: func(o *Offer) int { return o.MaxBurstLength },
	},
	{
		name: "FirstBurstLength", kind: kindMin, low: 512, high: MaxDataSegmentLength, leading: true, normal: true,
		number:     func(p *Params) *int { return &p.FirstBurstLength },
		wantNumber: func(o *Offer) int { return o.FirstBurstLength },
	},
	{
		name: "MaxOutstandingR2T", kind: kindMin, low: 1, high: 65535, leading: true, normal: true,
		number:     func(p *Params) *int { return &p.MaxOutstandingR2T },
		wantNumber: func(o *Offer) int { return o.MaxOutstandingR2T },
	},
	{
		name: "DataPDUInOrder", kind: kindOr, leading: true, normal: true,
		flag:     func(p *Params) *bool { return &p.DataPDUInOrder },
		wantFlag: func(o *Offer) bool { return !o.DataPDUAnyOrder },
	},
	{
		name: "DataSequenceInOrder", kind: kindOr, leading: true, normal: true,
		flag:     func(p *Params) *bool { return &p.DataSequenceInOrder },
		wantFlag: func(o *Offer) bool { return !o.DataSequenceAnyOrder },
	},
	{
		name: "iSCSIProtocolLevel", kind: kindMin, low: 0, high: 31, leading: true, normal: true,
		number:     func(p *Params) *int { return &p.ProtocolLevel },
		wantNumber: func(o *Offer) int { return o.ProtocolLevel },
	},
}

func findKey(name string) *key {
	for i := range operationalKeys {
		if operationalKeys[i].name == name {
			return &operationalKeys[i]
		}
	}
	return nil
}

// negotiator holds one side's half of the negotiation of operational keys. Login
// code feeds it the other side's pairs and sends what it answers.
type negotiator struct {
	offer     Offer
	params    Params
	discovery bool
	leading   bool
	offered   map[string]bool // keys that this side has sent without being asked
	settled   map[string]bool // keys that the other side has sent
}

func newNegotiator(o Offer, discovery, leading bool) negotiator {
	o = o.WithDefaults()
	p := DefaultParams()
	p.MaxRecvDataSegmentLength = o.MaxRecvDataSegmentLength
	return negotiator{
		offer: o, params: p, discovery: discovery, leading: leading,
		offered: map[string]bool{}, settled: map[string]bool{},
	}
}

// applies reports whether the key has a meaning on this connection.
func (n *negotiator) applies(k *key) bool {
	return (n.leading || !k.leading) && !(n.discovery && k.normal)
}

// propose appends every key that this side, as an initiator, offers.
func (n *negotiator) propose(t *Text) {
	for i := range operationalKeys {
		k := &operationalKeys[i]
		if !n.applies(k) || k.name == "iSCSIProtocolLevel" && n.offer.ProtocolLevel <= 1 {
			continue
		}
		t.Add(k.name, n.wanted(k))
		n.offered[k.name] = true
	}
}

// declare appends the one value that a target states of its own accord.
func (n *negotiator) declare(t *Text) {
	const name = "MaxRecvDataSegmentLength"
	if !n.offered[name] {
		n.offered[name] = true
		t.Add(name, strconv.Itoa(n.offer.MaxRecvDataSegmentLength))
	}
}

// wanted returns this side's own value of a key.
func (n *negotiator) wanted(k *key) string {
	switch {
	case k.kind == kindDigest:
		return k.wantDigest(&n.offer).list()
	case k.flag != nil:
		return FormatBool(k.wantFlag(&n.offer))
	}
	return strconv.Itoa(k.wantNumber(&n.offer))
}

// receive takes a pair that the other side sent: the answer to a key that this
// side offered, or an offer, whose answer it adds to reply.
func (n *negotiator) receive(kv KeyValue, reply *Text) error {
	if n.settled[kv.Key] {
		return fmt.Errorf("%w: key %q was negotiated before in this login", ErrBadText, kv.Key)
	}
	n.settled[kv.Key] = true
	k := findKey(kv.Key)
	switch {
	case k == nil:
		n.receiveUnknown(kv, reply)
		return nil
	case k.kind == kindDeclare:
		return n.receiveDeclared(k, kv.Value)
	case n.offered[kv.Key]:
		return n.receiveAnswer(k, kv.Value)
	}
	reply.Add(k.name, n.respond(k, kv.Value))
	return nil
}

// receiveUnknown answers a key that is not operational.
func (n *negotiator) receiveUnknown(kv KeyValue, reply *Text) {
	switch kv.Key {
	case "IFMarker", "OFMarker":
		// Obsolete keys may be answered No, and must not be answered
		// NotUnderstood (RFC 7143, 13.25). No is what old initiators expect.
		reply.Add(kv.Key, "No")
	case "IFMarkInt", "OFMarkInt", "SendTargets":
		reply.Add(kv.Key, Rejected)
	case "TaskReporting":
		n.receiveTaskReporting(kv, reply)
	default:
		if kv.Value != NotUnderstood && kv.Value != Rejected && kv.Value != Irrelevant {
			reply.Add(kv.Key, NotUnderstood)
		}
	}
}

// receiveTaskReporting chooses the one behaviour that is the default (RFC 7143,
// 13.23).
func (n *negotiator) receiveTaskReporting(kv KeyValue, reply *Text) {
	switch {
	case n.discovery:
		reply.Add(kv.Key, Irrelevant)
	case slices.Contains(ParseList(kv.Value), "RFC3720"):
		reply.Add(kv.Key, "RFC3720")
	default:
		reply.Add(kv.Key, Rejected)
	}
}

func (n *negotiator) receiveDeclared(k *key, value string) error {
	v, err := k.parse(value)
	if err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	*k.number(&n.params) = v
	return nil
}

// respond settles a key that the other side offered and returns the answer. An
// inadmissible value is rejected and leaves the default in force.
func (n *negotiator) respond(k *key, value string) string {
	switch {
	case n.discovery && k.normal:
		return Irrelevant
	case !n.applies(k):
		return Rejected
	case k.kind == kindDigest:
		return n.respondDigest(k, value)
	case k.flag != nil:
		v, err := ParseBool(value)
		if err != nil {
			return Rejected
		}
		result := k.combineFlags(v, k.wantFlag(&n.offer))
		*k.flag(&n.params) = result
		return FormatBool(result)
	}
	v, err := k.parse(value)
	if err != nil {
		return Rejected
	}
	result := k.combine(v, k.wantNumber(&n.offer))
	*k.number(&n.params) = result
	return strconv.Itoa(result)
}

func (n *negotiator) respondDigest(k *key, value string) string {
	choice := k.wantDigest(&n.offer)
	for _, v := range ParseList(value) {
		if v == "None" && choice != DigestRequire || v == "CRC32C" && choice != DigestOff {
			*k.flag(&n.params) = v == "CRC32C"
			return v
		}
	}
	return Rejected
}

// receiveAnswer settles a key that this side offered. Numbers and booleans are
// combined with the offer once more, so that an answer outside of it can only
// make the result more careful. Without a usable answer, the default takes the
// answer's place.
func (n *negotiator) receiveAnswer(k *key, value string) error {
	if k.kind == kindDigest {
		return n.receiveDigest(k, value)
	}
	answer := !(value == NotUnderstood || value == Rejected || value == Irrelevant)
	if k.flag != nil {
		result := k.flag(&n.params)
		v := *result
		if answer {
			var err error
			if v, err = ParseBool(value); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		}
		*result = k.combineFlags(v, k.wantFlag(&n.offer))
		return nil
	}
	result := k.number(&n.params)
	v := *result
	if answer {
		var err error
		if v, err = k.parse(value); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	*result = k.combine(v, k.wantNumber(&n.offer))
	return nil
}

func (n *negotiator) receiveDigest(k *key, value string) error {
	choice := k.wantDigest(&n.offer)
	switch {
	case value == "CRC32C" && choice != DigestOff:
		*k.flag(&n.params) = true
		return nil
	case value == "CRC32C":
		return fmt.Errorf("%w: %s=CRC32C was not offered", ErrBadText, k.name)
	case choice == DigestRequire:
		return fmt.Errorf("%w: %s=%.40s", ErrDigestRequired, k.name, value)
	}
	return nil
}

// finish settles what was offered and not answered, and returns the result.
func (n *negotiator) finish() (Params, error) {
	for i := range operationalKeys {
		k := &operationalKeys[i]
		if n.offered[k.name] && !n.settled[k.name] && k.kind != kindDeclare {
			if err := n.receiveAnswer(k, NotUnderstood); err != nil {
				return Params{}, err
			}
		}
		if k.kind == kindDigest && k.wantDigest(&n.offer) == DigestRequire && !*k.flag(&n.params) {
			return Params{}, fmt.Errorf("%w: %s=CRC32C", ErrDigestRequired, k.name)
		}
	}
	p := n.params
	p.FirstBurstLength = min(p.FirstBurstLength, p.MaxBurstLength)
	return p, nil
}

// parse reads a numerical value within the key's range.
func (k *key) parse(value string) (int, error) {
	v, err := ParseNumber(value)
	if err != nil {
		return 0, err
	}
	if v < k.low || v > k.high {
		return 0, fmt.Errorf("%w: %d is not in %d..%d", ErrBadText, v, k.low, k.high)
	}
	return int(v), nil
}

func (k *key) combine(a, b int) int {
	if k.kind == kindMax {
		return max(a, b)
	}
	return min(a, b)
}

func (k *key) combineFlags(a, b bool) bool {
	if k.kind == kindAnd {
		return a && b
	}
	return a || b
}
