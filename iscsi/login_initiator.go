package iscsi

import (
	"fmt"
	"strconv"
	"strings"
)

// InitiatorConfig says what login an initiator wants. The names are sent as they
// are: some targets compare them byte by byte. They need not be as strict as
// ParseName wants them, since a machine may have got its name from elsewhere.
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
	// TargetCHAPName is the name by which the target has proven itself; empty without
	// mutual CHAP.
	TargetCHAPName string
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
	if _, err := peerName(cfg.InitiatorName); err != nil {
		return nil, fmt.Errorf("initiator name: %w", err)
	}
	if cfg.TargetName != "" || !cfg.Discovery {
		if _, err := peerName(cfg.TargetName); err != nil {
			return nil, fmt.Errorf("target name: %w", err)
		}
	}
	if strings.ContainsRune(cfg.InitiatorAlias, 0) {
		return nil, fmt.Errorf("iscsi: initiator alias %q has a NUL", cfg.InitiatorAlias)
	}
	chap, err := newCHAPClient(cfg.CHAP)
	if err != nil {
		return nil, err
	}
	if cfg.ISID == (ISID{}) { // some targets take zero for a missing one
		cfg.ISID = RandomISID(0)
	}
	l := &InitiatorLogin{
		cfg:  cfg,
		chap: chap,
		in:   TextAssembler{Max: maxLoginText},
		neg:  newNegotiator(cfg.Offer, cfg.Discovery, cfg.TSIH == 0),
		result: InitiatorResult{
			ISID: cfg.ISID, CmdSN: cfg.CmdSN, ExpStatSN: cfg.ExpStatSN,
			PortalGroupTag: NoTag, AuthMethod: authNone,
		},
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
		l.result.AuthMethod, l.result.TargetCHAPName = l.chap.method, l.chap.target
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
