package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/target/control"
)

// size is a flag or an argument that is a number of bytes, such as 8G.
type size int64

// UnmarshalText reads a size as a user writes it.
func (s *size) UnmarshalText(text []byte) error {
	n, err := bytesize.Parse(string(text))
	*s = size(n)
	return err
}

// printTree prints what is served: the server as a whole, then target, then LUNs and sessions, then
// connections.
func printTree(w io.Writer, s *control.Status, now time.Time) error {
	var b strings.Builder
	printServer(&b, s)
	for i := range s.Targets {
		printTarget(&b, &s.Targets[i], now)
	}
	if len(s.Targets) == 0 {
		b.WriteString("no targets; \"bootlun target add NAME DISK\" adds one\n")
	}
	for i := range s.Discovery {
		printSession(&b, &s.Discovery[i], "discovery ", "", now)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printServer prints what is of the whole server.
func printServer(b *strings.Builder, s *control.Status) {
	line := func(format string, args ...any) { fmt.Fprintf(b, "  "+format+"\n", args...) }
	b.WriteString("server\n")
	if len(s.Portals) == 0 {
		line("does not listen: it had no target when it started, and neither iscsiPort nor iscsi.portals are set")
	}
	for _, p := range s.Portals {
		line("portal %s", p)
	}
	set := &s.Settings
	pings := "no pings"
	if set.NOPInterval > 0 {
		pings = "a ping after " + time.Duration(set.NOPInterval).String()
	}
	line("%d sessions of %d connections and %d commands, %s of data  error recovery level %d  %s",
		set.MaxSessions, set.MaxConnections, set.QueueDepth, bytesize.Format(int64(set.MemoryLimit)), set.ErrorRecoveryLevel, pings)
	if d := set.DiscoveryCHAP; d != nil {
		users := []string{}
		for _, u := range d.CHAPUsers {
			users = append(users, u.Name)
		}
		if d.CHAPName != "" {
			users = append([]string{d.CHAPName}, users...)
		}
		line("discovery CHAP %s", strings.Join(users, ","))
	}
	for _, g := range s.PortGroups {
		preferred := ""
		if g.Preferred {
			preferred = "  preferred"
		}
		line("port group %d  %s%s", g.ID, g.State, preferred)
	}
	for _, a := range s.Announcements {
		if a.Error != "" {
			line("%s %s  FAILS: %s", a.By, a.To, a.Error)
		} else {
			line("%s %s  %d targets", a.By, a.To, a.Targets)
		}
	}
}

func printTarget(b *strings.Builder, t *control.TargetStatus, now time.Time) {
	words := []string{t.Name}
	add := func(on bool, format string, args ...any) {
		if on {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(t.Alias != "", "%q", t.Alias)
	add(len(t.CHAPUsers) > 0, "CHAP %s", strings.Join(t.CHAPUsers, ","))
	add(t.CHAPTarget != "", "mutual %s", t.CHAPTarget)
	allowed := slices.Clone(t.AllowedInitiators)
	for _, r := range t.Access {
		allowed = append(allowed, r.String())
	}
	add(len(allowed) > 0, "allows %s", strings.Join(allowed, " "))
	for _, i := range t.InitiatorCHAP {
		add(i.CHAPName != "", "CHAP of %s: %s", i.Initiator, i.CHAPName)
		add(i.CHAPName == "", "no CHAP of %s", i.Initiator)
	}
	add(len(t.PortalGroups) > 0, "portal groups %v", t.PortalGroups)
	add(t.PortGroup > 1, "port group %d", t.PortGroup)
	if t.Redirect != nil {
		add(true, "redirected to %s", t.Redirect.To)
	}
	add(t.Hidden, "hidden")
	add(t.Draining, "DRAINING")
	fmt.Fprintln(b, strings.Join(words, "  "))
	for i := range t.LUNs {
		printLUN(b, &t.LUNs[i])
	}
	for i := range t.Sessions {
		printSession(b, &t.Sessions[i], "  ", "  ", now)
	}
}

func printLUN(b *strings.Builder, l *control.LUNStatus) {
	fmt.Fprintf(b, "  LUN %d  %s  %s", l.Number, bytesize.Format(l.Size), l.Path)
	for _, flag := range []struct {
		on   bool
		text string
	}{
		{l.Disk != "", "disk " + l.Disk},
		{l.BlockSize != 512, fmt.Sprintf("%d-byte blocks", l.BlockSize)},
		{l.ReadOnly, "read-only"},
		{l.Overlay, "overlay"},
		{l.WriteThrough, "write-through"},
		{l.Removable, "removable"},
		{l.Thin, "thin"},
	} {
		if flag.on {
			b.WriteString("  " + flag.text)
		}
	}
	for _, r := range l.Access {
		fmt.Fprintf(b, "  for %s", r)
	}
	printTraffic(b, l.Counts, l.Tasks)
}

func printTraffic(b *strings.Builder, counts map[string]control.Counter, tasks int) {
	fmt.Fprintf(b, "  read %s  written %s", bytesize.Format(int64(counts["read"].Bytes)), bytesize.Format(int64(counts["write"].Bytes)))
	if tasks > 0 {
		fmt.Fprintf(b, "  %d commands under way", tasks)
	}
	b.WriteString("\n")
}

func printSession(b *strings.Builder, s *control.SessionStatus, indent, more string, now time.Time) {
	fmt.Fprintf(b, "%ssession %d  %s  for %s", indent, s.TSIH, s.Initiator, now.Sub(s.Began).Round(time.Second))
	if s.User != "" {
		fmt.Fprintf(b, "  as %s", s.User)
	}
	printTraffic(b, s.Counts, s.Tasks)
	n := &s.Negotiated
	fmt.Fprintf(b, "%s  %serror recovery level %d  bursts %s, first %s  R2Ts %d", more, indent, n.ErrorRecoveryLevel,
		bytesize.Format(int64(n.MaxBurstLength)), bytesize.Format(int64(n.FirstBurstLength)), n.MaxOutstandingR2T)
	if n.ImmediateData {
		b.WriteString("  immediate data")
	}
	if n.InitialR2T {
		b.WriteString("  initial R2T")
	}
	b.WriteString("\n")
	for _, c := range s.Connections {
		fmt.Fprintf(b, "%s  %sconnection %d  %s to %s%s\n", more, indent, c.CID, c.Remote, c.Local, digestText(c))
	}
}

func digestText(c control.ConnectionStatus) string {
	switch {
	case c.HeaderDigest && c.DataDigest:
		return "  digests header,data"
	case c.HeaderDigest:
		return "  digests header"
	case c.DataDigest:
		return "  digests data"
	}
	return ""
}
