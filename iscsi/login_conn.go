package iscsi

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Login logs in over c, on which nothing has been sent. When ctx ends, so does
// the login, if c is over a net.Conn, whose deadlines are cleared at the end. After
// success the digests and the receive limit of c are set; after an error, close c.
func Login(ctx context.Context, c *Conn, cfg InitiatorConfig) (InitiatorResult, error) {
	l, err := NewInitiatorLogin(cfg)
	if err != nil {
		return InitiatorResult{}, err
	}
	err = withContext(ctx, c, func() error { return runInitiator(c, l) })
	if err != nil {
		return InitiatorResult{}, err
	}
	c.apply(l.result.Params)
	return l.result, nil
}

func runInitiator(c *Conn, l *InitiatorLogin) error {
	var b BHS
	var req LoginRequest
	var resp LoginResponse
	for !l.done {
		data := l.Next(&req)
		req.Encode(&b)
		if err := c.send(&b, data); err != nil {
			return fmt.Errorf("iscsi: login: sending the request: %w", err)
		}
		data, err := c.ReadPDU(&b)
		if err != nil {
			return fmt.Errorf("iscsi: login: waiting for the response: %w", err)
		}
		if err := resp.Decode(&b); err != nil {
			return protocolErrorf("%w", err)
		}
		if resp.ITT != req.ITT {
			return protocolErrorf("a response with task tag 0x%08x to a request with 0x%08x", resp.ITT, req.ITT)
		}
		if _, err := l.Receive(&resp, data); err != nil {
			return err
		}
	}
	return nil
}

// ServeLogin answers a login over c, from which nothing has been read. When ctx
// ends, so does the login, if c is over a net.Conn, whose deadlines are cleared at the
// end. After success the digests and the receive limit of c are set. After an error,
// close c; if it is a *LoginError, the initiator has been told.
func ServeLogin(ctx context.Context, c *Conn, cfg TargetConfig) (TargetResult, error) {
	l := NewTargetLogin(cfg)
	err := withContext(ctx, c, func() error { return runTarget(c, l) })
	if err != nil {
		return TargetResult{LoginInfo: l.info}, err
	}
	c.apply(l.result.Params)
	return l.result, nil
}

func runTarget(c *Conn, l *TargetLogin) error {
	var b BHS
	var req LoginRequest
	var resp LoginResponse
	for !l.done {
		data, err := c.ReadPDU(&b)
		if err != nil {
			return fmt.Errorf("iscsi: login: waiting for the request: %w", err)
		}
		if err := req.Decode(&b); err != nil {
			return protocolErrorf("%w", err)
		}
		data, refused := l.Receive(&req, data, &resp)
		resp.Encode(&b)
		if err := c.send(&b, data); err != nil {
			return errors.Join(refused, fmt.Errorf("iscsi: login: sending the response: %w", err))
		}
		if refused != nil {
			return refused
		}
	}
	return nil
}

// send writes one PDU at once.
func (c *Conn) send(b *BHS, data []byte) error {
	if err := c.WritePDU(b, nil, data); err != nil {
		return err
	}
	return c.Flush()
}

// apply puts the values in force that concern framing.
func (c *Conn) apply(p Params) {
	c.SetDigests(p.HeaderDigest, p.DataDigest)
	c.SetRecvLimit(p.MaxRecvDataSegmentLength)
}

// withContext runs f, whose I/O on c fails as soon as ctx ends.
func withContext(ctx context.Context, c *Conn, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	nc := c.NetConn()
	if nc == nil {
		return f()
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		nc.SetDeadline(time.Unix(1, 0))
		close(stopped)
	})
	err := f()
	if !stop() { // ctx has ended: let the deadline be set before it is removed
		<-stopped
	}
	nc.SetDeadline(time.Time{})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}
