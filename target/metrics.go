package target

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteMetrics writes what the server counts to w in Prometheus' text format
// (version 0.0.4): for each LUN and session the bytes, errors, latencies and
// commands under way by kind, and how many sessions there are. The histograms'
// _count series count the commands.
//
// Sums are made here and now. What carries out commands only adds to counters of
// its own.
func (s *Server) WriteMetrics(w io.Writer) error {
	m := &metricsWriter{w: bufio.NewWriter(w)}
	targets, sessions := s.Targets(), s.Sessions()
	s.writeServer(m, targets, sessions)
	var luns []measured
	for i := range targets {
		t := &targets[i]
		for j := range t.LUNs {
			l := &t.LUNs[j]
			labels := `target="` + escapeLabel(t.Name) + `",lun="` + strconv.Itoa(l.Number) + `"`
			luns = append(luns, measured{labels, &l.Counts, l.Tasks, l.Size})
		}
	}
	m.header("bootlun_lun_size_bytes", "gauge", "Size of the LUN.")
	for i := range luns {
		m.sample("bootlun_lun_size_bytes", luns[i].labels, float64(luns[i].size))
	}
	m.commands("bootlun_lun", "LUN", luns)
	var all []measured
	for i := range sessions {
		if sess := &sessions[i]; sess.Target != "" {
			labels := `target="` + escapeLabel(sess.Target) + `",initiator="` + escapeLabel(sess.Initiator) + `",tsih="` + strconv.Itoa(int(sess.TSIH)) + `"`
			all = append(all, measured{labels: labels, counts: &sess.Counts, tasks: sess.Tasks})
		}
	}
	m.commands("bootlun_session", "session", all)
	return m.w.Flush()
}

// measured is a LUN or a session.
type measured struct {
	labels string
	counts *Counts
	tasks  int
	size   int64
}

func (s *Server) writeServer(m *metricsWriter, targets []TargetInfo, sessions []SessionInfo) {
	byTarget := make(map[string]int)
	for i := range sessions {
		byTarget[sessions[i].Target]++
	}
	m.header("bootlun_target_sessions", "gauge", "Sessions of the target; those with no target are for discovery.")
	m.sample("bootlun_target_sessions", `target=""`, float64(byTarget[""]))
	for i := range targets {
		m.sample("bootlun_target_sessions", `target="`+escapeLabel(targets[i].Name)+`"`, float64(byTarget[targets[i].Name]))
	}
	m.header("bootlun_pending_logins", "gauge", "Connections that have not logged in.")
	m.sample("bootlun_pending_logins", "", float64(s.pending.count()))
	m.header("bootlun_logins_total", "counter", "Logins by how they ended.")
	m.sample("bootlun_logins_total", `result="success"`, float64(s.loginsDone.Load()))
	m.sample("bootlun_logins_total", `result="refused"`, float64(s.loginsRefused.Load()))
}

// metricsWriter writes the text format. Errors are bufio.Writer's to keep.
type metricsWriter struct {
	w *bufio.Writer
}

func (m *metricsWriter) header(name, kind, help string) {
	fmt.Fprintf(m.w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (m *metricsWriter) sample(name, labels string, v float64) {
	m.w.WriteString(name)
	if labels != "" {
		m.w.WriteString("{" + labels + "}")
	}
	m.w.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

// commands writes what commands have come to. Kinds that there were none of are
// left out.
func (m *metricsWriter) commands(prefix, what string, all []measured) {
	name := prefix + "_queue_depth"
	m.header(name, "gauge", "Commands under way at the "+what+".")
	for i := range all {
		m.sample(name, all[i].labels, float64(all[i].tasks))
	}
	name = prefix + "_bytes_total"
	m.header(name, "counter", "Data that commands moved, by kind of command.")
	each(all, func(labels string, c *CommandCount) { m.sample(name, labels, float64(c.Bytes)) })
	name = prefix + "_errors_total"
	m.header(name, "counter", "Commands that ended with another status than GOOD, unit attentions included.")
	each(all, func(labels string, c *CommandCount) { m.sample(name, labels, float64(c.Errors)) })
	name = prefix + "_command_duration_seconds"
	m.header(name, "histogram", "Time from a command's arrival to its answer.")
	each(all, func(labels string, c *CommandCount) { m.histogram(name, labels, c) })
}

// each calls f for each kind of commands that there were some of.
func each(all []measured, f func(labels string, c *CommandCount)) {
	for i := range all {
		for kind := range all[i].counts {
			if c := &all[i].counts[kind]; c.Commands > 0 {
				f(all[i].labels+`,op="`+CommandKind(kind).String()+`"`, c)
			}
		}
	}
}

func (m *metricsWriter) histogram(name, labels string, c *CommandCount) {
	sum := uint64(0)
	for i, n := range c.Latency {
		sum += n
		le := "+Inf"
		if bound := LatencyBound(i); bound > 0 {
			le = strconv.FormatFloat(bound.Seconds(), 'g', -1, 64)
		}
		m.sample(name+"_bucket", labels+`,le="`+le+`"`, float64(sum))
	}
	m.sample(name+"_sum", labels, c.Time.Seconds())
	m.sample(name+"_count", labels, float64(sum))
}

// escapeLabel makes a text one that can stand in a label's quotes.
func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}
