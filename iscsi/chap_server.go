package iscsi

import (
	"slices"
	"strconv"
)

// chapServer is the target's part of the security stage.
type chapServer struct {
	cfg    *CHAPServer // nil: no authentication demanded
	method string      // what the target chose, empty before
	own    chapChallenge
	proven bool
	user   string
}

func newCHAPServer(cfg *CHAPServer) (chapServer, error) {
	if cfg == nil {
		return chapServer{}, nil
	}
	c := *cfg
	var err error
	c.Algorithms, err = checkAlgorithms(c.Algorithms, CHAPAlgorithms())
	return chapServer{cfg: &c}, err
}

// ok reports whether no proof is missing.
func (c *chapServer) ok() bool { return c.cfg == nil || c.proven }

// started reports whether a method has been chosen.
func (c *chapServer) started() bool { return c.method != "" }

// receive takes the security keys out of a request and adds the answers to reply.
func (c *chapServer) receive(text, reply *Text) error {
	if methods, ok := text.take(keyAuthMethod); ok {
		if err := c.choose(methods, reply); err != nil {
			return err
		}
	}
	if list, ok := text.take(keyCHAPAlgorithm); ok {
		if err := c.challenge(list, reply); err != nil {
			return err
		}
	}
	name, n := text.take(keyCHAPName)
	response, r := text.take(keyCHAPResponse)
	if n || r {
		if err := c.verify(name, response); err != nil {
			return err
		}
	}
	id, i := text.take(keyCHAPIdentifier)
	challenge, ch := text.take(keyCHAPChallenge)
	if i || ch {
		return c.prove(id, challenge, reply)
	}
	return nil
}

// choose chooses from the methods that the initiator offers.
func (c *chapServer) choose(methods string, reply *Text) error {
	c.method = authNone
	if c.cfg != nil {
		c.method = authCHAP
	}
	if !slices.Contains(ParseList(methods), c.method) {
		return loginErrorf(StatusAuthenticationFailed, "the initiator offers AuthMethod=%.100s, the target takes %s", methods, c.method)
	}
	reply.Add(keyAuthMethod, c.method)
	return nil
}

// challenge chooses an algorithm and sends a challenge.
func (c *chapServer) challenge(list string, reply *Text) error {
	if c.method != authCHAP || c.own.challenge != nil {
		return loginErrorf(StatusAuthenticationFailed, "CHAP_A is not due")
	}
	offered := map[CHAPAlgorithm]bool{}
	for _, v := range ParseList(list) {
		if n, err := ParseNumber(v); err == nil && n <= 255 {
			offered[CHAPAlgorithm(n)] = true
		}
	}
	for _, a := range c.cfg.Algorithms {
		if offered[a] {
			c.own = newChallenge(a)
			reply.Add(keyCHAPAlgorithm, strconv.Itoa(int(a)))
			reply.Add(keyCHAPIdentifier, strconv.Itoa(int(c.own.id)))
			reply.Add(keyCHAPChallenge, FormatBinary(c.own.challenge))
			return nil
		}
	}
	return loginErrorf(StatusAuthenticationFailed, "the initiator offers CHAP_A=%.40s, the target takes %v", list, c.cfg.Algorithms)
}

// verify checks the initiator's answer.
func (c *chapServer) verify(name, response string) error {
	if c.own.challenge == nil || c.proven {
		return loginErrorf(StatusAuthenticationFailed, "a CHAP response that is not due")
	}
	r, err := ParseBinary(response)
	if err != nil {
		return loginErrorf(StatusAuthenticationFailed, "CHAP_R: %v", err)
	}
	for _, u := range c.cfg.Users {
		if u.Name == name && u.Secret != "" && c.own.verify(u.Secret, r) {
			c.proven, c.user = true, name
			return nil
		}
	}
	return loginErrorf(StatusAuthenticationFailed, "CHAP name %.100q: unknown name or wrong response", name)
}

// prove answers the initiator's challenge. A challenge that is the target's own
// would make the target compute the answer that an impostor needs (RFC 7143,
// 12.1.3).
func (c *chapServer) prove(id, challenge string, reply *Text) error {
	if !c.proven {
		return loginErrorf(StatusAuthenticationFailed, "a CHAP challenge before the initiator's own proof")
	}
	theirs, err := parseChallenge(c.own.algorithm, id, challenge)
	if err != nil {
		return loginErrorf(StatusAuthenticationFailed, "%v", err)
	}
	switch {
	case c.cfg.Target.Secret == "":
		return loginErrorf(StatusAuthenticationFailed, "the initiator asks for mutual CHAP, the target has no name and secret for it")
	case slices.Equal(theirs.challenge, c.own.challenge):
		return loginErrorf(StatusAuthenticationFailed, "the initiator sends the target's own challenge back")
	}
	for _, u := range c.cfg.Users {
		if u.Name == c.user && u.Secret == c.cfg.Target.Secret {
			return loginErrorf(StatusAuthenticationFailed, "initiator and target have the same CHAP secret; give the target another")
		}
	}
	reply.Add(keyCHAPName, c.cfg.Target.Name)
	reply.Add(keyCHAPResponse, FormatBinary(theirs.response(c.cfg.Target.Secret)))
	return nil
}
