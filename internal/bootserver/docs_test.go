package bootserver

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/netboot"
)

var (
	heading  = regexp.MustCompile("^#+ ")
	row      = regexp.MustCompile("^\\| `([^`]+)`")
	quoted   = regexp.MustCompile("`([^`]+)`")
	yamlCode = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
)

// TestDocsHaveEverySetting compares the tables of docs/target.md with what a
// configuration can say: no setting is missing, and none is there that does not exist.
func TestDocsHaveEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../docs/target.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text2, ok := strings.Cut(string(text), "\n## Every setting\n")
	if !ok {
		t.Fatal("docs/target.md has no section \"Every setting\"")
	}
	said := make(map[string]struct{})
	prefixes := []string{""}
	for line := range strings.Lines(text2) {
		if strings.HasPrefix(line, "## ") {
			break
		}
		if heading.MatchString(line) {
			prefixes = nil
			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				prefixes = append(prefixes, m[1]+".")
			}
			if prefixes == nil {
				prefixes = []string{""}
			}
		}
		if m := row.FindStringSubmatch(line); m != nil {
			for _, p := range prefixes {
				said[p+m[1]] = struct{}{}
			}
		}
	}
	has := eachKey(reflect.TypeFor[Config]())
	for key := range eachKey(reflect.TypeFor[netboot.Config]()) { // docs/fleet.md's
		delete(has, key)
	}
	for key := range has {
		if _, ok := said[key]; !ok {
			t.Errorf("%s is not in docs/target.md", key)
		}
	}
	for key := range said {
		if _, ok := has[key]; !ok {
			t.Errorf("docs/target.md has %s, which there is not", key)
		}
	}
}

// TestDocsCanBeRead reads the examples of the documents as the server does.
func TestDocsCanBeRead(t *testing.T) {
	for _, name := range []string{"target.md", "fleet.md"} {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlCode.FindAllSubmatchIndex(text, -1) {
			line := 1 + strings.Count(string(text[:m[2]]), "\n")
			code := slices.Concat([]byte(strings.Repeat("\n", line-1)), dedent(text[m[2]:m[3]]))
			var c Config
			if err := decode(fmt.Sprintf("docs/%s", name), code, &c); err != nil {
				t.Error(err)
			}
		}
	}
}

// dedent takes away the indentation that the first line has.
func dedent(code []byte) []byte {
	indent := len(code) - len(strings.TrimLeft(string(code), " "))
	var out []byte
	for line := range strings.Lines(string(code)) {
		out = append(out, line[min(indent, len(line)-1):]...)
	}
	return out
}
