package iscsi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// chapClient is the initiator's part of the security stage.
type chapClient struct {
	cfg      *CHAPClient // nil: no authentication
	method   string
	own      chapChallenge // what the target must answer, in mutual CHAP
	answered bool          // the target's challenge has been answered
	verified bool          // the target has answered ours
	target   string        // the name by which it has
}

func newCHAPClient(cfg *CHAPClient) (chapClient, error) {
	if cfg == nil {
		return chapClient{method: authNone}, nil
	}
	c := *cfg
	if c.User.Name == "" || c.User.Secret == "" {
		return chapClient{}, errors.New("iscsi: CHAP: name or secret is missing")
	}
	if strings.ContainsRune(c.User.Name, 0) {
		return chapClient{}, fmt.Errorf("iscsi: CHAP: name %q has a NUL", c.User.Name)
	}
	if !c.Target.IsZero() && c.Target.Secret == "" {
		return chapClient{}, errors.New("iscsi: CHAP: the target's secret is missing")
	}
	if c.Target.Secret == c.User.Secret {
		return chapClient{}, errors.New("iscsi: CHAP: initiator and target have the same secret; RFC 7143, 12.1.3, forbids it: give the target another")
	}
	var err error
	if c.Algorithms, err = checkAlgorithms(c.Algorithms, offeredAlgorithms()); err != nil {
		return chapClient{}, err
	}
	return chapClient{cfg: &c, method: authNone}, nil
}

// checkAlgorithms returns the list, or the default in place of an empty one.
func checkAlgorithms(list, standard []CHAPAlgorithm) ([]CHAPAlgorithm, error) {
	if len(list) == 0 {
		return standard, nil
	}
	for _, a := range list {
		if a.newHash() == nil {
			return nil, fmt.Errorf("iscsi: CHAP: %v is not known; use 5 (MD5), 6 (SHA1), 7 (SHA256) or 8 (SHA3-256)", a)
		}
	}
	return list, nil
}

// mutual reports whether the target must prove itself.
func (c *chapClient) mutual() bool { return c.cfg != nil && !c.cfg.Target.IsZero() }

// methods returns the AuthMethod list to offer. A target that wants no proof may
// choose None, unless it is to give proof itself.
func (c *chapClient) methods() string {
	switch {
	case c.cfg == nil:
		return authNone
	case c.mutual():
		return authCHAP
	}
	return authCHAP + "," + authNone
}

// receive takes the security keys out of a response, adds the answers to reply
// and reports whether the stage is over as far as the initiator is concerned.
func (c *chapClient) receive(text, reply *Text) (transit bool, err error) {
	if method, ok := text.take(keyAuthMethod); ok {
		if err := c.choose(method, reply); err != nil {
			return false, err
		}
	}
	algorithm, a := text.take(keyCHAPAlgorithm)
	id, i := text.take(keyCHAPIdentifier)
	challenge, ch := text.take(keyCHAPChallenge)
	if a || i || ch {
		if err := c.answer(algorithm, id, challenge, reply); err != nil {
			return false, err
		}
	}
	name, n := text.take(keyCHAPName)
	response, r := text.take(keyCHAPResponse)
	if n || r {
		if err := c.verify(name, response); err != nil {
			return false, err
		}
	}
	return c.method != authCHAP || c.answered, nil
}

// choose takes the method that the target chose.
func (c *chapClient) choose(method string, reply *Text) error {
	switch {
	case method == authNone && !c.mutual():
		return nil
	case method == authNone:
		return fmt.Errorf("%w: it chose AuthMethod=None", ErrPeerNotAuthenticated)
	case method == authCHAP && c.cfg != nil && c.method != authCHAP:
		c.method = authCHAP
		var list []string
		for _, a := range c.cfg.Algorithms {
			list = append(list, strconv.Itoa(int(a)))
		}
		reply.Add(keyCHAPAlgorithm, strings.Join(list, ","))
		return nil
	case method == Rejected:
		return &LoginError{Status: StatusAuthenticationFailed, Reason: "the target takes none of " + c.methods()}
	}
	return protocolErrorf("AuthMethod=%.40s was not offered", method)
}

// answer answers the target's challenge, and adds one of our own for mutual CHAP.
func (c *chapClient) answer(algorithm, id, challenge string, reply *Text) error {
	if c.method != authCHAP || c.answered {
		return protocolErrorf("a CHAP challenge that is not due")
	}
	n, err := ParseNumber(algorithm)
	if err != nil || n > 255 || !slices.Contains(c.cfg.Algorithms, CHAPAlgorithm(n)) {
		return protocolErrorf("CHAP_A=%.40s was not offered", algorithm)
	}
	theirs, err := parseChallenge(CHAPAlgorithm(n), id, challenge)
	if err != nil {
		return protocolErrorf("%w", err)
	}
	c.answered = true
	reply.Add(keyCHAPName, c.cfg.User.Name)
	reply.Add(keyCHAPResponse, FormatBinary(theirs.response(c.cfg.User.Secret)))
	if c.mutual() {
		c.own = newChallenge(theirs.algorithm)
		reply.Add(keyCHAPIdentifier, strconv.Itoa(int(c.own.id)))
		reply.Add(keyCHAPChallenge, FormatBinary(c.own.challenge))
	}
	return nil
}

// verify checks the target's answer to our challenge.
func (c *chapClient) verify(name, response string) error {
	if !c.mutual() || !c.answered || c.verified {
		return protocolErrorf("a CHAP response that is not due")
	}
	r, err := ParseBinary(response)
	if err != nil {
		return fmt.Errorf("%w: CHAP_R: %w", ErrPeerNotAuthenticated, err)
	}
	if want := c.cfg.Target.Name; want != "" && name != want {
		return fmt.Errorf("%w: it is CHAP name %.100q, want %q", ErrPeerNotAuthenticated, name, want)
	}
	if !c.own.verify(c.cfg.Target.Secret, r) {
		return fmt.Errorf("%w: wrong CHAP response of %.100q; check the target's secret (mutual CHAP) on both sides", ErrPeerNotAuthenticated, name)
	}
	c.verified, c.target = true, name
	return nil
}

// finish reports whether the security stage may be left.
func (c *chapClient) finish() error {
	if c.mutual() && !c.verified {
		return fmt.Errorf("%w: no CHAP response came", ErrPeerNotAuthenticated)
	}
	return nil
}
