package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target/control"
)

// Format is a kind of configuration file.
type Format string

// Formats.
const (
	Auto Format = ""    // found out from the file's name and content
	IET  Format = "iet" // ietd.conf
	TGT  Format = "tgt" // targets.conf
	LIO  Format = "lio" // saveconfig.json
	CTL  Format = "ctl" // ctl.conf
)

// Result is what a configuration comes to.
type Result struct {
	Targets []control.Target
	Disks   map[string]control.Medium // that several LUNs are
	// DiscoveryCHAP is what discovery sessions must prove, nil if nothing.
	DiscoveryCHAP *control.CHAP
	ISNS          *control.ISNS // nil: nobody is told of the targets
	Secrets       []SecretFile  // that Targets name
	Notes         []Note
}

// SecretFile is a file that is to be written, readable by its owner alone.
type SecretFile struct {
	Path   string
	Secret iscsi.Secret
}

// Note tells of something that is not in the result, or not quite.
type Note struct {
	File string
	Line int
	Text string
}

// String returns "file:line: text".
func (n Note) String() string { return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text) }

// nobody is a pattern that no initiator's name matches.
const nobody = "nobody"

// Read reads a configuration. The secrets in it are to be in files in the folder
// secrets; Read writes nothing.
func Read(path string, format Format, secrets string) (*Result, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if format == Auto {
		if format = detect(path, text); format == Auto {
			return nil, fmt.Errorf("%s: cannot tell whose configuration this is: say iet, tgt, lio or ctl", path)
		}
	}
	r := &reader{secrets: secrets}
	switch format {
	case IET:
		err = r.iet(path, text)
	case TGT:
		err = r.tgt(path, text, 0)
	case LIO:
		err = r.lio(path, text)
	case CTL:
		err = r.ctl(path, text)
	default:
		err = fmt.Errorf("no format %q: there are iet, tgt, lio and ctl", format)
	}
	if err != nil {
		return nil, err
	}
	r.secretFiles()
	r.shareDisks()
	return &r.Result, nil
}

func detect(path string, text []byte) Format {
	switch base := filepath.Base(path); {
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")):
		return LIO
	case base == "ietd.conf":
		return IET
	case base == "ctl.conf":
		return CTL
	case base == "targets.conf", bytes.Contains(text, []byte("<target ")):
		return TGT
	}
	for line := range bytes.Lines(text) {
		switch words := bytes.Fields(line); {
		case len(words) < 2:
		case string(words[0]) == "Target":
			return IET
		case string(words[0]) == "target", string(words[0]) == "portal-group", string(words[0]) == "auth-group":
			return CTL
		}
	}
	return Auto
}

// reader makes a Result.
type reader struct {
	Result
	secrets   string
	discovery control.CHAP
}

// at notes something about a line.
func (r *reader) at(s *statement, format string, args ...any) {
	r.Notes = append(r.Notes, Note{s.file, s.line, fmt.Sprintf(format, args...)})
}

// notCarried notes that a setting is not in the result.
func (r *reader) notCarried(s *statement, why string) {
	r.at(s, "%s is not carried over: %s", s.words[0], why)
}

// user adds a CHAP user for the initiators of something, or sets the one by which
// the target proves itself.
func (r *reader) user(c *control.CHAP, of string, s *statement, reverse bool, name, secret string) {
	field, value := &c.CHAPName, &c.CHAPSecret
	if reverse {
		field, value = &c.ReverseCHAPName, &c.ReverseCHAPSecret
	}
	switch {
	case *field == "":
		*field, *value = name, iscsi.Secret(secret)
	case *field == name:
	case reverse:
		r.at(s, "mutual CHAP user %q of %s is not carried over: there is one, and %q comes first", name, of, *field)
	case !slices.ContainsFunc(c.CHAPUsers, func(u control.User) bool { return u.Name == name }):
		c.CHAPUsers = append(c.CHAPUsers, control.User{Name: name, Secret: iscsi.Secret(secret)})
	}
}

// discoveryUser is user for discovery sessions.
func (r *reader) discoveryUser(s *statement, reverse bool, name, secret string) {
	r.user(&r.discovery, "discovery", s, reverse, name, secret)
}

// nameServer has an iSNS server be told of the targets.
func (r *reader) nameServer(address string) {
	if r.ISNS == nil {
		r.ISNS = new(control.ISNS)
	}
	r.ISNS.Servers = append(r.ISNS.Servers, address)
}

// allow lets initiators in by name or address. Other limits are noted, and keep the
// target shut.
func (r *reader) allow(t *control.Target, s *statement, who string) {
	name := strings.ToLower(who)
	if who == "ALL" {
		return
	}
	if who != nobody && !strings.HasPrefix(name, "iqn.") && !strings.HasPrefix(name, "eui.") && !strings.HasPrefix(name, "naa.") {
		if r.allowAddress(t, s, who) {
			return
		}
		name = nobody
	}
	for _, have := range t.AllowedInitiators {
		if have == name {
			return
		}
	}
	t.AllowedInitiators = append(t.AllowedInitiators, name)
}

// allowAddress lets initiators in by address or network, and reports whether it
// could.
func (r *reader) allowAddress(t *control.Target, s *statement, who string) bool {
	network := strings.NewReplacer("[", "", "]", "").Replace(who)
	_, errAddr := netip.ParseAddr(network)
	_, errNet := netip.ParsePrefix(network)
	if errAddr != nil && errNet != nil {
		r.at(s, "%s is limited to %s, which is not carried over: it is no address, network or initiator's name", t.Name, who)
		return false
	}
	rule := control.Rule{Network: network}
	if !slices.Contains(t.Access, rule) {
		t.Access = append(t.Access, rule)
	}
	return true
}

// both makes names and addresses limits of which an initiator must meet one each, as
// tgt and FreeBSD have it. A limit that could not be carried over, or a denial, keeps
// the target shut: access never becomes wider.
func both(t *control.Target) {
	if slices.Contains(t.AllowedInitiators, nobody) {
		shut(t)
		return
	}
	if len(t.AllowedInitiators) == 0 || len(t.Access) == 0 {
		return
	}
	var networks []string
	for _, rule := range t.Access {
		networks = append(networks, rule.Network)
	}
	t.Access = control.Rules(t.AllowedInitiators, networks, nil)
	t.AllowedInitiators = nil
}

// shut lets nobody in.
func shut(t *control.Target) { t.AllowedInitiators, t.Access = []string{nobody}, nil }

// settle takes back nobody where somebody may in.
func (t targetLine) settle(r *reader) {
	names := t.AllowedInitiators[:0]
	shut := false
	for _, n := range t.AllowedInitiators {
		if n == nobody {
			shut = true
			continue
		}
		names = append(names, n)
	}
	if t.AllowedInitiators = names; shut && len(names) == 0 && len(t.Access) == 0 {
		t.AllowedInitiators = []string{nobody}
		r.at(t.at, "%s lets nobody in until allowedInitiators says who", t.Name)
	}
	r.oneWay(&t.CHAP, t.Name, t.at)
}

// oneWay takes mutual CHAP away where initiators need not prove anything.
func (r *reader) oneWay(c *control.CHAP, of string, at *statement) {
	if c.ReverseCHAPName != "" && c.CHAPName == "" {
		r.at(at, "mutual CHAP of %s is not carried over: it has no user for the initiator to be", of)
		c.ReverseCHAPName, c.ReverseCHAPSecret = "", ""
	}
}

// targetLine is a target and where it was said.
type targetLine struct {
	*control.Target
	at *statement
}

// add adds a target once it is complete.
func (r *reader) add(t *control.Target, s *statement) {
	if iscsi.ValidateName(t.Name) != nil {
		r.at(s, "target %q is not carried over: it is no iSCSI name", t.Name)
		return
	}
	targetLine{t, s}.settle(r)
	r.Targets = append(r.Targets, *t)
}

// secretFiles moves the secrets into files.
func (r *reader) secretFiles() {
	move := func(name, which string, secret *iscsi.Secret, file *string) {
		if *secret == "" {
			return
		}
		*file = filepath.Join(r.secrets, strings.Map(fileRune, name)+which)
		r.Secrets = append(r.Secrets, SecretFile{*file, *secret})
		*secret = ""
	}
	all := func(name string, c *control.CHAP) {
		move(name, ".secret", &c.CHAPSecret, &c.CHAPSecretFile)
		for j := range c.CHAPUsers {
			u := &c.CHAPUsers[j]
			move(name, fmt.Sprintf(".secret-%d", j+2), &u.Secret, &u.SecretFile)
		}
		move(name, ".reverse-secret", &c.ReverseCHAPSecret, &c.ReverseCHAPSecretFile)
	}
	for i := range r.Targets {
		t := &r.Targets[i]
		all(t.Name, &t.CHAP)
		for j := range t.InitiatorCHAP {
			all(t.Name+"."+t.InitiatorCHAP[j].Initiator, &t.InitiatorCHAP[j].CHAP)
		}
	}
	if r.discovery.CHAPName != "" {
		all("discovery", &r.discovery)
		r.DiscoveryCHAP = &r.discovery
	}
}

// shareDisks makes a disk of its own of what several LUNs serve: a file is opened
// once.
func (r *reader) shareDisks() {
	byPath := make(map[string][]*control.LUN)
	var paths []string
	for i := range r.Targets {
		for j := range r.Targets[i].LUNs {
			l := &r.Targets[i].LUNs[j]
			if byPath[l.Path] == nil {
				paths = append(paths, l.Path)
			}
			byPath[l.Path] = append(byPath[l.Path], l)
		}
	}
	for _, path := range paths {
		luns := byPath[path]
		if len(luns) < 2 {
			continue
		}
		if r.Disks == nil {
			r.Disks = make(map[string]control.Medium)
		}
		name := filepath.Base(path)
		for n := 2; r.Disks[name].Path != ""; n++ {
			name = fmt.Sprintf("%s-%d", filepath.Base(path), n)
		}
		medium := luns[0].Medium
		for _, l := range luns { // what one may not, none may
			medium.ReadOnly = medium.ReadOnly || l.ReadOnly
			medium.WriteThrough = medium.WriteThrough || l.WriteThrough
		}
		r.Disks[name] = medium
		for _, l := range luns {
			l.Medium, l.Shared = control.Medium{}, name
		}
	}
}

// fileRune leaves in a file's name what needs no quoting.
func fileRune(c rune) rune {
	if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' {
		return c
	}
	return '_'
}

// errTooDeep ends the reading of files that include themselves.
var errTooDeep = errors.New("files include each other too deeply")
