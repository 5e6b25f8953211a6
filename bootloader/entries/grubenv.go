package entries

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// EnvChange is a change that a configuration makes to a file of variables, GRUB's grubenv; or, where File is zero, to a variable of
// the firmware's (FindOptions.Variables).
type EnvChange struct {
	File        File
	Name, Value string
	// Unset says that the variable is taken out.
	Unset bool
}

// maxEnvChanges bounds what one menu or entry may change.
const maxEnvChanges = 256

// envBlockHead begins a grubenv; "#" fills it up to its size.
const envBlockHead = "# GRUB Environment Block\n"

// envArguments reads the arguments of load_env and save_env: a file after -f, else grubenv, and names of variables.
func (g *grub) envArguments(args []string) (file string, names []string) {
	file = g.vars["prefix"] + "/grubenv"
	for i := 1; i < len(args); i++ {
		switch value, joined := strings.CutPrefix(args[i], "--file="); {
		case joined:
			file = value
		case (args[i] == "-f" || args[i] == "--file") && i+1 < len(args):
			i++
			file = args[i]
		case strings.HasPrefix(args[i], "-"):
		default:
			names = append(names, args[i])
		}
	}
	return file, names
}

// grubLoadEnv reads the variables named, or all.
func grubLoadEnv(g *grub, args []string) (bool, error) {
	name, only := g.envArguments(args)
	f, err := g.locate(name)
	if err != nil {
		return false, nil
	}
	data, err := readConfig(f.Volume, f.Path)
	if err != nil {
		return false, nil
	}
	for _, v := range parseEnvBlock(data) {
		if len(only) == 0 || slices.Contains(only, v.name) {
			g.set(v.name, v.value)
		}
	}
	return true, nil
}

// grubSaveEnv takes down what is to be written. It fails softly where there is no such file, as GRUB does.
func grubSaveEnv(g *grub, args []string) (bool, error) {
	name, names := g.envArguments(args)
	f, err := g.locate(name)
	if err != nil || !f.Volume.exists(f.Path) {
		return false, nil
	}
	for _, n := range names {
		if len(*g.env) == maxEnvChanges {
			return false, errors.New("it changes too many variables")
		}
		value, set := g.vars[n]
		*g.env = append(*g.env, EnvChange{File: f, Name: n, Value: value, Unset: !set})
	}
	return true, nil
}

type envVariable struct{ name, value string }

// parseEnvBlock reads name=value lines; a backslash takes the next byte as it is. What is no environment block gives nothing.
func parseEnvBlock(data []byte) (vars []envVariable) {
	text, ok := strings.CutPrefix(string(data), envBlockHead)
	if !ok {
		return nil
	}
	var line strings.Builder
	flush := func() {
		if name, value, ok := strings.Cut(line.String(), "="); ok && !strings.HasPrefix(name, "#") {
			vars = append(vars, envVariable{name, value})
		}
		line.Reset()
	}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
			line.WriteByte(text[i])
		case text[i] == '\n':
			flush()
		default:
			line.WriteByte(text[i])
		}
	}
	flush()
	return vars
}

var envEscaper = strings.NewReplacer(`\`, `\\`, "\n", "\\\n")

// UpdateEnvBlock makes changes to an environment block, and keeps its size. Other variables keep their places.
func UpdateEnvBlock(block []byte, changes []EnvChange) ([]byte, error) {
	if !strings.HasPrefix(string(block), envBlockHead) {
		return nil, errors.New("it is no environment block of GRUB's")
	}
	vars := parseEnvBlock(block)
	for _, c := range changes {
		at := slices.IndexFunc(vars, func(v envVariable) bool { return v.name == c.Name })
		switch {
		case c.Unset && at >= 0:
			vars = slices.Delete(vars, at, at+1)
		case c.Unset:
		case at >= 0:
			vars[at].value = c.Value
		default:
			vars = append(vars, envVariable{c.Name, c.Value})
		}
	}
	var b strings.Builder
	b.WriteString(envBlockHead)
	for _, v := range vars {
		fmt.Fprintf(&b, "%s=%s\n", v.name, envEscaper.Replace(v.value))
	}
	if b.Len() > len(block) {
		return nil, fmt.Errorf("its %d bytes are too few for what is to be written", len(block))
	}
	b.WriteString(strings.Repeat("#", len(block)-b.Len()))
	return []byte(b.String()), nil
}
