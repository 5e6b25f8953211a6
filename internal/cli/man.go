package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

func (p *Program) manCommand() *Command {
	c := NewCommand("man", "print the manual page", "")
	c.Examples = []Example{
		{p.Name + " man | man -l -", "read it"},
		{p.Name + " man > /usr/share/man/man1/" + p.Name + ".1", "install it"},
	}
	c.Run = func(_ context.Context, _ []string, std IO) error {
		_, err := io.WriteString(std.Out, p.manPage())
		return err
	}
	return c
}

// manPage returns the manual page in the man macros of roff (man(7)).
func (p *Program) manPage() string {
	var m manual
	m.line(`.TH %s 1 "%s" "bootlun" "User Commands"`, strings.ToUpper(p.Name), buildDate())
	m.head(".SH NAME")
	m.line(`%s \- %s`, p.Name, roff(p.Summary))
	m.head(".SH SYNOPSIS")
	for i, c := range p.all() {
		for j, s := range c.Synopsis {
			if i+j > 0 {
				m.line(".br")
			}
			m.line(".B %s %s", p.Name, roff(c.Name()))
			m.line("%s", roff(s))
		}
	}
	m.head(".SH DESCRIPTION")
	m.text(p.About)
	m.text(p.Text)
	m.head(".SH COMMANDS")
	for _, c := range p.all() {
		m.command(c)
	}
	m.head(".SH EXIT STATUS")
	m.text(p.Exits + ".")
	if len(p.Environment) > 0 {
		m.head(".SH ENVIRONMENT")
	}
	for _, v := range p.Environment {
		m.line(".TP\n.B %s\n%s", v[0], roff(v[1]))
	}
	m.head(".SH EXAMPLES")
	m.examples(p.Examples)
	return m.String()
}

// buildDate returns the day of the commit that the program was built from, nothing where it does not know it.
func buildDate() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			day, _, _ := strings.Cut(s.Value, "T")
			return day
		}
	}
	return ""
}

// manual is a page as far as it is written.
type manual struct {
	strings.Builder
	begun bool // something stands under the heading
}

func (m *manual) line(format string, a ...any) {
	m.begun = true
	fmt.Fprintf(m, format+"\n", a...)
}

func (m *manual) head(macro string) {
	m.line("%s", macro)
	m.begun = false
}

// paragraph begins one, which the first under a heading does by itself.
func (m *manual) paragraph() {
	if m.begun {
		m.line(".PP")
	}
}

func (m *manual) command(c *Command) {
	m.head(".SS " + roff(c.Name()))
	m.text(strings.ToUpper(c.About[:1]) + c.About[1:] + ".")
	m.text(c.Text)
	if c.Exits != "" {
		m.text("Exit codes: " + c.Exits + ".")
	}
	c.VisitAll(func(f *flag.Flag) {
		name, usage := flagUsage(f)
		name, placeholder, _ := strings.Cut(name, " ")
		m.line(".TP\n%s", strings.TrimRight(`\fB`+roff(name)+`\fR \fI`+roff(placeholder)+`\fR`, " "))
		m.line("%s", roff(usage))
	})
	if len(c.Examples) > 0 {
		m.paragraph()
		m.line("Examples:")
		m.examples(c.Examples)
	}
}

// text writes paragraphs. One whose lines are indented stays as it is.
func (m *manual) text(s string) {
	for p := range strings.SplitSeq(s, "\n\n") {
		switch {
		case p == "":
		case strings.HasPrefix(p, "  "):
			m.asIs(p)
		default:
			m.paragraph()
			m.line("%s", roff(strings.TrimSpace(p)))
		}
	}
}

func (m *manual) examples(examples []Example) {
	var lines []string
	for _, e := range examples {
		lines = append(lines, strings.TrimRight(e.String(), " \n"))
	}
	m.asIs(strings.Join(lines, "\n"))
}

func (m *manual) asIs(s string) {
	m.paragraph()
	m.line(".nf\n%s\n.fi", roff(s))
}

// roff escapes what is no plain text to roff: the escape character, hyphens that are to stay hyphens, and a dot or
// quote at a line's beginning.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
