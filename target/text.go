package target

import (
	"sync"

	"github.com/bootlun/bootlun/iscsi"
)

// maxAnswer bounds what the target says in one text exchange: a list of some
// thousand targets.
const maxAnswer = 1 << 20

// textExchange is a text negotiation in full feature phase that takes several
// PDUs (RFC 7143, 11.10): one at a time.
type textExchange struct {
	mu  sync.Mutex // requests that came early are another connection's goroutine to carry out
	in  iscsi.TextAssembler
	out iscsi.TextSplitter
	ttt uint32 // of the response that was not the last; ReservedTag: none is under way

	answer int  // bytes of the answer that out is of
	held   int  // bytes that count against the server's limit
	over   bool // the connection has ended
}

// shortText bounds an answer when memory is short.
const shortText = 16 << 10

// count has what the exchange holds count against the server's limit.
func (x *textExchange) count(p *bufferPool) {
	if !x.out.Pending() {
		x.answer = 0
	}
	now := x.in.Len() + x.answer
	p.hold(now - x.held)
	x.held = now
}

// end lets go of the exchange under way, and takes no other.
func (x *textExchange) end(p *bufferPool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.in, x.out, x.over = iscsi.TextAssembler{}, iscsi.TextSplitter{}, true
	x.count(p)
}

// textRequest takes a text request a step on.
func (c *conn) textRequest(r *request) error {
	var p iscsi.TextRequest
	if err := p.Decode(&r.bhs); err != nil {
		return err
	}
	x := &c.texts
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return nil
	}
	defer x.count(&c.srv.buffers)
	if p.TTT == iscsi.ReservedTag { // a new exchange, which ends any other
		x.in, x.out, x.ttt = iscsi.TextAssembler{}, iscsi.TextSplitter{}, iscsi.ReservedTag
	} else if p.TTT != x.ttt || x.ttt == iscsi.ReservedTag {
		c.reject(r, iscsi.RejectProtocolError, "a text request of no exchange that is under way")
		return nil
	}
	switch {
	case p.Continue && p.Final:
		c.reject(r, iscsi.RejectInvalidField, "C and F bit are both set")
		return nil
	case x.out.Pending() && (r.n > 0 || p.Continue):
		c.reject(r, iscsi.RejectProtocolError, "text while the target's own is not over")
		return nil
	case x.out.Pending():
		c.sendText(&p)
		return nil
	}
	if err := x.in.Add(r.bytes()); err != nil {
		c.reject(r, iscsi.RejectOutOfResources, err.Error())
		return nil
	}
	if p.Continue {
		c.sendText(&p)
		return nil
	}
	text, err := iscsi.ParseText(x.in.Take())
	x.in = iscsi.TextAssembler{}
	if err != nil {
		c.reject(r, iscsi.RejectProtocolError, err.Error())
		return nil
	}
	answer := c.answerText(text)
	if len(answer) > maxAnswer || c.srv.buffers.short() && len(answer) > shortText {
		c.reject(r, iscsi.RejectOutOfResources, "the answer is too long, or is while memory is short")
		return nil
	}
	x.out, x.answer = iscsi.NewTextSplitter(answer, c.segment()), len(answer)
	c.sendText(&p)
	return nil
}

// sendText sends the next part of the answer, which may be empty.
func (c *conn) sendText(p *iscsi.TextRequest) {
	x := &c.texts
	data, more := x.out.Next()
	resp := iscsi.TextResponse{LUN: p.LUN, ITT: p.ITT, TTT: iscsi.ReservedTag, Continue: more}
	resp.Final = p.Final && !more
	x.ttt = iscsi.ReservedTag
	if !resp.Final {
		x.ttt = p.ITT &^ (1 << 31) // any value but ReservedTag
		resp.TTT = x.ttt
	}
	c.out.send(c.sess, &resp, data)
}

// answerText answers the keys of a whole text.
func (c *conn) answerText(text iscsi.Text) []byte {
	var reply iscsi.Text
	var targets []byte
	for _, kv := range text {
		switch kv.Key {
		case "SendTargets":
			records, ok := c.sendTargets(kv.Value)
			if !ok {
				reply.Add(kv.Key, iscsi.Rejected)
			}
			targets = iscsi.AppendTargets(targets, records)
		case "MaxRecvDataSegmentLength":
			if !c.redeclare(kv.Value) {
				reply.Add(kv.Key, iscsi.Rejected)
			}
		case "InitiatorAlias":
			c.sess.mu.Lock()
			c.sess.alias = kv.Value
			c.sess.mu.Unlock()
		default:
			if kv.Value == iscsi.NotUnderstood || kv.Value == iscsi.Rejected || kv.Value == iscsi.Irrelevant {
				continue
			}
			answer := iscsi.NotUnderstood
			if loginKey(kv.Key) {
				answer = iscsi.Rejected
			}
			reply.Add(kv.Key, answer)
		}
	}
	return append(targets, reply.Append(nil)...)
}

// redeclare takes the initiator's new MaxRecvDataSegmentLength.
func (c *conn) redeclare(value string) bool {
	n, err := iscsi.ParseNumber(value)
	if err != nil || n < 512 || n > iscsi.MaxDataSegmentLength {
		return false
	}
	c.maxSend.Store(int64(n))
	return true
}

// loginKey tells keys that are known, but not to be talked about after login
// (RFC 7143, 13).
func loginKey(key string) bool {
	switch key {
	case "HeaderDigest", "DataDigest", "MaxConnections", "InitialR2T", "ImmediateData",
		"MaxBurstLength", "FirstBurstLength", "MaxOutstandingR2T", "DefaultTime2Wait", "DefaultTime2Retain",
		"DataPDUInOrder", "DataSequenceInOrder", "ErrorRecoveryLevel", "iSCSIProtocolLevel", "TaskReporting",
		"InitiatorName", "TargetName", "SessionType", "AuthMethod":
		return true
	}
	return false
}

// sendTargets lists targets (RFC 7143, appendix C). A session with a target may
// ask about that one alone.
func (c *conn) sendTargets(value string) (records []iscsi.TargetRecord, ok bool) {
	var names []string
	switch {
	case value == "All" && c.sess.discovery():
		names = c.srv.targets.Load().names
	case value == "All":
		return nil, false
	case value == "" && !c.sess.discovery():
		names = []string{c.sess.targetName()}
	case value == "":
		return nil, false
	default:
		name, err := iscsi.ParseName(value)
		if err != nil {
			return nil, false
		}
		if c.sess.discovery() || name == c.sess.targetName() {
			names = []string{name}
		}
	}
	for _, name := range names {
		t := c.srv.target(name)
		if t != nil && t.settings.Load().access.admits(&c.sess.who) {
			records = append(records, iscsi.TargetRecord{Name: name, Addresses: c.addressesOf(t)})
		}
	}
	return records, true
}
