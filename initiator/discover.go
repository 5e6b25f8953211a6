package initiator

import (
	"context"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

const (
	// maxTargetsText bounds the text of a SendTargets response: some ten thousand
	// targets.
	maxTargetsText = 4 << 20
	// maxStray bounds the PDUs that may come in an answer's place.
	maxStray = 64
)

// Discover asks the first portal that answers for its targets (SendTargets; RFC
// 7143, appendix C).
// Config.Target does not matter. A target that the portal names without an address
// gets the portal's.
func Discover(ctx context.Context, config Config) ([]iscsi.TargetRecord, error) {
	cfg, err := config.withDefaults(true)
	if err != nil {
		return nil, &Error{Op: "discover targets", Portal: cfg.Portal, Err: err}
	}
	l, err := cfg.way().login(ctx, &cfg, errand{discovery: true, cmdSN: firstCmdSN})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeouts.Login)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.conn.Close() })
	defer stop()
	defer l.conn.Close()
	d := discovery{conn: l.conn, expStatSN: l.result.ExpStatSN, cmdSN: l.result.CmdSN}
	records, err := d.run()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, &Error{Op: "discover targets", Portal: l.addr.HostPort(), Err: err}
	}
	for i, r := range records {
		if len(r.Addresses) == 0 {
			records[i].Addresses = []iscsi.TargetAddress{l.addr}
		}
	}
	d.logout(cfg.Timeouts.Logout)
	return records, nil
}

// discovery is a discovery session after its login. It has one request at a time.
type discovery struct {
	conn             *iscsi.Conn
	cmdSN, expStatSN uint32
}

// run asks for all targets and joins the parts of the answer.
func (d *discovery) run() ([]iscsi.TargetRecord, error) {
	ask := iscsi.Text{{Key: "SendTargets", Value: "All"}}.Append(nil)
	answer := iscsi.TextAssembler{Max: maxTargetsText}
	for ttt := iscsi.ReservedTag; ; ask = nil {
		resp, data, err := d.exchange(ttt, ask)
		if err != nil {
			return nil, err
		}
		if err := answer.Add(data); err != nil {
			return nil, err
		}
		if resp.Final && !resp.Continue {
			return iscsi.ParseTargets(answer.Take())
		}
		if resp.TTT == iscsi.ReservedTag {
			return nil, protocolErrorf("a text response that is not the last has no transfer tag")
		}
		ttt = resp.TTT
	}
}

// exchange sends a text request and waits for its response, whose data is valid
// until the next call.
func (d *discovery) exchange(ttt uint32, text []byte) (resp iscsi.TextResponse, data []byte, err error) {
	req := iscsi.TextRequest{Final: true, ITT: d.cmdSN, TTT: ttt, CmdSN: d.cmdSN, ExpStatSN: d.expStatSN}
	d.cmdSN++
	if err := d.send(&req, text); err != nil {
		return resp, nil, err
	}
	for range maxStray {
		var b iscsi.BHS
		if data, err = d.conn.ReadPDU(&b); err != nil {
			return resp, nil, err
		}
		switch b.Opcode() {
		case iscsi.OpTextResponse:
			if err := resp.Decode(&b); err != nil {
				return resp, nil, err
			}
			if resp.ITT != req.ITT {
				return resp, nil, protocolErrorf("a text response with task tag 0x%08x to a request with 0x%08x", resp.ITT, req.ITT)
			}
			d.expStatSN = resp.StatSN + 1
			return resp, data, nil
		case iscsi.OpNOPIn:
			if err := d.pong(&b); err != nil {
				return resp, nil, err
			}
		case iscsi.OpReject:
			var r iscsi.Reject
			if err := r.Decode(&b); err != nil {
				return resp, nil, err
			}
			return resp, nil, &RejectError{r.Reason, iscsi.OpTextRequest}
		case iscsi.OpAsyncMessage:
			d.expStatSN = b.StatSN() + 1 // whatever it says, the session is about to end
		default:
			return resp, nil, protocolErrorf("%v in answer to a text request", b.Opcode())
		}
	}
	return resp, nil, protocolErrorf("no answer to a text request among %d PDUs", maxStray)
}

// pong answers a NOP-In that wants an answer.
func (d *discovery) pong(b *iscsi.BHS) error {
	var in iscsi.NOPIn
	if err := in.Decode(b); err != nil || in.TTT == iscsi.ReservedTag {
		return err
	}
	return d.send(&iscsi.NOPOut{
		Immediate: true, LUN: in.LUN, ITT: iscsi.ReservedTag, TTT: in.TTT,
		CmdSN: d.cmdSN, ExpStatSN: d.expStatSN,
	}, nil)
}

// logout ends the session politely; nothing is lost when the target does not answer.
func (d *discovery) logout(timeout time.Duration) {
	if nc := d.conn.NetConn(); nc != nil {
		nc.SetDeadline(time.Now().Add(timeout))
	}
	req := iscsi.LogoutRequest{
		Immediate: true, Reason: iscsi.LogoutSession, ITT: d.cmdSN, CmdSN: d.cmdSN, ExpStatSN: d.expStatSN,
	}
	if d.send(&req, nil) != nil {
		return
	}
	var b iscsi.BHS
	for range maxStray {
		if _, err := d.conn.ReadPDU(&b); err != nil || b.Opcode() == iscsi.OpLogoutResponse {
			return
		}
	}
}

func (d *discovery) send(p iscsi.PDU, data []byte) error {
	var b iscsi.BHS
	p.Encode(&b)
	if err := d.conn.WritePDU(&b, nil, data); err != nil {
		return err
	}
	return d.conn.Flush()
}
