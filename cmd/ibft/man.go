package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

func manCommand() *command {
	c := newCommand("man", "print the manual page", "")
	c.examples = []example{
		{"ibft man | man -l -", "read it"},
		{"ibft man > /usr/share/man/man1/ibft.1", "install it"},
	}
	c.run = func(_ context.Context, _ []string, std stdio) error {
		_, err := io.WriteString(std.out, manPage())
		return err
	}
	return c
}

// manPage returns the manual page in the man macros of roff (man(7)).
func manPage() string {
	var m manual
	m.line(`.TH IBFT 1 "%s" "bootlun" "User Commands"`, buildDate())
	m.head(".SH NAME")
	m.line(`ibft \- show, judge, make and translate iSCSI Boot Firmware Tables`)
	m.head(".SH SYNOPSIS")
	for i, c := range commands() {
		for j, s := range c.synopsis {
			if i+j > 0 {
				m.line(".br")
			}
			m.line(".B ibft %s", roff(c.Name()))
			m.line("%s", roff(s))
		}
	}
	m.head(".SH DESCRIPTION")
	m.text(about)
	m.head(".SH COMMANDS")
	for _, c := range commands() {
		m.command(c)
	}
	m.head(".SH EXIT STATUS")
	m.text(programExits + ".")
	m.head(".SH ENVIRONMENT")
	m.line(".TP\n.B NO_COLOR\nWhen it is set and not empty, nothing is coloured. Otherwise colours are for terminals only.")
	m.head(".SH EXAMPLES")
	m.examples(programExamples())
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

func (m *manual) command(c *command) {
	m.head(".SS " + roff(c.Name()))
	m.text(strings.ToUpper(c.about[:1]) + c.about[1:] + ".")
	m.text(c.text)
	if c.exits != "" {
		m.text("Exit codes: " + c.exits + ".")
	}
	c.VisitAll(func(f *flag.Flag) {
		name, usage := flagUsage(f)
		name, placeholder, _ := strings.Cut(name, " ")
		m.line(".TP\n%s", strings.TrimRight(`\fB`+roff(name)+`\fR \fI`+roff(placeholder)+`\fR`, " "))
		m.line("%s", roff(usage))
	})
	if len(c.examples) > 0 {
		m.paragraph()
		m.line("Examples:")
		m.examples(c.examples)
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

func (m *manual) examples(examples []example) {
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
