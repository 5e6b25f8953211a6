package iscsi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// InitiatorConfig says what login an initiator wants.
type InitiatorConfig struct {
	InitiatorName  string
	InitiatorAlias string // optional
	TargetName     string // optional in a discovery session
	Discovery      bool   // a discovery session, for SendTargets only
	ISID           ISID   // zero means a random one
	TSIH           uint16 // zero for a new session; else the one to join
	CID            uint16
	CmdSN          uint32 // first CmdSN of the session
	// ExpStatSN is sent in the first request; it matters only when a connection
	// is reinstated.
	ExpStatSN uint32
	CHAP      *CHAPClient // nil: no authentication
	Offer     Offer
}

// InitiatorResult is what an initiator knows after a login.
type InitiatorResult struct {
	Params    Params
	ISID      ISID
	TSIH      uint16
	CmdSN     uint32 // of the first command; login requests use up none
	ExpCmdSN  uint32 // the target's, with MaxCmdSN the command window
	MaxCmdSN  uint32
	ExpStatSN uint32 // of the first request after the login

	TargetAlias string
	// PortalGroupTag is the target portal group logged in to, or NoTag.
	PortalGroupTag int
	// AuthMethod is "None" or "CHAP".
	AuthMethod string
}

// InitiatorLogin is the initiator's side of a login, without I/O: the caller
// moves each request that Next makes to the target, and gives each response to
// Receive, until Receive says that the login is over. Login does so over a Conn.
// It is for one goroutine and one login.
type InitiatorLogin struct {
	cfg     InitiatorConfig
	neg     negotiator
	chap    chapClient
	stage   Stage
	transit bool // ask for the next stage when all text is sent
	out     TextSplitter
	in      TextAssembler
	rounds  int
	result  InitiatorResult
	done    bool
}

// NewInitiatorLogin checks the configuration and starts a login.
func NewInitiatorLogin(cfg InitiatorConfig) (*InitiatorLogin, error) {
	var err error
	if cfg.InitiatorName, err = ParseName(cfg.InitiatorName); err != nil {
		return nil, fmt.Errorf("iscsi: initiator name: %w", err)
	}
	if cfg.TargetName != "" || !cfg.Discovery {
		if cfg.TargetName, err = peerName(cfg.TargetName); err != nil {
			return nil, fmt.Errorf("iscsi: target name: %w", err)
		}
	}
	if cfg.ISID == (ISID{}) { // some targets take zero for a missing one
		cfg.ISID = RandomISID(0)
	}
	l := &InitiatorLogin{
		cfg: cfg,
		in:  TextAssembler{Max: maxLoginText},
		neg: newNegotiator(cfg.Offer, cfg.Discovery, cfg.TSIH == 0),
		result: InitiatorResult{
			ISID: cfg.ISID, CmdSN: cfg.CmdSN, ExpStatSN: cfg.ExpStatSN,
			PortalGroupTag: NoTag, AuthMethod: authNone,
		},
	}
	if l.chap, err = newCHAPClient(cfg.CHAP); err != nil {
		return nil, err
	}
	l.open()
	return l, nil
}

// open prepares the first request.
func (l *InitiatorLogin) open() {
	t := Text{{keyInitiatorName, l.cfg.InitiatorName}}
	if l.cfg.InitiatorAlias != "" {
		t.Add(keyInitiatorAlias, l.cfg.InitiatorAlias)
	}
	if l.cfg.TargetName != "" {
		t.Add(keyTargetName, l.cfg.TargetName)
	}
	session := sessionNormal
	if l.cfg.Discovery {
		session = sessionDiscovery
	}
	t.Add(keySessionType, session)
	t.Add(keyAuthMethod, l.chap.methods())
	// With CHAP on offer the stage is not over, whatever the target chooses.
	l.say(t, l.cfg.CHAP == nil)
}

// say sets what the next requests carry.
func (l *InitiatorLogin) say(t Text, transit bool) {
	l.out = NewTextSplitter(t.Append(nil), maxLoginData)
	l.transit = transit
}

// Next fills in the next request and returns its data segment, which is valid
// until the call after next.
func (l *InitiatorLogin) Next(req *LoginRequest) (data []byte) {
	data, more := l.out.Next()
	*req = LoginRequest{
		Transit:      l.transit && !more,
		Continue:     more,
		CurrentStage: l.stage,
		VersionMax:   Version,
		VersionMin:   Version,
		ISID:         l.cfg.ISID,
		TSIH:         l.cfg.TSIH,
		ITT:          1,
		CID:          l.cfg.CID,
		CmdSN:        l.cfg.CmdSN,
		ExpStatSN:    l.result.ExpStatSN,
	}
	if req.Transit {
		req.NextStage = l.stage.next()
	}
	return data
}

// next returns the stage that this package goes to after s.
func (s Stage) next() Stage {
	if s == SecurityStage {
		return OperationalStage
	}
	return FullFeaturePhase
}

// Receive takes the target's response. While done is false and there is no error,
// the next request is due. A response with a status other than success makes a
// *LoginError. The task tag is not checked: a transport that rewrites it, as
// Linux does, can use this too.
func (l *InitiatorLogin) Receive(resp *LoginResponse, data []byte) (done bool, err error) {
	if l.done {
		return true, protocolErrorf("a response after the login")
	}
	if resp.Status != StatusSuccess {
		return false, refusal(resp.Status, data)
	}
	if err := l.check(resp); err != nil {
		return false, err
	}
	l.result.ExpStatSN = resp.StatSN + 1
	l.result.ExpCmdSN, l.result.MaxCmdSN = resp.ExpCmdSN, resp.MaxCmdSN
	if err := l.in.Add(data); err != nil {
		return false, err
	}
	switch {
	case l.out.Pending(): // the target has waited for the rest of our text
		if resp.Transit || resp.Continue || len(data) > 0 {
			return false, protocolErrorf("the target answers half a text")
		}
		return false, nil
	case resp.Continue: // fetch the rest of its text with an empty request
		l.say(nil, false)
		return false, nil
	}
	return l.receiveText(resp)
}

// check compares a response with the request that it answers.
func (l *InitiatorLogin) check(resp *LoginResponse) error {
	l.rounds++
	switch {
	case l.rounds > maxLoginRounds:
		return protocolErrorf("no end after %d requests", maxLoginRounds)
	case resp.VersionActive != Version:
		return protocolErrorf("the target speaks version %d", resp.VersionActive)
	case resp.CurrentStage != l.stage:
		return protocolErrorf("the target is in stage %v, the initiator in %v", resp.CurrentStage, l.stage)
	case resp.Transit && resp.Continue:
		return protocolErrorf("T and C bit are both set")
	case resp.Transit && !l.transit:
		return protocolErrorf("the target leaves stage %v unasked", l.stage)
	case resp.Transit && resp.NextStage != l.stage.next():
		return protocolErrorf("the target goes from stage %v to %v", l.stage, resp.NextStage)
	}
	return nil
}

// receiveText takes the whole text of a response, or of several joined by the C
// bit, and prepares the next request.
func (l *InitiatorLogin) receiveText(resp *LoginResponse) (done bool, err error) {
	text, err := ParseText(l.in.Take())
	if err != nil {
		return false, err
	}
	var reply Text
	transit := true
	if l.stage == SecurityStage {
		if transit, err = l.chap.receive(&text, &reply); err != nil {
			return false, err
		}
		l.result.AuthMethod = l.chap.method
	}
	if err := l.receiveKeys(text, &reply); err != nil {
		return false, err
	}
	if !resp.Transit {
		l.say(reply, transit)
		return false, nil
	}
	return l.enter(resp, reply)
}

// enter goes to the next stage, which the target has granted.
func (l *InitiatorLogin) enter(resp *LoginResponse, reply Text) (done bool, err error) {
	if l.stage == SecurityStage {
		if err := l.chap.finish(); err != nil {
			return false, err
		}
		l.stage = OperationalStage
		l.neg.propose(&reply)
		l.say(reply, true)
		return false, nil
	}
	if l.result.Params, err = l.neg.finish(); err != nil {
		return false, err
	}
	l.result.TSIH = resp.TSIH
	l.done = true
	return true, nil
}

// receiveKeys takes what the target says of itself, and what is negotiated.
func (l *InitiatorLogin) receiveKeys(text Text, reply *Text) error {
	for _, kv := range text {
		switch kv.Key {
		case keyTargetAlias:
			l.result.TargetAlias = kv.Value
		case keyPortalGroup:
			tag, err := strconv.ParseUint(kv.Value, 0, 16)
			if err != nil {
				return protocolErrorf("%s=%.40s is no number in 0..65535", kv.Key, kv.Value)
			}
			l.result.PortalGroupTag = int(tag)
		case keyTargetName, keyTargetAddress, keyInitiatorName, keyInitiatorAlias, keySessionType:
			// Nothing to learn: some targets echo declarations.
		default:
			if err := l.neg.receive(kv, reply); err != nil {
				return err
			}
		}
	}
	return nil
}

// Done reports whether the login has succeeded.
func (l *InitiatorLogin) Done() bool { return l.done }

// Result returns the outcome of a login that is done.
func (l *InitiatorLogin) Result() InitiatorResult { return l.result }

// String describes the login without its secrets.
func (l *InitiatorLogin) String() string {
	return fmt.Sprintf("login of %s to %q, stage %v", l.cfg.InitiatorName, l.cfg.TargetName, l.stage)
}

// refusal makes the error of a response that refuses the login.
func refusal(s LoginStatus, data []byte) error {
	e := &LoginError{Status: s}
	if s.Class() != 1 {
		return e
	}
	text, err := parsePairs(data)
	if err != nil {
		return protocolErrorf("%v, but %w", s, err)
	}
	value, _ := text.Get(keyTargetAddress)
	if e.Redirect, err = ParseTargetAddress(value); err != nil {
		return protocolErrorf("%v, but %w", s, err)
	}
	return e
}

// chapClient is the initiator's part of the security stage.
type chapClient struct {
	cfg      *CHAPClient // nil: no authentication
	method   string
	own      chapChallenge // what the target must answer, in mutual CHAP
	answered bool          // the target's challenge has been answered
	verified bool          // the target has answered ours
}

func newCHAPClient(cfg *CHAPClient) (chapClient, error) {
	if cfg == nil {
		return chapClient{method: authNone}, nil
	}
	c := *cfg
	if c.User.Name == "" || c.User.Secret == "" {
		return chapClient{}, errors.New("iscsi: CHAP: name or secret is missing")
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
	c.verified = true
	return nil
}

// finish reports whether the security stage may be left.
func (c *chapClient) finish() error {
	if c.mutual() && !c.verified {
		return fmt.Errorf("%w: no CHAP response came", ErrPeerNotAuthenticated)
	}
	return nil
}

// take removes a key and returns its value.
func (t *Text) take(key string) (value string, ok bool) {
	for i, kv := range *t {
		if kv.Key == key {
			*t = slices.Delete(*t, i, i+1)
			return kv.Value, true
		}
	}
	return "", false
}
