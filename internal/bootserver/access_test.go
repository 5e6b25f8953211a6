package bootserver_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
)

const example = "iqn.2026-11.com.example:"

// libiscsi runs one of libiscsi's programs as an initiator with a name, "user%secret"
// or none, and the environment's settings, and returns what it says.
func libiscsi(t *testing.T, env []string, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peers.Program(t, program, "libiscsi-bin"), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var targetLine = regexp.MustCompile(`^Target:iqn\.2026-11\.com\.example:(\S+) Portal:(\S+)$`)

// shown is what iscsi-ls shows an initiator: "target group,group: luns", where the
// LUNs are those of REPORT LUNS, if it is to log in to the targets.
func shown(t *testing.T, initiator, url string, luns bool, env ...string) string {
	t.Helper()
	args := []string{"-i", example + initiator, url}
	if luns {
		args = slices.Insert(args, 0, "-s")
	}
	out, err := libiscsi(t, env, "iscsi-ls", args...)
	if err != nil {
		return "error: " + out
	}
	groups, lines := make(map[string][]string), make(map[string][]string)
	var last string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if m := targetLine.FindStringSubmatch(line); m != nil {
			last = m[1]
			groups[last] = append(groups[last], m[2][strings.LastIndexByte(m[2], ',')+1:])
		} else if number, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(number, "Lun:") {
			lines[last] = append(lines[last], strings.TrimPrefix(number, "Lun:"))
		}
	}
	var all []string
	for name, tags := range groups {
		slices.Sort(tags)
		text := name + " " + strings.Join(slices.Compact(tags), ",")
		if luns {
			numbers := lines[name]
			slices.Sort(numbers)
			text += ": " + strings.Join(slices.Compact(numbers), " ")
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

const accessFile = `
iscsi:
  portals:
    - {tag: 1, listen: ["127.0.0.1:PORT"]}
    - {tag: 2, listen: ["[::1]:PORT2"]}
targets:
  - name: iqn.2026-11.com.example:wild
    access: [{initiator: "iqn.2026-11.com.example:n*"}]
    luns:
      - {number: 0, path: DIR/a}
      - {number: 1, path: DIR/b, readOnly: true, access: [{initiator: iqn.2026-11.com.example:node}, {network: "::1"}]}
  - name: iqn.2026-11.com.example:net
    access: [{network: "::/64", initiator: "iqn.2026-11.com.example:*"}]
    portalGroups: [1, 2]
    luns: [{number: 0, path: DIR/b, readOnly: true}]
  - name: iqn.2026-11.com.example:second
    portalGroups: [2]
    luns: [{number: 3, path: DIR/b, readOnly: true}]
`

// TestAccessOfLibiscsi has another initiator look for targets and LUNs, which exist
// for those alone who may use them.
func TestAccessOfLibiscsi(t *testing.T) {
	r := loopback(t, accessFile)
	four := "iscsi://127.0.0.1:" + r.port
	six := "iscsi://" + portalOf(t, r, "[::1]")
	for _, tt := range []struct {
		initiator, url string
		want           string
	}{
		{"node", four, "second 2: 3; wild 1,2: 0 1"}, // libiscsi logs in by the portals it is told of
		{"nobody", four, "second 2: 3; wild 1,2: 0"},
		{"other", four, "second 2: 3"},
		{"other", six, "net 1,2: 0; second 2: 3"},
		{"node", six, "net 1,2: 0; second 2: 3; wild 1,2: 0 1"},
	} {
		if got := shown(t, tt.initiator, tt.url, false); got != regexp.MustCompile(`:[ \d]*`).ReplaceAllString(tt.want, "") {
			t.Errorf("%s at %s is told of %s", tt.initiator, tt.url, got)
		}
	}
	for _, tt := range []struct {
		initiator, url, target string
		want                   string // in what iscsi-inq says
	}{
		{"node", four, "wild/0", "VIRTUAL-DISK"},
		{"node", four, "wild/1", "VIRTUAL-DISK"},
		{"nobody", four, "wild/1", "LOGICAL_UNIT_NOT_SUPPORTED"},
		{"nobody", six, "wild/1", "VIRTUAL-DISK"}, // by its network
		{"other", four, "wild/0", "Target not found"},
		{"other", four, "net/0", "Target not found"},
		{"other", six, "net/0", "VIRTUAL-DISK"},
		{"node", four, "second/3", "Target not found"}, // by no portal of its group
		{"node", six, "second/3", "VIRTUAL-DISK"},
		{"node", six, "second/0", "LOGICAL_UNIT_NOT_SUPPORTED"},
	} {
		out, _ := libiscsi(t, nil, "iscsi-inq", "-i", example+tt.initiator, tt.url+"/"+example+tt.target)
		if !strings.Contains(out, tt.want) {
			t.Errorf("%s at %s of %s: want %s:\n%s", tt.initiator, tt.target, tt.url, tt.want, out)
		}
	}
	// What may be used changes while it is served.
	r.edit(`initiator: "iqn.2026-11.com.example:n*"`, `initiator: "iqn.2026-11.com.example:o*"`)
	if got, want := shown(t, "other", four, false), "second 2; wild 1,2"; got != want {
		t.Errorf("after a change other is told of %s, want %s", got, want)
	}
}

// portalOf is the portal at an address.
func portalOf(t *testing.T, r *running, host string) string {
	t.Helper()
	s, err := r.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Portals {
		if address, _, _ := strings.Cut(p, ","); strings.HasPrefix(address, host) {
			return address
		}
	}
	t.Fatalf("no portal at %s: %q", host, s.Portals)
	return ""
}

// TestReportLUNsOfLibiscsi compares what REPORT LUNS shows to different initiators.
func TestReportLUNsOfLibiscsi(t *testing.T) {
	r := loopback(t, `
iscsiPort: PORT
iscsi:
  discoveryChap: # libiscsi proves itself to discovery too, or to nothing
    chapUsers: [{name: node, secretFile: DIR/node.secret}, {name: backup, secretFile: DIR/backup.secret}]
targets:
  - name: iqn.2026-11.com.example:disks
    chapName: node
    chapSecretFile: DIR/node.secret
    chapUsers: [{name: backup, secretFile: DIR/backup.secret}]
    initiatorChap: [{initiator: "iqn.2026-11.com.example:old*"}]
    luns:
      - {number: 0, path: DIR/a}
      - {number: 1, path: DIR/b, access: [{user: backup}]}
      - {number: 2, path: DIR/c, access: [{initiator: iqn.2026-11.com.example:node, network: 127.0.0.0/8}]}
`)
	portal := "127.0.0.1:" + r.port
	for _, tt := range []struct{ initiator, user, want string }{
		{"node", "node%secret-of-node@", "disks 1: 0 2"},
		{"other", "node%secret-of-node@", "disks 1: 0"},
		{"other", "backup%secret-of-backup@", "disks 1: 0 1"},
		{"node", "backup%secret-of-backup@", "disks 1: 0 1 2"},
	} {
		if got := shown(t, tt.initiator, "iscsi://"+tt.user+portal, true); got != tt.want {
			t.Errorf("%s as %q sees %s, want %s", tt.initiator, tt.user, got, tt.want)
		}
	}
	for initiator, want := range map[string]string{"old1": "VIRTUAL-DISK", "other": "Authentication failure"} {
		out, _ := libiscsi(t, nil, "iscsi-inq", "-i", example+initiator, "iscsi://"+portal+"/"+example+"disks/0")
		if !strings.Contains(out, want) {
			t.Errorf("%s without CHAP: want %s:\n%s", initiator, want, out)
		}
	}
}

// TestMutualCHAPOfLibiscsi has a target, and discovery, prove who they are.
func TestMutualCHAPOfLibiscsi(t *testing.T) {
	r := loopback(t, `
iscsi:
  portals: [{tag: 1, listen: ["127.0.0.1:PORT"]}]
  discoveryChap:
    chapName: discovery
    chapSecretFile: DIR/discovery.secret
    reverseChapName: target
    reverseChapSecretFile: DIR/target.secret
targets:
  - name: iqn.2026-11.com.example:disk
    chapName: node
    chapSecretFile: DIR/node.secret
    reverseChapName: target
    reverseChapSecretFile: DIR/target.secret
    luns: [{number: 0, path: DIR/a}]
`)
	portal := "127.0.0.1:" + r.port
	right := []string{"LIBISCSI_CHAP_TARGET_USERNAME=target", "LIBISCSI_CHAP_TARGET_PASSWORD=secret-of-target"}
	wrong := []string{"LIBISCSI_CHAP_TARGET_USERNAME=target", "LIBISCSI_CHAP_TARGET_PASSWORD=secret-of-others"}
	for _, tt := range []struct {
		user string
		env  []string
		want bool
	}{
		{"node%secret-of-node@", nil, true},
		{"node%secret-of-node@", right, true},
		{"node%secret-of-node@", wrong, false},
		{"node%secret-of-others@", right, false},
		{"discovery%secret-of-discovery@", right, false},
		{"", nil, false},
	} {
		out, err := libiscsi(t, tt.env, "iscsi-inq", "-i", example+"node", "iscsi://"+tt.user+portal+"/"+example+"disk/0")
		if ok := err == nil && strings.Contains(out, "VIRTUAL-DISK"); ok != tt.want {
			t.Errorf("login as %q with %q: %v\n%s", tt.user, tt.env, err, out)
		}
	}
	for _, tt := range []struct {
		user string
		env  []string
		want bool
	}{
		{"discovery%secret-of-discovery@", right, true},
		{"discovery%secret-of-discovery@", wrong, false},
		{"discovery%secret-of-node@", right, false},
		{"node%secret-of-node@", right, false},
		{"", nil, false},
	} {
		if got := shown(t, "node", "iscsi://"+tt.user+portal, false, tt.env...); (got == "disk 1") != tt.want {
			t.Errorf("discovery as %q with %q: %s", tt.user, tt.env, got)
		}
	}
	r.edit("    chapName: discovery\n", "    chapName: another\n")
	if got := shown(t, "node", "iscsi://another%secret-of-discovery@"+portal, false); got != "disk 1" {
		t.Errorf("discovery after a reload: %s", got)
	}
}

// TestRedirectOfLibiscsi is sent to another server, and to another portal of the same.
func TestRedirectOfLibiscsi(t *testing.T) {
	there := loopback(t, "iscsiPort: PORT\ntargets:\n  - {name: iqn.2026-11.com.example:moved, luns: [{number: 0, path: DIR/a, product: THERE}]}\n")
	port := freePort(t)
	r := loopback(t, `
iscsi: {portals: [{tag: 1, listen: ["127.0.0.1:PORT", "127.0.0.1:`+port+`"]}]}
targets:
  - name: iqn.2026-11.com.example:moved
    redirect: {to: "127.0.0.1:`+there.port+`"}
  - name: iqn.2026-11.com.example:gone
    redirect: {to: "127.0.0.1:`+there.port+`", permanent: true}
  - name: iqn.2026-11.com.example:within
    redirect: {to: "127.0.0.1:`+port+`"}
    luns: [{number: 0, path: DIR/a, product: WITHIN}]
`)
	for _, tt := range []struct{ name, want string }{
		{"moved", "THERE"},
		{"within", "WITHIN"},
		{"gone", "Target moved permanently"}, // where libiscsi does not follow
	} {
		out, err := libiscsi(t, nil, "iscsi-inq", "-i", example+"node", "iscsi://127.0.0.1:"+r.port+"/"+example+tt.name+"/0")
		if !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v\n%s", tt.name, err, out)
		}
	}
}
