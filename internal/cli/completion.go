package cli

import (
	"context"
	"flag"
	"io"
	"slices"
	"strings"
)

// completeName is the command by which a shell asks what may follow: PROGRAM complete WORD..., the last word as far as
// it is typed. People have no use for it, so no help names it.
const completeName = "complete"

// askFiles is the line that asks the shell to complete the names of files as well.
const askFiles = "@files"

// Candidate is what a word may become, and what that means.
type Candidate struct{ Word, About string }

func (p *Program) completionCommand() *Command {
	c := NewCommand("completion", "print what makes a shell complete "+p.Name+"'s words", "bash|zsh|fish")
	c.Text = "It knows commands, flags and their values."
	c.Max = 1
	shells := [...]struct{ name, script, file string }{
		{"bash", bashCompletion, "/usr/share/bash-completion/completions/PROGRAM"},
		{"zsh", zshCompletion, "/usr/share/zsh/vendor-completions/_PROGRAM"},
		{"fish", fishCompletion, "/usr/share/fish/vendor_completions.d/PROGRAM.fish"},
	}
	c.Examples = []Example{{". <(" + p.Name + " completion bash)", "for this shell"}}
	var all []Candidate
	for _, s := range shells {
		all = append(all, Candidate{Word: s.name})
		c.Examples = append(c.Examples, Example{p.named("PROGRAM completion " + s.name + " > " + s.file)})
	}
	c.Complete = func(string) []Candidate { return all }
	c.Run = func(_ context.Context, rest []string, std IO) error {
		for _, s := range shells {
			if len(rest) == 1 && rest[0] == s.name {
				_, err := io.WriteString(std.Out, p.named(s.script))
				return err
			}
		}
		return c.Misused("wants bash, zsh or fish")
	}
	return c
}

// named returns text with the program's name.
func (p *Program) named(text string) string { return strings.ReplaceAll(text, "PROGRAM", p.Name) }

// complete prints the candidates for the last of words, one a line, with a tab before what it means.
func (p *Program) complete(words []string, w io.Writer) error {
	var b strings.Builder
	candidates, files := p.candidates(words)
	for _, c := range candidates {
		b.WriteString(strings.TrimRight(c.Word+"\t"+c.About, "\t") + "\n")
	}
	if files {
		b.WriteString(askFiles + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// candidates returns what the last of words may be, and whether it may be the name of a file.
func (p *Program) candidates(words []string) (found []Candidate, files bool) {
	word := ""
	if n := len(words); n > 0 {
		word, words = words[n-1], words[:n-1]
	}
	if len(words) == 0 || words[0] == "help" {
		return startingWith(word, append(p.commandNames(), Candidate{"help", "say more about a command"})), false
	}
	c := p.command(words[0])
	if c == nil {
		return nil, false
	}
	// bash takes --to=json for three words, with the equals sign among them; and so it does FIELD@=FILE.
	if word == "=" {
		word = ""
		if n := len(words); !strings.HasPrefix(words[n-1], "-") {
			return nil, strings.HasSuffix(words[n-1], "@")
		}
	}
	words = slices.DeleteFunc(slices.Clone(words[1:]), func(w string) bool { return w == "=" })
	if name, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(name, "-") {
		found, files = c.flagValues(name, value)
		for i := range found {
			found[i].Word = name + "=" + found[i].Word
		}
		return found, files
	}
	if n := len(words); n > 0 && strings.HasPrefix(words[n-1], "-") {
		if _, ok := c.takesValue(strings.TrimLeft(words[n-1], "-")); ok {
			return c.flagValues(words[n-1], word)
		}
	}
	if strings.HasPrefix(word, "-") {
		return startingWith(word, c.flagNames()), false
	}
	if c.Complete != nil {
		found = startingWith(word, c.Complete(word))
	}
	return found, len(found) == 0 && c.Max > 0
}

func (p *Program) commandNames() []Candidate {
	var all []Candidate
	for _, c := range p.all() {
		all = append(all, Candidate{c.Name(), c.About})
	}
	return all
}

func (c *Command) flagNames() []Candidate {
	all := []Candidate{{"--help", "say how to use it"}}
	c.VisitAll(func(f *flag.Flag) {
		name, usage := flagUsage(f)
		name, _, _ = strings.Cut(name, " ")
		all = append(all, Candidate{name, usage})
	})
	return all
}

// flagValues returns what the value of a flag may be.
func (c *Command) flagValues(name, value string) (found []Candidate, files bool) {
	f, ok := c.takesValue(strings.TrimLeft(name, "-"))
	if !ok {
		return nil, false
	}
	ch, ok := f.Value.(choice)
	if !ok {
		placeholder, _ := flag.UnquoteUsage(f)
		return nil, placeholder == "FILE" || placeholder == "DIR"
	}
	before := ""
	if i := strings.LastIndexByte(value, ','); ch.list && i >= 0 {
		before = value[:i+1]
	}
	var all []Candidate
	for _, n := range ch.names {
		all = append(all, Candidate{before + n, ""})
	}
	return startingWith(value, all), false
}

func startingWith(word string, all []Candidate) []Candidate {
	return slices.DeleteFunc(all, func(c Candidate) bool { return !strings.HasPrefix(c.Word, word) })
}

// The scripts ask the program itself, so they know what that one knows which is installed.
const (
	bashCompletion = `# bash completion of PROGRAM; made by "PROGRAM completion bash".
_PROGRAM() {
	local IFS=$'\n' line word="${COMP_WORDS[COMP_CWORD]}"
	COMPREPLY=()
	if [[ $word == = ]]; then
		word=
	fi
	while read -r line; do
		if [[ $line == ` + askFiles + ` ]]; then
			compopt -o filenames
			COMPREPLY+=($(compgen -f -- "$word"))
			continue
		fi
		COMPREPLY+=("${line%%$'\t'*}")
	done < <("${COMP_WORDS[0]}" ` + completeName + ` "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
		compopt -o nospace
	fi
}
complete -F _PROGRAM PROGRAM
`
	zshCompletion = `#compdef PROGRAM
# zsh completion of PROGRAM; made by "PROGRAM completion zsh".
_PROGRAM() {
	local line files
	local -a found
	for line in ${(f)"$(${words[1]} ` + completeName + ` ${(Q)words[2,CURRENT]} 2>/dev/null)"}; do
		if [[ $line == ` + askFiles + ` ]]; then
			files=1
		elif [[ $line == *$'\t'* ]]; then
			found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
		else
			found+=("${line//:/\\:}")
		fi
	done
	if [[ ${#found} -eq 1 && $found[1] == *= ]]; then
		compadd -S '' -- $found
	elif [[ ${#found} -gt 0 ]]; then
		_describe PROGRAM found
	fi
	[[ -n $files ]] && _files
	return 0
}
if [[ $funcstack[1] == _PROGRAM ]]; then
	_PROGRAM "$@"
else
	compdef _PROGRAM PROGRAM
fi
`
	fishCompletion = `# fish completion of PROGRAM; made by "PROGRAM completion fish".
function __PROGRAM_complete
	set -l words (commandline -opc) (commandline -ct)
	for line in ($words[1] ` + completeName + ` $words[2..-1] 2>/dev/null)
		if test "$line" = ` + askFiles + `
			__fish_complete_path (commandline -ct)
		else
			printf '%s\n' $line
		end
	end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
`
)
