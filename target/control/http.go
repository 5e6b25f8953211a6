package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// The API, all of it JSON. NAME is a target's name, N a LUN, TSIH a session's.
//
//	GET    /v1/status                    Status
//	POST   /v1/targets                   Target
//	DELETE /v1/targets/NAME?within=10s
//	POST   /v1/targets/NAME/luns         AddLUN
//	DELETE /v1/targets/NAME/luns/N?within=10s
//	POST   /v1/targets/NAME/luns/N/size  Resize
//	PUT    /v1/targets/NAME/chap         CHAP
//	PUT    /v1/targets/NAME/allowed      Allowed
//	POST   /v1/targets/NAME/drain?within=10s
//	POST   /v1/targets/NAME/resume
//	DELETE /v1/sessions/TSIH?within=10s
//	GET    /v1/sessions/TSIH/trace?snap=N  a pcap file, until the session or the request ends
//	PUT    /v1/portgroups/ID             PortGroup
//	POST   /v1/reload                    Reloaded
//	GET    /metrics                      in Prometheus' text format
//
// An answer is what was asked for, or {} for a change, or {"error": "…"} with a
// status other than 200.

// AddLUN is a LUN to be added, and the size of the file to be made for it; 0
// means that the file is there.
type AddLUN struct {
	LUN
	Create int64 `json:"create,omitempty"`
}

// Resize is the size that a LUN is to have, 0 for the one that its file or device
// has by now. Shrinking loses data and must be asked for.
type Resize struct {
	Size   int64 `json:"size"`
	Shrink bool  `json:"shrink,omitempty"`
}

// Resized is the size that initiators then see.
type Resized struct {
	Size int64 `json:"size"`
}

// defaultWithin is how long sessions get to log out unless a request says so,
// and maxWithin how long they can get.
const (
	defaultWithin = 10 * time.Second
	maxWithin     = time.Hour
)

// maxBody bounds what a request may send.
const maxBody = 1 << 20

// Reloaded are the settings that have changed and hold from the next start on.
type Reloaded struct {
	Restart []string `json:"restart,omitempty"`
}

// Handler returns the HTTP API. Reload is what a request to reload does: it should
// read the configuration file and call [Manager.Reload].
func (m *Manager) Handler(reload func(context.Context) (Reloaded, error)) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { answer(w, r, f) })
	}
	handle("GET /v1/status", func(*http.Request) (any, error) { return m.Status(), nil })
	handle("POST /v1/targets", decoded(func(_ *http.Request, t *Target) (any, error) { return nil, m.AddTarget(*t) }))
	handle("DELETE /v1/targets/{name}", within(func(ctx context.Context, r *http.Request) error {
		return m.RemoveTarget(ctx, r.PathValue("name"))
	}))
	handle("POST /v1/targets/{name}/drain", within(func(ctx context.Context, r *http.Request) error {
		return m.server.Drain(ctx, r.PathValue("name"))
	}))
	handle("POST /v1/targets/{name}/resume", func(r *http.Request) (any, error) {
		return nil, m.server.Resume(r.PathValue("name"))
	})
	handle("PUT /v1/targets/{name}/chap", decoded(func(r *http.Request, c *CHAP) (any, error) {
		return nil, m.SetCHAP(r.PathValue("name"), *c)
	}))
	handle("PUT /v1/targets/{name}/allowed", decoded(func(r *http.Request, a *Allowed) (any, error) {
		return nil, m.SetAllowed(r.PathValue("name"), *a)
	}))
	handle("POST /v1/targets/{name}/luns", decoded(func(r *http.Request, l *AddLUN) (any, error) {
		return nil, m.AddLUN(r.PathValue("name"), l.LUN, l.Create)
	}))
	handle("DELETE /v1/targets/{name}/luns/{number}", within(func(ctx context.Context, r *http.Request) error {
		number, err := pathNumber(r, "number")
		if err != nil {
			return err
		}
		return m.RemoveLUN(ctx, r.PathValue("name"), number)
	}))
	handle("POST /v1/targets/{name}/luns/{number}/size", decoded(func(r *http.Request, to *Resize) (any, error) {
		number, err := pathNumber(r, "number")
		if err != nil {
			return nil, err
		}
		size, err := m.ResizeLUN(r.PathValue("name"), number, to.Size, to.Shrink)
		return Resized{size}, err
	}))
	handle("DELETE /v1/sessions/{tsih}", within(func(ctx context.Context, r *http.Request) error {
		tsih, err := pathNumber(r, "tsih")
		if err != nil {
			return err
		}
		return m.server.Disconnect(ctx, uint16(tsih))
	}))
	handle("POST /v1/reload", func(r *http.Request) (any, error) { return reload(r.Context()) })
	handle("PUT /v1/portgroups/{id}", decoded(func(r *http.Request, g *PortGroup) (any, error) {
		id, err := pathNumber(r, "id")
		if err != nil {
			return nil, err
		}
		g.ID = uint16(id)
		return nil, m.SetPortGroup(*g)
	}))
	mux.HandleFunc("GET /v1/sessions/{tsih}/trace", m.serveTrace)
	mux.HandleFunc("GET /metrics", m.serveMetrics)
	return mux
}

// MetricsHandler returns the part of the API that is safe to show to a network:
// GET /metrics.
func (m *Manager) MetricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", m.serveMetrics)
	return mux
}

func (m *Manager) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if err := m.server.WriteMetrics(w); err != nil {
		m.log.Debug("metrics not sent", "error", err)
	}
}

// serveTrace sends a trace as it comes.
func (m *Manager) serveTrace(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(r *http.Request) (any, error) {
		tsih, err := pathNumber(r, "tsih")
		if err != nil {
			return nil, err
		}
		snap := 0
		if text := r.FormValue("snap"); text != "" {
			if snap, err = strconv.Atoi(text); err != nil || snap < 0 {
				return nil, errors.Join(errRequest, errors.New("snap: a number of bytes, not "+text))
			}
		}
		out := &flushed{w: w, c: http.NewResponseController(w)}
		err = m.server.Trace(r.Context(), uint16(tsih), out, snap)
		if out.begun { // the status has been sent
			return sent, nil
		}
		return nil, err
	})
}

// sent is a result that has been sent already.
var sent = &struct{ _ byte }{}

// flushed sends at once what is written.
type flushed struct {
	w     http.ResponseWriter
	c     *http.ResponseController
	begun bool
}

func (f *flushed) Write(p []byte) (int, error) {
	if !f.begun {
		f.begun = true
		f.w.Header().Set("Content-Type", "application/vnd.tcpdump.pcap")
	}
	n, err := f.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.c.Flush()
}

// errRequest is a request that makes no sense.
var errRequest = errors.New("bad request")

// decoded makes a handler of a function that takes the request's body.
func decoded[T any](f func(*http.Request, *T) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var v T
		d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			return nil, errors.Join(errRequest, err)
		}
		return f(r, &v)
	}
}

// within makes a handler of a function that takes the time that a request allows
// it. The end of the request does not end it: what has begun is done.
func within(f func(context.Context, *http.Request) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		limit := defaultWithin
		if text := r.FormValue("within"); text != "" {
			var err error
			if limit, err = time.ParseDuration(text); err != nil || limit < 0 || limit > maxWithin {
				return nil, errors.Join(errRequest, errors.New("within: a time from 0s to 1h, not "+text))
			}
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), limit)
		defer cancel()
		return nil, f(ctx, r)
	}
}

// pathNumber returns a number of 16 bits from the request's path.
func pathNumber(r *http.Request, name string) (int, error) {
	n, err := strconv.ParseUint(r.PathValue(name), 10, 16)
	if err != nil {
		return 0, errors.Join(errRequest, err)
	}
	return int(n), nil
}

// failure is the answer to a request that failed.
type failure struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	v, err := f(r)
	status := http.StatusOK
	switch {
	case v == sent:
		return
	case err != nil:
		status, v = statusOf(err), failure{err.Error()}
	case v == nil:
		v = struct{}{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone, if it fails
}

func statusOf(err error) int {
	for _, known := range []struct {
		err    error
		status int
	}{
		{errRequest, http.StatusBadRequest},
		{target.ErrNoTarget, http.StatusNotFound},
		{target.ErrNoLUN, http.StatusNotFound},
		{target.ErrNoSession, http.StatusNotFound},
		{target.ErrExists, http.StatusConflict},
		{errFixed, http.StatusConflict},
		{target.ErrStillInUse, http.StatusConflict},
		{store.ErrLocked, http.StatusConflict},
		{fs.ErrExist, http.StatusConflict},
	} {
		if errors.Is(err, known.err) {
			return known.status
		}
	}
	return http.StatusUnprocessableEntity
}
