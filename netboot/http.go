package netboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

// copyBuffer is how much of a file is handed to a connection at once where the kernel does not copy it by itself.
const copyBuffer = 512 << 10

// connKey finds a request's connection in its context.
type connKey struct{}

// serveHTTP answers requests until ctx ends, and then waits for the connections to be gone.
func (s *Server) serveHTTP(ctx context.Context, ln net.Listener) error {
	var conns sync.WaitGroup
	srv := &http.Server{
		Handler:           s.httpHandler(),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed:
				conns.Done()
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	err := srv.Serve(ln)
	stop()
	srv.Close()
	conns.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("netboot: HTTP at %s: %w", ln.Addr(), err)
}

// httpHandler serves everything that open opens, by GET and HEAD.
func (s *Server) httpHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s.list()) })
	mux.HandleFunc("GET /", s.serveFile)
	return mux
}

// serveFile answers one request for a file.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	client := remoteAddr(r).Addr()
	start := time.Now()
	detail := r.URL.Path
	if rng := r.Header.Get("Range"); rng != "" {
		detail += " (" + rng + ")"
	}
	s.event(slog.LevelInfo, Event{Kind: HTTPStart, Machine: s.labelAt(client), Client: client, Detail: detail})
	cw := &countingWriter{ResponseWriter: w, status: http.StatusOK}
	_, cw.sendfile = r.Context().Value(connKey{}).(*net.TCPConn)
	s.sendFile(cw, r, client)
	level := slog.LevelInfo
	if cw.status >= http.StatusBadRequest || cw.err != nil {
		level = slog.LevelWarn
	}
	s.event(level, Event{
		Kind: HTTPDone, Machine: s.labelAt(client), Client: client, Bytes: cw.n, Duration: time.Since(start),
		Detail: fmt.Sprintf("%s: %s", detail, cw.outcome()),
	})
}

func (s *Server) sendFile(w *countingWriter, r *http.Request, client netip.Addr) {
	path, err := filePath(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f, err := s.open(r.Context(), path, client)
	if err != nil {
		s.fileError(w, r, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", contentType(path))
	if f.modTime.IsZero() {
		w.Header().Set("Cache-Control", "no-store")
	} else {
		w.Header().Set("ETag", fmt.Sprintf("%q", strconv.FormatInt(f.size, 36)+"-"+strconv.FormatInt(f.modTime.UnixNano(), 36)))
	}
	http.ServeContent(w, r, "", f.modTime, f)
}

// filePath is the name that open knows: a script asked for by ?mac= is that machine's.
func filePath(r *http.Request) (string, error) {
	path := strings.Trim(r.URL.Path, "/")
	if query := r.URL.Query(); path == "boot.ipxe" && query.Has("mac") {
		mac, err := ibft.ParseMAC(query.Get("mac"))
		if err != nil {
			return "", fmt.Errorf("mac=%q: want an Ethernet address such as 52-54-00-12-34-56", query.Get("mac"))
		}
		return machinePath(mac, "boot.ipxe"), nil
	}
	return path, nil
}

func (s *Server) fileError(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errNotFound):
		http.Error(w, err.Error()+"\n"+s.list(), http.StatusNotFound)
	case errors.Is(err, errForbidden):
		http.Error(w, err.Error(), http.StatusForbidden)
	default:
		s.log.Error("netboot: a file could not be served", "path", r.URL.Path, "error", err)
		http.Error(w, "the boot server could not make this file; its log says why", http.StatusInternalServerError)
	}
}

func contentType(path string) string {
	switch {
	case strings.HasSuffix(path, ".ipxe"):
		return "text/plain; charset=utf-8"
	case strings.HasSuffix(path, ".efi"):
		return "application/efi" // What UEFI HTTP boot knows a program by.
	}
	return "application/octet-stream"
}

func remoteAddr(r *http.Request) netip.AddrPort {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// labelAt is what the machine with an address is called; empty where nobody is known there.
func (s *Server) labelAt(client netip.Addr) string {
	mac, ok := s.macAt(client)
	if !ok {
		return ""
	}
	return s.machines.find(mac, client).label()
}

// countingWriter counts what is sent, and copies files the quickest way that the connection has.
type countingWriter struct {
	http.ResponseWriter
	status   int
	n        int64 // bytes sent
	err      error
	sendfile bool // the connection is the operating system's
}

// outcome says in a few words how the answer ended.
func (w *countingWriter) outcome() string {
	if w.err != nil {
		return fmt.Sprintf("%d, broke off: %v", w.status, w.err)
	}
	return strconv.Itoa(w.status)
}

// Unwrap is for http.ResponseController.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.n += int64(n)
	w.err = errors.Join(w.err, err)
	return n, err
}

// ReadFrom sends what r has left. On a TCP connection of the operating system net/http hands a file to sendfile(2);
// on any other it would go in small pieces.
func (w *countingWriter) ReadFrom(r io.Reader) (n int64, err error) {
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok && w.sendfile {
		n, err = rf.ReadFrom(r)
	} else {
		n, err = io.CopyBuffer(struct{ io.Writer }{w.ResponseWriter}, struct{ io.Reader }{r}, make([]byte, copyBuffer))
	}
	w.n += n
	w.err = errors.Join(w.err, err)
	return n, err
}
