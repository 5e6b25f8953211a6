package netboot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

// browser is an HTTP client on a host.
func browser(t testing.TB, h memHost) *http.Client {
	transport := &http.Transport{DialContext: h.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// get returns what a GET or HEAD answers.
func get(t testing.TB, c *http.Client, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// lease gives a machine an address for an hour.
func lease(t testing.TB, s *Server, mac ibft.MAC, ip string) {
	t.Helper()
	if err := s.pool.confirm(mac.String(), "", addr(ip), time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
}

const (
	base      = "http://10.0.0.1"
	machine   = base + "/machines/52-54-00-12-34-56"
	clientIP  = "10.0.0.150"
	anotherIP = "10.0.0.151"
)

func TestHTTPFiles(t *testing.T) {
	var events recorder
	c := withMachine(testConfig(t), nil)
	c.Events = events.record
	s := newServer(t, c)
	n := newMemNet()
	run(t, s, n.host("10.0.0.1"))
	lease(t, s, testMAC, clientIP)
	web := browser(t, n.host(clientIP))
	for url, want := range map[string]string{
		base + "/kernel":                               kernelText,
		base + "/initramfs":                            initramfsText,
		machine + "/kernel":                            kernelText,
		machine + "/initramfs":                         initramfsText,
		base + "/loader/undionly.kpxe":                 "for BIOS\n",
		base + "/healthz":                              "ok\n",
		base + "/boot.ipxe":                            "# web1 boots",
		base + "/boot.ipxe?mac=52-54-00-12-34-56":      "# web1 boots",
		base + "/boot.ipxe?mac=52:54:00:99:99:99":      "# 52:54:00:99:99:99 boots",
		machine + "/boot.ipxe":                         "# web1 boots",
		base + "/machines/52:54:00:12:34:56/boot.ipxe": "# web1 boots",
		// The list of all there is.
		base + "/": "/loader/ipxe.efi\n",
	} {
		resp, body := get(t, web, url)
		if resp.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %s, %q, want %q", url, resp.Status, body, want)
		}
		if resp.ContentLength != int64(len(body)) {
			t.Errorf("%s: Content-Length %d of %d bytes", url, resp.ContentLength, len(body))
		}
	}
	for url, want := range map[string]string{
		base + "/nothing":                     "/loader/undionly.kpxe\n",
		base + "/loader/nothing":              "/initramfs\n",
		base + "/loader/":                     "no such file",
		base + "/machines/nobody/boot.ipxe":   "not a MAC address",
		machine + "/nothing":                  "/machines/MAC/ibft.cpio",
		base + "/..%2f..%2fetc/passwd":        "no such file",
		base + "/loader/..%2fkernel":          "no such file",
		base + "/loader/%2e%2e/kernel":        "no such file",
		machine + "/..%2f..%2f..%2fetc/hosts": "no such file",
	} {
		if resp, body := get(t, web, url); resp.StatusCode != 404 || !strings.Contains(body, want) {
			t.Errorf("%s: %s, %q, want %q", url, resp.Status, body, want)
		}
	}
	if resp, _ := get(t, web, base+"/boot.ipxe?mac=you"); resp.StatusCode != 400 {
		t.Errorf("bad MAC address: %s", resp.Status)
	}
	i := slices.IndexFunc(events.all(), func(e Event) bool { return e.Kind == HTTPDone && e.Detail == "/kernel: 200" })
	if i < 0 {
		t.Fatalf("no event of the kernel: %+v", events.all())
	}
	if e := events.all()[i]; e.Machine != "web1" || e.Client != addr(clientIP) || e.Bytes != int64(len(kernelText)) || e.Time.IsZero() {
		t.Errorf("event %+v", e)
	}
}

func TestHTTPConditions(t *testing.T) {
	c := testConfig(t)
	n := newMemNet()
	run(t, newServer(t, c), n.host("10.0.0.1"))
	web := browser(t, n.host(clientIP))
	resp, body := get(t, web, base+"/kernel", "Range", "bytes=5-6")
	if resp.StatusCode != 206 || body != kernelText[5:7] {
		t.Errorf("range: %s %q", resp.Status, body)
	}
	etag := resp.Header.Get("ETag")
	if resp, body := get(t, web, base+"/kernel", "If-None-Match", etag); resp.StatusCode != 304 || body != "" {
		t.Errorf("unchanged: %s %q", resp.Status, body)
	}
	writeFile(t, c.Boot.Kernel, "a newer kernel")
	if resp, body := get(t, web, base+"/kernel", "If-None-Match", etag); resp.StatusCode != 200 || body != "a newer kernel" {
		t.Errorf("changed: %s %q", resp.Status, body)
	}
	if resp, _ := get(t, web, base+"/kernel", "Range", "bytes=1000-"); resp.StatusCode != 416 {
		t.Errorf("range past the end: %s", resp.Status)
	}
	resp, err := web.Post(base+"/kernel", "text/plain", strings.NewReader("x"))
	if err != nil || resp.StatusCode != 405 {
		t.Errorf("POST: %v %v", resp, err)
	}
	resp.Body.Close()
	if err := os.Remove(c.Boot.Kernel); err != nil {
		t.Fatal(err)
	}
	if resp, body := get(t, web, base+"/kernel"); resp.StatusCode != 500 || strings.Contains(body, c.Boot.Kernel) {
		t.Errorf("a kernel that went away: %s %q", resp.Status, body)
	}
}

// TestHTTPSecrets asks for a machine's secrets as the machine, as another one, and as nobody.
func TestHTTPSecrets(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config, *Machine)
		lease  bool
		from   string
		status int
	}{
		{"the machine", nil, true, clientIP, 200},
		{"another", nil, true, anotherIP, 403},
		{"the machine before it has a lease", nil, false, clientIP, 403},
		{"without DHCP, the machine", func(c *Config, m *Machine) { c.DHCP.Disabled, m.IP = true, addr(clientIP) }, false, clientIP, 200},
		{"without DHCP, another", func(c *Config, m *Machine) { c.DHCP.Disabled, m.IP = true, addr(clientIP) }, false, anotherIP, 403},
	} {
		config := withMachine(testConfig(t), chap)
		if c.change != nil {
			c.change(&config, &config.Machines[0])
		}
		for _, mode := range []Mode{ModeImage, ModeSANBoot} {
			config.Machines[0].Mode = mode
			s := newServer(t, config)
			n := newMemNet()
			run(t, s, n.host("10.0.0.1"))
			if c.lease {
				lease(t, s, testMAC, clientIP)
			}
			web := browser(t, n.host(c.from))
			names := []string{"ibft", "ibft.cpio"}
			if mode == ModeSANBoot {
				names = append(names, "boot.ipxe")
			}
			for _, name := range names {
				resp, body := get(t, web, machine+"/"+name)
				if resp.StatusCode != c.status {
					t.Errorf("%s, %s in mode %s: %s %q", c.name, name, mode, resp.Status, body)
				}
				told := strings.Contains(body, "secret-of-web1") || strings.Contains(body, colonHex("secret-of-web1"))
				if told != (c.status == 200) {
					t.Errorf("%s, %s in mode %s: secret told: %t", c.name, name, mode, told)
				}
			}
		}
	}
}

func TestTable(t *testing.T) {
	c := withMachine(testConfig(t), func(m *Machine) {
		chap(m)
		m.Mode, m.IP = ModeKernel, addr(clientIP)
		m.RootPaths = append(m.RootPaths, "iscsi:disks.example.com::3261:1:iqn.2026-01.com.example:spare")
	})
	c.DHCP.Router, c.DHCP.DNS = addr("10.0.0.254"), []netip.Addr{addr("10.0.0.2"), addr("10.0.0.3")}
	c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "disks.example.com" {
			return nil, fmt.Errorf("asked for %q", host)
		}
		return []netip.Addr{addr("10.0.7.7")}, nil
	}
	s := newServer(t, c)
	n := newMemNet()
	run(t, s, n.host("10.0.0.1"))
	lease(t, s, testMAC, clientIP)
	web := browser(t, n.host(clientIP))
	_, raw := get(t, web, machine+"/ibft")
	table, err := ibft.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	text, err := table.RevealJSON()
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(text), "", "\t"); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.json", append(indented.Bytes(), '\n'))
	_, cpio := get(t, web, machine+"/ibft.cpio")
	want, err := ibft.EarlyCPIO([]byte(raw))
	if err != nil || cpio != string(want) {
		t.Errorf("early cpio of %d bytes, want %d (%v)", len(cpio), len(want), err)
	}
}

func TestTableErrors(t *testing.T) {
	for _, c := range []struct {
		change func(*Machine)
		lease  bool
		status int
		want   string
	}{
		{func(m *Machine) { m.RootPaths = nil }, true, 404, "rootPaths"},
		{func(m *Machine) { m.InitiatorName = "" }, true, 404, "initiatorName"},
		{func(*Machine) {}, false, 404, "no lease"},
		{func(m *Machine) { m.RootPaths[0] = "iscsi:unknown::::iqn.2026-01.com.example:d" }, true, 500, "its log says why"},
	} {
		config := withMachine(testConfig(t), c.change)
		config.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, os.ErrNotExist }
		s := newServer(t, config)
		if c.lease {
			lease(t, s, testMAC, clientIP)
		}
		n := newMemNet()
		run(t, s, n.host("10.0.0.1"))
		resp, body := get(t, browser(t, n.host(anotherIP)), machine+"/ibft")
		if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %q, want %d %q", resp.Status, body, c.status, c.want)
		}
	}
}

func TestHTTPNothingToBoot(t *testing.T) {
	c := testConfig(t)
	c.Boot = Boot{}
	n := newMemNet()
	run(t, newServer(t, c), n.host("10.0.0.1"))
	resp, body := get(t, browser(t, n.host(clientIP)), machine+"/boot.ipxe")
	if resp.StatusCode != 404 || !strings.Contains(body, "not configured") {
		t.Errorf("%s %q", resp.Status, body)
	}
}

// TestHTTPLarge sends a large file over the operating system's TCP (sendfile) and over a connection that is not.
func TestHTTPLarge(t *testing.T) {
	c := testConfig(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	if err := os.WriteFile(c.Boot.Initramfs, want, 0o644); err != nil {
		t.Fatal(err)
	}
	n := newMemNet()
	run(t, newServer(t, c), n.host("10.0.0.1"))
	if _, body := get(t, browser(t, n.host(clientIP)), base+"/initramfs"); body != string(want) {
		t.Errorf("in memory: %d bytes differ", len(body))
	}
	url := onLoopback(t, c)
	if _, body := get(t, http.DefaultClient, url+"/initramfs"); body != string(want) {
		t.Errorf("on loopback: %d bytes differ", len(body))
	}
	if _, body := get(t, http.DefaultClient, url+"/initramfs", "Range", "bytes=1000-3000000"); body != string(want[1000:3000001]) {
		t.Errorf("on loopback, a range: %d bytes differ", len(body))
	}
}

// TestHTTPStops ends a server in the middle of a transfer.
func TestHTTPStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		c := testConfig(t)
		c.Events = events.record
		writeFile(t, c.Boot.Initramfs, strings.Repeat("x", 4<<20))
		n := newMemNet()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		s := newServer(t, c)
		go func() { done <- s.Run(ctx, n.host("10.0.0.1")) }()
		<-s.Ready()
		resp, err := browser(t, n.host(clientIP)).Get(base + "/initramfs")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%d bytes arrived without an error", len(body))
		}
		last := events.all()[len(events.all())-1]
		if last.Kind != HTTPDone || !strings.Contains(last.Detail, "broke off") || last.Bytes >= 4<<20 {
			t.Errorf("event %+v", last)
		}
	})
}

// FuzzOpen asks for any path.
func FuzzOpen(f *testing.F) {
	for _, path := range []string{
		"kernel", "/boot.ipxe", "machines/52-54-00-12-34-56/ibft.cpio", "loader/ipxe.efi", "loader/../kernel", "machines//",
		"../../etc/passwd",
	} {
		f.Add(path)
	}
	c := testConfig(f)
	secret := filepath.Join(filepath.Dir(c.LoaderDir), "secret")
	writeFile(f, secret, "a secret")
	if err := os.Symlink("../secret", filepath.Join(c.LoaderDir, "link")); err != nil {
		f.Fatal(err)
	}
	f.Add("loader/link")
	s := newServer(f, c)
	f.Fuzz(func(t *testing.T, path string) {
		file, err := s.open(t.Context(), path, addr(clientIP))
		if err != nil {
			return
		}
		defer file.Close()
		body, err := io.ReadAll(file)
		if err != nil || int64(len(body)) != file.size || bytes.Contains(body, []byte("a secret")) {
			t.Errorf("%q: %q, size %d, %v", path, body, file.size, err)
		}
	})
}
