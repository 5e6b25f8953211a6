package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"maps"
	"slices"
	"strings"
)

// completeName is the command by which a shell asks what may follow: ibft complete WORD..., the last word as far as
// it is typed. People have no use for it, so no help names it.
const completeName = "complete"

// askFiles is the line that asks the shell to complete the names of files as well.
const askFiles = "@files"

// candidate is what a word may become, and what that means.
type candidate struct{ word, about string }

func completionCommand() *command {
	c := newCommand("completion", "print what makes a shell complete ibft's words", "bash|zsh|fish")
	c.text = "It knows commands, flags, their values, and the fields of a table."
	c.examples = []example{
		{". <(ibft completion bash)", "for this shell"},
		{"ibft completion bash > /usr/share/bash-completion/completions/ibft", ""},
		{"ibft completion zsh > /usr/share/zsh/vendor-completions/_ibft", ""},
		{"ibft completion fish > /usr/share/fish/vendor_completions.d/ibft.fish", ""},
	}
	c.max = 1
	scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	c.complete = func(string) []candidate {
		var all []candidate
		for _, name := range slices.Sorted(maps.Keys(scripts)) {
			all = append(all, candidate{name, ""})
		}
		return all
	}
	c.run = func(_ context.Context, rest []string, std stdio) error {
		if len(rest) == 1 && scripts[rest[0]] != "" {
			_, err := io.WriteString(std.out, scripts[rest[0]])
			return err
		}
		return usageError{errors.New("completion: wants bash, zsh or fish, see ibft completion --help")}
	}
	return c
}

// complete prints the candidates for the last of words, one a line, with a tab before what it means.
func complete(words []string, w io.Writer) error {
	var b strings.Builder
	candidates, files := candidates(words)
	for _, c := range candidates {
		b.WriteString(strings.TrimRight(c.word+"\t"+c.about, "\t") + "\n")
	}
	if files {
		b.WriteString(askFiles + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// candidates returns what the last of words may be, and whether it may be the name of a file.
func candidates(words []string) (found []candidate, files bool) {
	word := ""
	if n := len(words); n > 0 {
		word, words = words[n-1], words[:n-1]
	}
	if len(words) == 0 || words[0] == "help" {
		return startingWith(word, append(commandNames(), candidate{"help", "say more about a command"})), false
	}
	c := findCommandNamed(words[0])
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
			found[i].word = name + "=" + found[i].word
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
	if c.complete != nil {
		found = startingWith(word, c.complete(word))
	}
	return found, len(found) == 0 && c.max > 0
}

func commandNames() []candidate {
	var all []candidate
	for _, c := range commands() {
		all = append(all, candidate{c.Name(), c.about})
	}
	return all
}

func (c *command) flagNames() []candidate {
	all := []candidate{{"--help", "say how to use it"}}
	c.VisitAll(func(f *flag.Flag) {
		name, usage := flagUsage(f)
		name, _, _ = strings.Cut(name, " ")
		all = append(all, candidate{name, usage})
	})
	return all
}

// flagValues returns what the value of a flag may be.
func (c *command) flagValues(name, value string) (found []candidate, files bool) {
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
	var all []candidate
	for _, n := range ch.names {
		all = append(all, candidate{before + n, ""})
	}
	return startingWith(value, all), false
}

func startingWith(word string, all []candidate) []candidate {
	return slices.DeleteFunc(all, func(c candidate) bool { return !strings.HasPrefix(c.word, word) })
}

// The scripts ask ibft itself, so they know what the ibft knows that is installed.
const (
	bashCompletion = `# bash completion of ibft; made by "ibft completion bash".
_ibft() {
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
complete -F _ibft ibft
`
	zshCompletion = `#compdef ibft
# zsh completion of ibft; made by "ibft completion zsh".
_ibft() {
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
		_describe ibft found
	fi
	[[ -n $files ]] && _files
	return 0
}
if [[ $funcstack[1] == _ibft ]]; then
	_ibft "$@"
else
	compdef _ibft ibft
fi
`
	fishCompletion = `# fish completion of ibft; made by "ibft completion fish".
function __ibft_complete
	set -l words (commandline -opc) (commandline -ct)
	for line in ($words[1] ` + completeName + ` $words[2..-1] 2>/dev/null)
		if test "$line" = ` + askFiles + `
			__fish_complete_path (commandline -ct)
		else
			printf '%s\n' $line
		end
	end
end
complete -c ibft -f -a '(__ibft_complete)'
`
)
