package control

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
)

// Rule admits initiators to a target or a LUN: those for whom all that it says
// holds.
type Rule struct {
	Initiator string `yaml:"initiator,omitempty" json:"initiator,omitempty"` // a pattern such as iqn.2001-04.com.example:*
	Network   string `yaml:"network,omitempty" json:"network,omitempty"`     // an address, or a network such as 192.0.2.0/24
	User      string `yaml:"user,omitempty" json:"user,omitempty"`           // the CHAP name that the initiator proves
}

// String returns the rule as NAME@NETWORK+USER, of which parts may be missing.
func (r Rule) String() string {
	s := r.Initiator
	if r.Network != "" {
		s += "@" + r.Network
	}
	if r.User != "" {
		s += "+" + r.User
	}
	return s
}

// User is a CHAP user.
type User struct {
	Name       string       `yaml:"name" json:"name"`
	Secret     iscsi.Secret `yaml:"secret,omitempty" json:"-"`
	SecretFile string       `yaml:"secretFile,omitempty" json:"secretFile,omitempty"`
}

// InitiatorCHAP is what some initiators must prove in place of what the target asks
// of the rest. Without a name they need not prove anything.
type InitiatorCHAP struct {
	Initiator string `yaml:"initiator" json:"initiator"` // a pattern
	CHAP      `yaml:",inline"`
}

// Redirect sends initiators to another address.
type Redirect struct {
	To        string `yaml:"to" json:"to"` // HOST or HOST:PORT
	Permanent bool   `yaml:"permanent,omitempty" json:"permanent,omitempty"`
}

// Allowed is who may use a target: one of the patterns or rules; without any,
// everybody.
type Allowed struct {
	Initiators []string `json:"initiators,omitempty"`
	Rules      []Rule   `json:"rules,omitempty"`
}

// Rules are those that admit whoever meets one of the patterns, one of the networks
// and one of the users; an empty list asks for nothing.
func Rules(patterns, networks, users []string) (rules []Rule) {
	orAny := func(list []string) []string {
		if len(list) == 0 {
			return []string{""}
		}
		return list
	}
	for _, p := range orAny(patterns) {
		for _, n := range orAny(networks) {
			for _, u := range orAny(users) {
				rules = append(rules, Rule{p, n, u})
			}
		}
	}
	return rules
}

// accessOf makes the target server's form of rules, nil if there are none.
func accessOf(rules []Rule) (*target.Access, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	a := &target.Access{}
	for i, r := range rules {
		network, err := parseNetwork(r.Network)
		if err != nil {
			return nil, inField(fmt.Sprintf("access[%d].network", i), fmt.Errorf("access rule %d: %w", i, err))
		}
		a.Rules = append(a.Rules, target.Rule{Initiator: r.Initiator, Network: network, User: r.User})
	}
	return a, nil
}

// parseNetwork reads an address or a network; an empty text is the zero Prefix.
func parseNetwork(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is no address and no network such as 192.0.2.0/24", s)
	}
	return p.Masked(), nil
}

// users makes the target server's form of the CHAP users.
func (c *CHAP) users() ([]iscsi.CHAPUser, error) {
	all := slices.Clone(c.CHAPUsers)
	if c.CHAPName != "" || c.CHAPSecret != "" || c.CHAPSecretFile != "" {
		all = slices.Insert(all, 0, User{c.CHAPName, c.CHAPSecret, c.CHAPSecretFile})
	}
	var users []iscsi.CHAPUser
	for i, u := range all {
		secret, err := secretOf("CHAP secret of "+u.Name, u.Secret, u.SecretFile)
		field := "chapName"
		if own := len(all) - len(c.CHAPUsers); i >= own {
			field = fmt.Sprintf("chapUsers[%d]", i-own)
		}
		switch {
		case err != nil:
			return nil, inField(field, err)
		case u.Name == "" || secret == "":
			return nil, inField(field, errNameSecret)
		case slices.ContainsFunc(users, func(have iscsi.CHAPUser) bool { return have.Name == u.Name }):
			return nil, fmt.Errorf("there are two CHAP users %q", u.Name)
		}
		users = append(users, iscsi.CHAPUser{Name: u.Name, Secret: secret})
	}
	return users, nil
}

// errNameSecret says that half of a CHAP user is missing.
var errNameSecret = errors.New("a CHAP name needs a secret, and a secret a name")

// settings makes the target server's form of a target, but for the LUNs.
func (t *Target) settings() (*target.Target, error) {
	s := &target.Target{
		Name: t.Name, Alias: t.Alias, AllowedInitiators: t.AllowedInitiators,
		PortGroup: t.PortGroup, PortalGroups: t.PortalGroups,
	}
	var err error
	if s.CHAP, err = t.CHAP.server(); err != nil {
		return nil, err
	}
	if s.Access, err = accessOf(t.Access); err != nil {
		return nil, err
	}
	for n, i := range t.InitiatorCHAP {
		chap, err := i.server()
		if err != nil {
			return nil, inField(fmt.Sprintf("initiatorChap[%d]", n), fmt.Errorf("CHAP of initiators %s: %w", i.Initiator, err))
		}
		s.InitiatorCHAP = append(s.InitiatorCHAP, target.InitiatorCHAP{Initiator: i.Initiator, CHAP: chap})
	}
	if t.Redirect != nil {
		to, err := iscsi.ParseTargetAddress(t.Redirect.To)
		if err != nil {
			return nil, inField("redirect.to", err)
		}
		s.Redirect = &target.Redirect{To: to, Permanent: t.Redirect.Permanent}
	}
	return s, nil
}

// checkCommand refuses what a command may not say.
func (c *CHAP) checkCommand() error {
	files := []string{c.CHAPSecretFile, c.ReverseCHAPSecretFile}
	inline := c.CHAPSecret != "" || c.ReverseCHAPSecret != ""
	for _, u := range c.CHAPUsers {
		files = append(files, u.SecretFile)
		inline = inline || u.Secret != ""
	}
	if inline {
		return errSecret
	}
	for _, file := range files {
		if file != "" && !filepath.IsAbs(file) {
			return fmt.Errorf("%s: give the whole path of the file", file)
		}
	}
	return nil
}
