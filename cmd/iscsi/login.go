package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/iscsi"
)

// loginFlags are the flags that say how to log in.
type loginFlags struct {
	initiator            string
	chapUser, targetUser string
	chap, target         secretFlags
	header, data         digestFlag
	timeout              time.Duration
}

func (l *loginFlags) register(f *flag.FlagSet) {
	f.StringVar(&l.initiator, "initiator", "", "this side's `NAME` (iqn.2026-01.org.bootlun: and the host's name)")
	f.StringVar(&l.chapUser, "chap-user", "", "CHAP `NAME` of this side")
	l.chap.register(f, "chap", "this side's CHAP secret")
	f.StringVar(&l.targetUser, "target-user", "", "CHAP `NAME` that the target must have (any)")
	l.target.register(f, "target", "the target's CHAP secret, which it must prove")
	f.Var(&l.header, "header-digest", "CRC32C of headers: `no`, allow, prefer or require")
	f.Var(&l.data, "data-digest", "CRC32C of data: `no`, allow, prefer or require")
	f.DurationVar(&l.timeout, "timeout", 15*time.Second, "give up a login or a silent target after this `TIME`")
}

// config makes an initiator's settings; the caller fills in the target. user, if
// not empty, is the CHAP name in a URL.
func (l *loginFlags) config(c command, user string, env environment) (initiator.Config, error) {
	chap, err := l.credentials(c, cmp.Or(l.chapUser, user), env)
	if err != nil {
		return initiator.Config{}, err
	}
	if l.timeout <= 0 {
		return initiator.Config{}, c.misused("--timeout %v is not positive", l.timeout)
	}
	name := cmp.Or(l.initiator, defaultInitiator())
	if err := iscsi.ValidateName(name); err != nil {
		return initiator.Config{}, c.misused("--initiator: %w", err)
	}
	return initiator.Config{
		Initiator: name,
		CHAP:      chap,
		Offer:     iscsi.Offer{HeaderDigest: l.header.choice, DataDigest: l.data.choice},
		Timeouts:  initiator.Timeouts{Login: l.timeout, Ping: l.timeout},
	}, nil
}

// credentials returns nil if none are asked for.
func (l *loginFlags) credentials(c command, user string, env environment) (*iscsi.CHAPClient, error) {
	secret, err := l.chap.get(c, "chap", env)
	if err != nil {
		return nil, err
	}
	proof, err := l.target.get(c, "target", env)
	if err != nil {
		return nil, err
	}
	switch {
	case (user == "") != (secret == ""):
		return nil, c.misused("CHAP wants both a name (--chap-user, or USER@ in the URL) and a secret " +
			"(--chap-secret-file or --chap-secret-env)")
	case proof != "" && secret == "":
		return nil, c.misused("the target proves itself (--target-secret-file, --target-secret-env) only to who has a --chap-user and secret")
	case l.targetUser != "" && proof == "":
		return nil, c.misused("--target-user wants --target-secret-file or --target-secret-env")
	case user == "":
		return nil, nil
	}
	return &iscsi.CHAPClient{
		User:   iscsi.CHAPUser{Name: user, Secret: secret},
		Target: iscsi.CHAPUser{Name: l.targetUser, Secret: proof},
	}, nil
}

// secretFlags name where a secret is.
type secretFlags struct{ file, env string }

func (s *secretFlags) register(f *flag.FlagSet, who, what string) {
	f.StringVar(&s.file, who+"-secret-file", "", "`FILE` with "+what+", without the line's end")
	f.StringVar(&s.env, who+"-secret-env", "", "environment `VARIABLE` with "+what)
}

// maxSecret bounds what is read of a file.
const maxSecret = 4096

// get reads the secret, empty if there is none.
func (s *secretFlags) get(c command, who string, env environment) (iscsi.Secret, error) {
	switch {
	case s.file != "" && s.env != "":
		return "", c.misused("--%s-secret-file and --%s-secret-env exclude each other", who, who)
	case s.env != "":
		v, ok := env(s.env)
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

// digestFlag is a flag.Value of a digest choice.
type digestFlag struct{ choice iscsi.DigestChoice }

var digestNames = [...]string{
	iscsi.DigestOff: "no", iscsi.DigestAllow: "allow", iscsi.DigestPrefer: "prefer", iscsi.DigestRequire: "require",
}

func (d *digestFlag) String() string { return digestNames[d.choice] }

func (d *digestFlag) Set(s string) error {
	for i, name := range digestNames {
		if s == name {
			d.choice = iscsi.DigestChoice(i)
			return nil
		}
	}
	return fmt.Errorf("want no, allow, prefer or require")
}

// defaultInitiator makes a name of the host's.
func defaultInitiator() string {
	host, _ := os.Hostname()
	host = regexp.MustCompile(`[^a-z0-9.-]+`).ReplaceAllString(strings.ToLower(host), "-")
	return "iqn.2026-01.org.bootlun:" + cmp.Or(host, "host")
}
