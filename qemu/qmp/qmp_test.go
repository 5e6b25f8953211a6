package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}`

// request is what a server reads.
type request struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        int             `json:"id"`
}

// serve plays QEMU: it greets and answers each request with what answer returns, until the client goes.
func serve(t *testing.T, hello string, answer func(request) string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		fmt.Fprintln(server, hello)
		lines := bufio.NewScanner(server)
		for lines.Scan() {
			var r request
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Errorf("the client sent %q: %v", lines.Text(), err)
				return
			}
			reply := fmt.Sprintf(`{"return": {}, "id": %d}`, r.ID)
			if r.Execute != "qmp_capabilities" {
				if reply = answer(r); reply == "" {
					return
				}
			}
			fmt.Fprintln(server, reply)
		}
	}()
	t.Cleanup(func() { client.Close(); <-done })
	return client
}

func TestExecute(t *testing.T) {
	conn := serve(t, greeting, func(r request) string {
		if r.Execute != "human-monitor-command" || string(r.Arguments) != `{"command-line":"info status"}` {
			return fmt.Sprintf(`{"id": %d, "error": {"class": "CommandNotFound", "desc": "unexpected %s"}}`, r.ID, r.Execute)
		}
		return fmt.Sprintf(`{"return": "running", "id": %d}`, r.ID)
	})
	c, err := New(t.Context(), conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	args := map[string]string{"command-line": "info status"}
	if err := c.Execute(t.Context(), "human-monitor-command", args, &got); err != nil || got != "running" {
		t.Errorf("result %q, %v", got, err)
	}
	var refused *Error
	if err := c.Execute(t.Context(), "nonsense", nil, nil); !errors.As(err, &refused) || refused.Class != "CommandNotFound" {
		t.Errorf("a refused command: %v", err)
	} else if want := "qmp: nonsense: unexpected nonsense (CommandNotFound)"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	var number int
	if err := c.Execute(t.Context(), "human-monitor-command", args, &number); err == nil {
		t.Error("a string was taken for a number")
	}
	if err := c.Execute(t.Context(), "x", func() {}, nil); err == nil {
		t.Error("a function was taken for arguments")
	}
}

func TestEventsComeInOrder(t *testing.T) {
	conn := serve(t, greeting, func(r request) string {
		const at = `"timestamp": {"seconds": 12, "microseconds": 34}`
		return `{"event": "STOP", ` + at + "}\n" +
			`{"event": "RESET", "data": {"guest": true}, ` + at + "}\n" +
			fmt.Sprintf(`{"return": {}, "id": %d}`, r.ID)
	})
	var events []Event
	c, err := New(t.Context(), conn, func(e Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Execute(t.Context(), "stop", nil, nil); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if len(events) != 2 || events[0].Name != "STOP" || events[1].Name != "RESET" || string(events[1].Data) != `{"guest": true}` {
		t.Errorf("events %+v", events)
	}
	if want := time.Unix(12, 34000); !events[0].Time.Equal(want) {
		t.Errorf("time %v, want %v", events[0].Time, want)
	}
}

func TestBadServers(t *testing.T) {
	for _, tt := range []struct{ name, hello, want string }{
		{"not QMP", "SSH-2.0-OpenSSH", "not QMP"},
		{"a line without end", strings.Repeat("x", maxLine+1), "token too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := serve(t, tt.hello, func(request) string { return "" })
			_, err := New(t.Context(), conn, nil)
			if !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrClosed with %q", err, tt.want)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		client, server := net.Pipe()
		defer server.Close()
		if _, err := New(ctx, client, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
	t.Run("gone in the middle", func(t *testing.T) {
		c, err := New(t.Context(), serve(t, greeting, func(request) string { return "" }), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Execute(t.Context(), "quit", nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		<-c.Done()
		if err := c.Execute(t.Context(), "quit", nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		c, err := New(t.Context(), serve(t, greeting, func(request) string { return `{"return": {}, "id": 9999}` }), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := c.Execute(ctx, "stop", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}

// TestQEMU has the reference server answer.
func TestQEMU(t *testing.T) {
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("SKIP: needs qemu-system-x86_64 (apt install qemu-system-x86)")
	}
	path := filepath.Join(t.TempDir(), "qmp")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cmd := exec.CommandContext(t.Context(), binary, "-machine", "none", "-nodefaults", "-display", "none",
		"-chardev", "socket,id=qmp,path="+path, "-mon", "chardev=qmp,mode=control")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	shutdown := make(chan struct{})
	c, err := New(t.Context(), conn, func(e Event) {
		if e.Name == "SHUTDOWN" {
			close(shutdown)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Running bool `json:"running"`
	}
	if err := c.Execute(t.Context(), "query-status", nil, &status); err != nil || !status.Running {
		t.Errorf("status %+v, %v", status, err)
	}
	var refused *Error
	if err := c.Execute(t.Context(), "eject", map[string]string{"id": "no"}, nil); !errors.As(err, &refused) {
		t.Errorf("ejecting from a device that is not there: %v", err)
	}
	if err := c.Execute(t.Context(), "quit", nil, nil); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	<-shutdown
	<-c.Done()
}
