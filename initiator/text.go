package initiator

import (
	"context"
	"fmt"
	"strconv"

	"github.com/bootlun/bootlun/iscsi"
)

// keyMaxSegment is the one operational value that may change in a session's life, for
// one connection and one direction (RFC 7143, 13.12).
const keyMaxSegment = "MaxRecvDataSegmentLength"

// maxText bounds the text that a target sends in answer to ours.
const maxText = 1 << 20

// textPart is a text response, or the end of the hope for one.
type textPart struct {
	final bool
	more  bool // the C bit
	ttt   uint32
	data  []byte
	err   error
}

// Negotiate sends text to the target in the midst of a session (RFC 7143, 11.10), such
// as a vendor's X- keys or SendTargets with no value, and returns the target's
// answer. How long the segments are that each side takes is negotiated beside it, as
// is when a target asks for it. The error wraps *RejectError if the target refuses;
// some close the connection, as tgt does at the text and istgt, which counts it as a
// command though it is immediate, at the next command.
func (s *Session) Negotiate(ctx context.Context, ask iscsi.Text) (iscsi.Text, error) {
	n, err := s.nexus(ctx)
	if err == nil {
		l := n.lane()
		if l == nil {
			l = n.connections()[0]
		}
		var answer iscsi.Text
		if answer, err = l.negotiate(ctx, ask); err == nil {
			return answer, nil
		}
	}
	return nil, s.wrap("negotiate", err)
}

// renegotiate negotiates because the target asks for it, unless somebody does so
// already.
func (l *link) renegotiate() {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeouts.Login)
		defer cancel()
		if _, err := l.negotiate(ctx, nil); err != nil {
			s.cfg.Logger.Warn("no negotiation", "target", s.cfg.Target, "err", err)
		}
	})
}

// negotiate exchanges text, one at a time.
func (l *link) negotiate(ctx context.Context, ask iscsi.Text) (iscsi.Text, error) {
	select {
	case l.texting <- struct{}{}:
	case <-l.dead:
		return nil, l.cause()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-l.texting }()
	ask = append(iscsi.Text{{Key: keyMaxSegment, Value: strconv.Itoa(l.params.MaxRecvDataSegmentLength)}}, ask...)
	text, err := l.exchange(ctx, ask.Append(nil))
	if err != nil {
		return nil, err
	}
	answer, err := iscsi.ParseText(text)
	if err != nil {
		return nil, err
	}
	if v, ok := answer.Get(keyMaxSegment); ok && v != iscsi.Rejected {
		n, err := iscsi.ParseNumber(v)
		if err != nil || n < 512 || n > iscsi.MaxDataSegmentLength {
			return nil, protocolErrorf("%s=%.40s", keyMaxSegment, v)
		}
		l.segment.Store(int64(n))
	}
	return answer, nil
}

// exchange sends text and returns the whole answer. The exchange ends with it or with
// the connection: what the target still says of it would be taken for the next.
func (l *link) exchange(ctx context.Context, text []byte) ([]byte, error) {
	out := iscsi.NewTextSplitter(text, int(l.segment.Load()))
	in := iscsi.TextAssembler{Max: maxText}
	for ttt := iscsi.ReservedTag; ; {
		data, more := out.Next()
		req := iscsi.TextRequest{Immediate: true, Final: !more, Continue: more, ITT: textTag, TTT: ttt}
		if err := l.send(&req, data); err != nil {
			return nil, err
		}
		l.want()
		var part textPart
		select {
		case part = <-l.texts:
		case <-l.dead:
			return nil, l.cause()
		case <-ctx.Done():
			l.fail(fmt.Errorf("no answer to a text request: %w", context.Cause(ctx)))
			return nil, context.Cause(ctx)
		}
		if part.err != nil {
			return nil, part.err
		}
		err := in.Add(part.data)
		switch {
		case err != nil:
		case part.final && !part.more && !more:
			return in.Take(), nil
		case part.ttt == iscsi.ReservedTag:
			err = protocolErrorf("a text response that is not the last has no transfer tag")
		}
		if err != nil {
			l.fail(err)
			return nil, err
		}
		ttt = part.ttt
	}
}

// textResponse passes a text response on to who waits for it.
func (l *link) textResponse(b *iscsi.BHS) error {
	var r iscsi.TextResponse
	if err := r.Decode(b); err != nil {
		return err
	}
	data := make([]byte, l.conn.DataLeft()) // within the limit that this side declared
	if err := l.conn.ReadData(data); err != nil {
		return err
	}
	if err := l.numbers(b, true); err != nil {
		return err
	}
	if r.ITT != textTag || len(l.texting) == 0 {
		return protocolErrorf("a text response with task tag 0x%08x, which no request has", r.ITT)
	}
	l.answerText(textPart{final: r.Final, more: r.Continue, ttt: r.TTT, data: data})
	return nil
}

// answerText gives a part of an answer to who waits for it. There is at most one.
func (l *link) answerText(p textPart) {
	select {
	case l.texts <- p:
	default:
	}
}
