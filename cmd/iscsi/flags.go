package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/iscsi"
)

// loginFlags are the flags that say how to log in.
type loginFlags struct {
	initiator, isid      string
	chapUser, targetUser string
	chap, target         secretFlags
	algorithms           []iscsi.CHAPAlgorithm
	header, data         iscsi.DigestChoice
	timeout, recover     time.Duration
	portals              portalsFlag
}

const loginGroup = "Flags to log in"

func (l *loginFlags) define(c *cli.Command) {
	c.Group(loginGroup, func() { l.defineAll(c) })
}

func (l *loginFlags) defineAll(c *cli.Command) {
	c.StringVar(&l.initiator, "initiator", "", "this side's `NAME` (iqn.2026-01.org.bootlun: and the host's name)")
	c.StringVar(&l.isid, "isid", "", "session identifier, 12 hexadecimal `DIGITS` (random)")
	c.StringVar(&l.chapUser, "chap-user", "", "CHAP `NAME` of this side")
	l.chap.define(c, "chap", "this side's CHAP secret")
	c.Choice("chap-algorithms", "CHAP `ALGORITHMS` to offer, the best first, joined by commas: "+strings.Join(algorithmNames(), ","), algorithmNames(), true, l.setAlgorithms)
	c.StringVar(&l.targetUser, "target-user", "", "CHAP `NAME` that the target must have (any)")
	l.target.define(c, "target", "the target's CHAP secret, which it must prove")
	digest := func(name, of string, to *iscsi.DigestChoice) {
		c.Choice(name, "CRC32C of "+of+", if the target agrees: a `CHOICE` of no, allow, prefer or require (no)", digestNames[:], false, func(s string) error {
			i := slices.Index(digestNames[:], s)
			if i < 0 {
				return fmt.Errorf("want no, allow, prefer or require")
			}
			*to = iscsi.DigestChoice(i)
			return nil
		})
	}
	digest("header-digest", "headers", &l.header)
	digest("data-digest", "data", &l.data)
	c.DurationVar(&l.timeout, "timeout", 15*time.Second, "give up a login or a silent target after this `TIME` (15s)")
	c.DurationVar(&l.recover, "recover", time.Minute, "wait this `TIME` for a lost connection to be back; 0 gives up at once (1m)")
	c.Var(&l.portals, "portal", "another `PORTAL` of the target, to be tried when the one before fails; may be given again")
}

var digestNames = [...]string{
	iscsi.DigestOff: "no", iscsi.DigestAllow: "allow", iscsi.DigestPrefer: "prefer", iscsi.DigestRequire: "require",
}

func algorithmNames() []string {
	var names []string
	for _, a := range iscsi.CHAPAlgorithms() {
		names = append(names, strings.ToLower(a.String()))
	}
	return names
}

func (l *loginFlags) setAlgorithms(s string) error {
	l.algorithms = nil
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(algorithmNames(), name)
		if i < 0 {
			return fmt.Errorf("want of %s", strings.Join(algorithmNames(), ","))
		}
		l.algorithms = append(l.algorithms, iscsi.CHAPAlgorithms()[i])
	}
	return nil
}

// portalsFlag is a flag.Value of several portals.
type portalsFlag []string

func (p *portalsFlag) String() string { return strings.Join(*p, ",") }

func (p *portalsFlag) Set(s string) error {
	if _, err := iscsi.ParseTargetAddress(s); err != nil {
		return err
	}
	*p = append(*p, s)
	return nil
}

// config makes an initiator's settings; the caller fills in the target. user, if
// not empty, is the CHAP name in a URL.
func (l *loginFlags) config(c *cli.Command, user string) (cfg initiator.Config, err error) {
	cfg.Offer = iscsi.Offer{HeaderDigest: l.header, DataDigest: l.data}
	cfg.Portals = l.portals
	cfg.Recovery.Limit = l.recover
	cfg.Timeouts = initiator.Timeouts{Login: l.timeout, Ping: l.timeout}
	if cfg.CHAP, err = l.credentials(c, cmp.Or(l.chapUser, user)); err != nil {
		return cfg, err
	}
	if l.recover < 0 {
		return cfg, c.Misused("--recover %v is negative", l.recover)
	}
	if l.timeout <= 0 {
		return cfg, c.Misused("--timeout %v is not positive", l.timeout)
	}
	cfg.Initiator = cmp.Or(l.initiator, defaultInitiator())
	if err := iscsi.ValidateName(cfg.Initiator); err != nil {
		return cfg, c.Misused("--initiator: %w", err)
	}
	if l.isid != "" {
		if cfg.ISID, err = iscsi.ParseISID(l.isid); err != nil {
			return cfg, c.Misused("--isid: %w", err)
		}
	}
	return cfg, nil
}

// credentials returns nil if none are asked for.
func (l *loginFlags) credentials(c *cli.Command, user string) (*iscsi.CHAPClient, error) {
	secret, err := l.chap.get(c, "chap")
	if err != nil {
		return nil, err
	}
	proof, err := l.target.get(c, "target")
	if err != nil {
		return nil, err
	}
	switch {
	case (user == "") != (secret == ""):
		return nil, c.Misused("CHAP wants both a name (--chap-user, or USER@ in the URL) and a secret " +
			"(--chap-secret-file or --chap-secret-env)")
	case proof != "" && secret == "":
		return nil, c.Misused("the target proves itself (--target-secret-file, --target-secret-env) only to who has a --chap-user and secret")
	case l.targetUser != "" && proof == "":
		return nil, c.Misused("--target-user wants --target-secret-file or --target-secret-env")
	case user == "":
		return nil, nil
	}
	return &iscsi.CHAPClient{
		User:       iscsi.CHAPUser{Name: user, Secret: secret},
		Target:     iscsi.CHAPUser{Name: l.targetUser, Secret: proof},
		Algorithms: l.algorithms,
	}, nil
}

// secretFlags name where a secret is.
type secretFlags struct{ file, env string }

func (s *secretFlags) define(c *cli.Command, who, what string) {
	c.StringVar(&s.file, who+"-secret-file", "", "`FILE` with "+what+", without the line's end")
	c.StringVar(&s.env, who+"-secret-env", "", "environment `VARIABLE` with "+what)
}

// maxSecret bounds what is read of a file.
const maxSecret = 4096

// get reads the secret, empty if there is none.
func (s *secretFlags) get(c *cli.Command, who string) (iscsi.Secret, error) {
	switch {
	case s.file != "" && s.env != "":
		return "", c.Misused("--%s-secret-file and --%s-secret-env exclude each other", who, who)
	case s.env != "":
		v, ok := os.LookupEnv(s.env)
		if !ok || v == "" {
			return "", fmt.Errorf("--%s-secret-env: the environment has no %s", who, s.env)
		}
		return iscsi.Secret(v), nil
	case s.file == "":
		return "", nil
	}
	b, err := readFile(s.file)
	if err != nil {
		return "", fmt.Errorf("--%s-secret-file: %w", who, err)
	}
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 {
		return "", fmt.Errorf("--%s-secret-file: %s is empty", who, s.file)
	}
	return iscsi.Secret(b), nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(b) > maxSecret {
		err = fmt.Errorf("%s: more than %d bytes, which no secret has", name, maxSecret)
	}
	return b, err
}

// defaultInitiator makes a name of the host's.
func defaultInitiator() string {
	host, _ := os.Hostname()
	host = regexp.MustCompile(`[^a-z0-9.-]+`).ReplaceAllString(strings.ToLower(host), "-")
	return "iqn.2026-01.org.bootlun:" + cmp.Or(host, "host")
}
