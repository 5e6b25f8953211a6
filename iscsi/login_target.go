package iscsi

import (
	"errors"
	"fmt"
	"strconv"
)

// LoginInfo is what an initiator said of itself in its first request. Until it is
// authenticated, nothing in it is proven.
type LoginInfo struct {
	InitiatorName  string // normalised
	InitiatorAlias string
	TargetName     string // normalised; empty in a discovery session without one
	Discovery      bool
	ISID           ISID
	TSIH           uint16 // zero for a new session
	CID            uint16
	CmdSN          uint32
	ExpStatSN      uint32
	// CHAPUser is the name that was proven: empty until then, and without
	// authentication.
	CHAPUser string
}

// Access is a target's answer to a LoginInfo.
type Access struct {
	// Status refuses the login unless it is StatusSuccess.
	Status LoginStatus
	Reason string // for the LoginError; not sent
	// Redirect goes with StatusMovedTemporarily and StatusMovedPermanently.
	Redirect TargetAddress
	// CHAP is the proof demanded; nil lets the initiator in without.
	CHAP        *CHAPServer
	TargetAlias string // optional
	// JoinSession says that the session named by a TSIH other than zero exists
	// and that this connection may join it. Without, the login is refused with
	// StatusSessionDoesNotExist.
	JoinSession bool
	// Window, if set, returns the ExpCmdSN and MaxCmdSN of that session, to be
	// sent in responses. It may be called several times.
	Window func() (exp, max uint32)
	Offer  Offer
}

// TargetConfig says how a target answers a login.
type TargetConfig struct {
	// Authorize decides on a login, once, before authentication. It is required.
	Authorize func(LoginInfo) Access
	// Establish is called once, when all that is left is to say that the login
	// has succeeded. It makes the session and returns its TSIH, or refuses. It
	// is required.
	Establish func(LoginInfo, Params) (tsih uint16, status LoginStatus)
	// PortalGroupTag is the tag of the portal that the initiator reached.
	PortalGroupTag uint16
	// StatSN is the first status sequence number of the connection.
	StatSN uint32
	// Window is how many commands may be outstanding: MaxCmdSN is that far
	// ahead. 0 means 64.
	Window uint32
}

// TargetResult is what a target knows after a login.
type TargetResult struct {
	LoginInfo
	Params Params
	TSIH   uint16 // of the session that was made or joined
	StatSN uint32 // of the next response
}

// TargetLogin is the target's side of a login, without I/O: the caller gives it
// each request and sends each response. ServeLogin does so over a Conn. It is for
// one goroutine and one connection.
type TargetLogin struct {
	cfg    TargetConfig
	access Access
	neg    negotiator
	chap   chapServer
	info   LoginInfo
	itt    uint32
	stage  Stage
	known  bool // the first text has been taken
	greet  bool // what the first response carries has been said
	seen   map[string]bool
	in     TextAssembler
	out    TextSplitter
	ready  bool // nothing is left to do in the stage but what out holds
	rounds int
	result TargetResult
	done   bool
	failed bool
}

// NewTargetLogin starts a login.
func NewTargetLogin(cfg TargetConfig) *TargetLogin {
	if cfg.Window == 0 {
		cfg.Window = 64
	}
	return &TargetLogin{
		cfg:    cfg,
		in:     TextAssembler{Max: maxLoginText},
		result: TargetResult{StatSN: cfg.StatSN},
		seen:   map[string]bool{},
	}
}

// Receive takes a request, fills in the response to send and returns its data
// segment, valid until the next call. With a *LoginError, the response says so to
// the initiator: send it and close the connection.
func (l *TargetLogin) Receive(req *LoginRequest, data []byte, resp *LoginResponse) (respData []byte, err error) {
	*resp = LoginResponse{
		CurrentStage:  req.CurrentStage,
		VersionMax:    Version,
		VersionActive: Version,
		ISID:          req.ISID,
		TSIH:          req.TSIH,
		ITT:           req.ITT,
		StatSN:        l.result.StatSN,
		ExpCmdSN:      req.CmdSN,
		MaxCmdSN:      req.CmdSN + l.cfg.Window - 1,
	}
	l.result.StatSN++
	respData, err = l.receive(req, data, resp)
	if l.access.Window != nil {
		resp.ExpCmdSN, resp.MaxCmdSN = l.access.Window()
	}
	if err == nil {
		return respData, nil
	}
	l.failed = true
	var le *LoginError
	if !errors.As(err, &le) {
		le = loginErrorf(StatusInitiatorError, "%v", err)
	}
	resp.Status = le.Status
	resp.Transit, resp.Continue, resp.NextStage = false, false, 0
	respData = nil
	if le.Redirect.Host != "" {
		respData = Text{{keyTargetAddress, le.Redirect.String()}}.Append(nil)
	}
	return respData, le
}

func (l *TargetLogin) receive(req *LoginRequest, data []byte, resp *LoginResponse) ([]byte, error) {
	if l.done || l.failed {
		return nil, loginErrorf(StatusInvalidDuringLogin, "a request after the end of the login")
	}
	if err := l.check(req); err != nil {
		return nil, err
	}
	l.rounds++
	if l.out.Pending() {
		if len(data) > 0 || req.Continue {
			return nil, loginErrorf(StatusInitiatorError, "the initiator interrupts the target's text")
		}
		return l.send(req, resp)
	}
	if err := l.in.Add(data); err != nil {
		return nil, err
	}
	if req.Continue {
		return nil, nil // an empty response asks for the rest
	}
	text, err := l.text()
	if err != nil {
		return nil, err
	}
	reply, err := l.answer(req, text)
	if err != nil {
		return nil, err
	}
	l.out = NewTextSplitter(reply.Append(nil), maxLoginData)
	return l.send(req, resp)
}

// check looks at the header of a request.
func (l *TargetLogin) check(req *LoginRequest) error {
	if l.rounds == 0 {
		if req.VersionMin > Version {
			return loginErrorf(StatusUnsupportedVersion, "the initiator speaks versions from %d on", req.VersionMin)
		}
		l.info = LoginInfo{ISID: req.ISID, TSIH: req.TSIH, CID: req.CID, CmdSN: req.CmdSN, ExpStatSN: req.ExpStatSN}
		l.itt = req.ITT
		l.stage = req.CurrentStage
	}
	switch {
	case l.rounds >= maxLoginRounds:
		return loginErrorf(StatusInitiatorError, "no end after %d requests", maxLoginRounds)
	case req.ISID != l.info.ISID || req.TSIH != l.info.TSIH || req.CID != l.info.CID || req.ITT != l.itt:
		return loginErrorf(StatusInvalidDuringLogin, "ISID, TSIH, CID or task tag changed during the login")
	case req.CurrentStage != l.stage || l.stage > OperationalStage:
		return loginErrorf(StatusInvalidDuringLogin, "a request for stage %v in stage %v", req.CurrentStage, l.stage)
	case req.Transit && req.Continue:
		return loginErrorf(StatusInitiatorError, "T and C bit are both set")
	case req.Transit && (req.NextStage <= req.CurrentStage || req.NextStage == 2):
		return loginErrorf(StatusInvalidDuringLogin, "transition from stage %v to %v", req.CurrentStage, req.NextStage)
	}
	return nil
}

// send fills in the response with the next part of the text. The transition comes
// with the last part at the earliest, if the request it answers asks for it.
func (l *TargetLogin) send(req *LoginRequest, resp *LoginResponse) ([]byte, error) {
	data, more := l.out.Next()
	if more {
		resp.Continue = true
		return data, nil
	}
	if !l.ready || !req.Transit {
		return data, nil
	}
	if req.NextStage == FullFeaturePhase {
		if err := l.establish(resp); err != nil {
			return nil, err
		}
	}
	resp.Transit, resp.NextStage = true, req.NextStage
	l.stage = req.NextStage
	return data, nil
}

// text returns the pairs of a whole text. Keys must not repeat within a login.
func (l *TargetLogin) text() (Text, error) {
	text, err := ParseText(l.in.Take())
	if err != nil {
		return nil, err
	}
	for _, kv := range text {
		if l.seen[kv.Key] {
			return nil, loginErrorf(StatusInitiatorError, "key %q came twice", kv.Key)
		}
		l.seen[kv.Key] = true
	}
	return text, nil
}

// answer takes a whole text and decides on the answer and on the transition.
func (l *TargetLogin) answer(req *LoginRequest, text Text) (Text, error) {
	if !l.known {
		if err := l.identify(&text); err != nil {
			return nil, err
		}
		l.known = true
	}
	var reply Text
	l.introduce(&reply)
	if err := l.chap.receive(&text, &reply); err != nil {
		return nil, err
	}
	for _, kv := range text {
		if err := l.receiveKey(kv, &reply); err != nil {
			return nil, err
		}
	}
	return reply, l.decide(req, &reply)
}

// identify reads who wants what from the first text and asks for the decision.
func (l *TargetLogin) identify(text *Text) error {
	if err := l.readNames(text); err != nil {
		return err
	}
	l.access = l.cfg.Authorize(l.info)
	a := &l.access
	if a.Status != StatusSuccess {
		return &LoginError{Status: a.Status, Reason: a.Reason, Redirect: a.Redirect}
	}
	if l.info.TSIH != 0 && !a.JoinSession {
		return loginErrorf(StatusSessionDoesNotExist, "TSIH %d", l.info.TSIH)
	}
	var err error
	if l.chap, err = newCHAPServer(a.CHAP); err != nil {
		return &LoginError{Status: StatusTargetError, Reason: err.Error()}
	}
	l.neg = newNegotiator(a.Offer, l.info.Discovery, l.info.TSIH == 0)
	return nil
}

func (l *TargetLogin) readNames(text *Text) error {
	initiator, ok := text.take(keyInitiatorName)
	if !ok {
		return loginErrorf(StatusMissingParameter, "the first request has no InitiatorName")
	}
	var err error
	if l.info.InitiatorName, err = peerName(initiator); err != nil {
		return fmt.Errorf("InitiatorName: %w", err)
	}
	l.info.InitiatorAlias, _ = text.take(keyInitiatorAlias)
	switch session, ok := text.take(keySessionType); {
	case session == sessionDiscovery:
		l.info.Discovery = true
	case ok && session != sessionNormal:
		return loginErrorf(StatusSessionTypeNotSupported, "SessionType=%.40s", session)
	}
	target, ok := text.take(keyTargetName)
	if !ok && !l.info.Discovery {
		return loginErrorf(StatusMissingParameter, "the first request of a normal session has no TargetName")
	}
	if ok {
		if l.info.TargetName, err = peerName(target); err != nil {
			return fmt.Errorf("TargetName: %w", err)
		}
	}
	return nil
}

// introduce adds what a target says of itself in its first answer (RFC 7143,
// 13.9: the portal group tag must be there).
func (l *TargetLogin) introduce(reply *Text) {
	if l.greet {
		return
	}
	l.greet = true
	if l.info.Discovery {
		return
	}
	reply.Add(keyPortalGroup, strconv.Itoa(int(l.cfg.PortalGroupTag)))
	if l.access.TargetAlias != "" {
		reply.Add(keyTargetAlias, l.access.TargetAlias)
	}
}

// receiveKey takes a pair that is not about security.
func (l *TargetLogin) receiveKey(kv KeyValue, reply *Text) error {
	switch kv.Key {
	case keyInitiatorAlias:
		l.info.InitiatorAlias = kv.Value
		return nil
	case keyInitiatorName, keyTargetName, keySessionType:
		return loginErrorf(StatusInitiatorError, "%s after the first request", kv.Key)
	case keyTargetAlias, keyTargetAddress, keyPortalGroup:
		reply.Add(kv.Key, Rejected) // only a target may send it
		return nil
	}
	return l.neg.receive(kv, reply)
}

// decide settles whether the stage may end with this answer. An initiator that asks
// for the transition while the authentication is going on, as some do in every
// request, is kept in the stage.
func (l *TargetLogin) decide(req *LoginRequest, reply *Text) error {
	l.ready = l.chap.ok()
	if !l.ready {
		if l.stage != SecurityStage {
			return loginErrorf(StatusAuthenticationFailed, "%s skips authentication, which is required", l.info.InitiatorName)
		}
		if req.Transit && !l.chap.started() {
			return loginErrorf(StatusAuthenticationFailed, "%s offers no AuthMethod, CHAP is required", l.info.InitiatorName)
		}
		return nil
	}
	if l.stage == OperationalStage || req.Transit && req.NextStage == FullFeaturePhase {
		l.neg.declare(reply)
	}
	return nil
}

// establish makes the session at the end of the login.
func (l *TargetLogin) establish(resp *LoginResponse) error {
	params, err := l.neg.finish()
	if err != nil {
		return err
	}
	l.info.CHAPUser = l.chap.user
	tsih, status := l.cfg.Establish(l.info, params)
	if status != StatusSuccess {
		return &LoginError{Status: status}
	}
	resp.TSIH = tsih
	l.result.LoginInfo, l.result.Params, l.result.TSIH = l.info, params, tsih
	l.done = true
	return nil
}

// Done reports whether the login has succeeded. The response of the call after
// which it is true is the last of the login.
func (l *TargetLogin) Done() bool { return l.done }

// Info returns what the initiator has said of itself so far.
func (l *TargetLogin) Info() LoginInfo { return l.info }

// Result returns the outcome of a login that is done.
func (l *TargetLogin) Result() TargetResult { return l.result }

// String describes the login without its secrets.
func (l *TargetLogin) String() string {
	return fmt.Sprintf("login of %q to %q, stage %v", l.info.InitiatorName, l.info.TargetName, l.stage)
}
