package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// DefaultSocket is where "bootlun serve" offers the API unless told otherwise.
const DefaultSocket = "/run/bootlun.sock"

// Client is a client of the API. It may be used by several goroutines.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client for the server at a Unix socket. Nothing is sent yet.
func NewClient(socket string) *Client {
	return &Client{socket, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Error is what the server says of a request that it has not carried out.
type Error struct {
	Status  int // of HTTP
	Message string
}

func (e *Error) Error() string { return e.Message }

// Close closes connections that are kept for later requests.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// open sends a request and returns the body of the answer to one that went well.
func (c *Client) open(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://bootlun"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	var dial *net.OpError
	if errors.As(err, &dial) {
		err = dial.Err // the rest says no more than we do
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("no server answers at %s: is \"bootlun serve\" running, with this socket? (%w)", c.socket, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the server at %s is not for you: run this as root (%w)", c.socket, err)
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var f failure
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&f); err != nil || f.Error == "" {
		f.Error = "the server answers " + resp.Status
	}
	return nil, &Error{resp.StatusCode, f.Error}
}

// do sends a request and decodes the answer.
func (c *Client) do(ctx context.Context, method, path string, body, result any) error {
	answer, err := c.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(result); err != nil {
		return fmt.Errorf("the server's answer to %s %s: %w", method, path, err)
	}
	return nil
}

func (c *Client) change(ctx context.Context, method, path string, body any) error {
	return c.do(ctx, method, path, body, &struct{}{})
}

func targetPath(name string, more string) string {
	return "/v1/targets/" + url.PathEscape(name) + more
}

func lunPath(name string, number int, more string) string {
	return targetPath(name, "/luns/"+strconv.Itoa(number)+more)
}

func withinQuery(d time.Duration) string { return "?within=" + d.String() }

// Status returns what is served now.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// AddTarget is [Manager.AddTarget].
func (c *Client) AddTarget(ctx context.Context, t Target) error {
	return c.change(ctx, http.MethodPost, "/v1/targets", t)
}

// RemoveTarget is [Manager.RemoveTarget]; sessions get the time within to log out.
func (c *Client) RemoveTarget(ctx context.Context, name string, within time.Duration) error {
	return c.change(ctx, http.MethodDelete, targetPath(name, withinQuery(within)), nil)
}

// AddLUN is [Manager.AddLUN].
func (c *Client) AddLUN(ctx context.Context, name string, l AddLUN) error {
	return c.change(ctx, http.MethodPost, targetPath(name, "/luns"), l)
}

// RemoveLUN is [Manager.RemoveLUN]; commands get the time within to end.
func (c *Client) RemoveLUN(ctx context.Context, name string, number int, within time.Duration) error {
	return c.change(ctx, http.MethodDelete, lunPath(name, number, withinQuery(within)), nil)
}

// ResizeLUN is [Manager.ResizeLUN].
func (c *Client) ResizeLUN(ctx context.Context, name string, number int, to Resize) (Resized, error) {
	var r Resized
	err := c.do(ctx, http.MethodPost, lunPath(name, number, "/size"), to, &r)
	return r, err
}

// SetCHAP is [Manager.SetCHAP].
func (c *Client) SetCHAP(ctx context.Context, name string, chap CHAP) error {
	return c.change(ctx, http.MethodPut, targetPath(name, "/chap"), chap)
}

// SetAllowed is [Manager.SetAllowed].
func (c *Client) SetAllowed(ctx context.Context, name string, a Allowed) error {
	return c.change(ctx, http.MethodPut, targetPath(name, "/allowed"), a)
}

// Drain empties a target of sessions and keeps it so until Resume. Sessions get the
// time within to log out.
func (c *Client) Drain(ctx context.Context, name string, within time.Duration) error {
	return c.change(ctx, http.MethodPost, targetPath(name, "/drain"+withinQuery(within)), nil)
}

// Resume ends Drain.
func (c *Client) Resume(ctx context.Context, name string) error {
	return c.change(ctx, http.MethodPost, targetPath(name, "/resume"), nil)
}

// Disconnect ends a session, which gets the time within to log out.
func (c *Client) Disconnect(ctx context.Context, tsih uint16, within time.Duration) error {
	return c.change(ctx, http.MethodDelete, fmt.Sprintf("/v1/sessions/%d%s", tsih, withinQuery(within)), nil)
}

// Reload has the server read its configuration file again.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	var r Reloaded
	err := c.do(ctx, http.MethodPost, "/v1/reload", nil, &r)
	return r, err
}

// SetPortGroup is [Manager.SetPortGroup].
func (c *Client) SetPortGroup(ctx context.Context, g PortGroup) error {
	return c.change(ctx, http.MethodPut, fmt.Sprintf("/v1/portgroups/%d", g.ID), g)
}

// Trace writes a session's PDUs to w, as a pcap file, until ctx or the session ends.
// What is longer than snap bytes in a packet is cut, unless that is 0.
func (c *Client) Trace(ctx context.Context, tsih uint16, w io.Writer, snap int) error {
	body, err := c.open(ctx, http.MethodGet, fmt.Sprintf("/v1/sessions/%d/trace?snap=%d", tsih, snap), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err = io.Copy(w, body); ctx.Err() != nil {
		return nil
	}
	return err
}

// Metrics writes the server's metrics to w, in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	body, err := c.open(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}
