package bootserver

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decode reads YAML strictly. Its error says in which line and field what is wrong, and
// quotes nothing else of the file, which may have secrets in it.
func decode(path string, text []byte, into any) error {
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(into)
	if err == nil {
		return nil
	}
	var unknown *yaml.UnknownFieldError
	var at yaml.Error
	switch {
	case errors.As(err, &unknown):
		key := unknown.Token.Value
		message := fmt.Sprintf("there is no setting %q", key)
		switch near := nearest(key, keys(reflect.TypeOf(into))); near {
		case "":
		case key:
			message += " here: it belongs elsewhere"
		default:
			message += fmt.Sprintf(": did you mean %q?", near)
		}
		return fmt.Errorf("%s:%d: %s", path, unknown.Token.Position.Line, message)
	case errors.As(err, new(*yaml.SyntaxError)):
	default:
		if file, ferr := parser.ParseBytes(text, 0); ferr == nil && len(file.Docs) > 0 {
			if m := findMisfit(file.Docs[0].Body, reflect.TypeOf(into), ""); m != nil {
				return fmt.Errorf("%s:%d: %s: %w", path, line(m.node), m.field, m.err)
			}
		}
	}
	if errors.As(err, &at) && at.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", path, at.GetToken().Position.Line, at.GetMessage())
	}
	return fmt.Errorf("%s: %w", path, err)
}

// misfit is a value that its setting cannot have.
type misfit struct {
	node  ast.Node
	field string
	err   error
}

// findMisfit looks for the first value that a type's form does not take.
func findMisfit(node ast.Node, t reflect.Type, field string) *misfit {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	within := map[string]ast.Node{}
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			within[v.Key.GetToken().Value] = v.Value
		}
	case *ast.MappingValueNode:
		within[n.Key.GetToken().Value] = n.Value
	case *ast.SequenceNode:
		for i, v := range n.Values {
			if t.Kind() == reflect.Slice {
				if m := findMisfit(v, t.Elem(), fmt.Sprintf("%s[%d]", field, i)); m != nil {
					return m
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(within)) {
		inner := fieldType(t, key)
		if inner == nil {
			continue
		}
		if m := findMisfit(within[key], inner, strings.TrimPrefix(field+"."+key, ".")); m != nil {
			return m
		}
	}
	err := yaml.NodeToValue(node, reflect.New(t).Interface())
	if err != nil && t == reflect.TypeFor[netip.AddrPort]() {
		err = errors.New("want ADDRESS:PORT, such as 192.0.2.1:3260 or [2001:db8::1]:3260")
	}
	if errors.As(err, new(*yaml.TypeError)) || errors.As(err, new(*yaml.UnexpectedNodeTypeError)) || errors.As(err, new(*yaml.OverflowError)) {
		err = fmt.Errorf("it cannot be this: want %s", kindName(t))
	}
	if err == nil {
		return nil
	}
	return &misfit{node, field, err}
}

// fieldType is the type of a key's value in a type's form; nil: it has no such key.
func fieldType(t reflect.Type, key string) reflect.Type {
	if t.Kind() == reflect.Map {
		return t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if options == "inline" {
			if inner := fieldType(f.Type, key); inner != nil {
				return inner
			}
		} else if name == key {
			return f.Type
		}
	}
	return nil
}

// kindName is what a type is called to people.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list: [a, b]"
	case reflect.Map, reflect.Struct:
		return "settings: {name: value}"
	case reflect.String:
		return "a text, in quotes if there is a colon in it"
	case reflect.Uint16:
		return "a number, 0 to 65535"
	default:
		return "a number"
	}
}

// keys are all keys that a configuration of a type can have, at any depth.
func keys(t reflect.Type) (all []string) {
	for name := range eachKey(t) {
		all = append(all, name[strings.LastIndexByte(name, '.')+1:])
	}
	return all
}

// eachKey yields the keys of a type's YAML form with those above them, such as
// targets.luns.number.
func eachKey(t reflect.Type) map[string]struct{} {
	all := make(map[string]struct{})
	addKeys(all, "", t)
	return all
}

func addKeys(all map[string]struct{}, above string, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || !strings.Contains(t.PkgPath(), "bootlun") {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			addKeys(all, above, f.Type)
		case name != "" && name != "-":
			all[above+name] = struct{}{}
			addKeys(all, above+name+".", f.Type)
		}
	}
}

// nearest returns the word that is most like another, empty if none is.
func nearest(word string, known []string) (best string) {
	least := 1 + len(word)/3
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d <= least && d < len(k) {
			least, best = d-1, k
		}
	}
	return best
}

// distance is how many letters must be changed, added or taken away to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// where finds the places of settings in a file: of the setting or, if it is not
// there, of what it would be in.
func where(path string, text []byte) func(field string) string {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil // decode has said so
	}
	return func(field string) string {
		for ; field != ""; field = field[:max(0, strings.LastIndexAny(field, ".["))] {
			p, err := yaml.PathString("$." + field)
			if err != nil {
				continue
			}
			if node, err := p.FilterFile(file); err == nil {
				return fmt.Sprintf("%s:%d", path, line(node))
			}
		}
		return path
	}
}

// line is where a node begins.
func line(node ast.Node) int {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return n.Values[0].Key.GetToken().Position.Line
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position.Line
	}
	return node.GetToken().Position.Line
}

// changedKeys are the top-level keys, and those below iscsi that portals are, in
// which two configurations differ, but for those that a reload changes.
func changedKeys(a, b *Config) (changed []string) {
	x, y := reflect.ValueOf(*a), reflect.ValueOf(*b)
	changed = differing(x, y)
	if !reflect.DeepEqual(a.ISCSI.Portals, b.ISCSI.Portals) {
		changed = append(changed, "iscsi.portals")
	}
	return changed
}

// live are the keys that a reload changes.
var live = []string{"targets", "disks", "iscsi", "portGroups", "isns", "slp"}

func differing(x, y reflect.Value) (changed []string) {
	for i := range x.NumField() {
		name, options, _ := strings.Cut(x.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			changed = append(changed, differing(x.Field(i), y.Field(i))...)
		case name == "" || name == "-" || slices.Contains(live, name):
		case !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()):
			changed = append(changed, name)
		}
	}
	return changed
}
