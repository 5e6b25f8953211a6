// Package qmp speaks to a running QEMU over its machine protocol: one JSON object a line, commands with a reply each, and
// events that come by themselves (QEMU, docs/interop/qmp-spec).
//
// Nothing here knows commands: Execute takes any of them with its arguments and result as Go values that encoding/json
// understands. QEMU's reference manual of QMP lists them.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxLine bounds one message. The longest, query-qmp-schema's reply, is some 200 KiB.
const maxLine = 8 << 20

// ErrClosed is why a command fails on a connection that has ended, by Close or because QEMU ended.
var ErrClosed = errors.New("qmp: connection closed")

// Error is QEMU's refusal of a command.
type Error struct {
	Command string // What was asked.
	Class   string // GenericError mostly; CommandNotFound and DeviceNotFound are others.
	Desc    string // For people.
}

func (e *Error) Error() string { return fmt.Sprintf("qmp: %s: %s (%s)", e.Command, e.Desc, e.Class) }

// Event is something that happened in the machine, such as SHUTDOWN or RESET.
type Event struct {
	Name string
	Time time.Time       // On QEMU's clock.
	Data json.RawMessage // Depends on the event; may be empty.
}

// Client is a connection to one QEMU. Its methods may be called from several goroutines.
type Client struct {
	conn    io.ReadWriteCloser
	onEvent func(Event)
	done    chan struct{} // Closed when the reader has ended, after err is set.

	writeMu sync.Mutex

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]chan<- message
	err     error
}

// message is any object that QEMU sends.
type message struct {
	Greeting *json.RawMessage `json:"QMP"`
	ID       uint64           `json:"id"`
	Return   json.RawMessage  `json:"return"`
	Error    *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// New takes a fresh connection to QEMU's monitor, reads its greeting and leaves the negotiation mode. The client owns the
// connection from then on, also when New fails. onEvent, which may be nil, gets each event in order, from the client's own
// goroutine: it must not call Execute, nor Close.
func New(ctx context.Context, conn io.ReadWriteCloser, onEvent func(Event)) (*Client, error) {
	if onEvent == nil {
		onEvent = func(Event) {}
	}
	c := &Client{conn: conn, onEvent: onEvent, done: make(chan struct{}), waiting: make(map[uint64]chan<- message)}
	greeted := make(chan struct{})
	go c.read(greeted)
	select {
	case <-greeted:
	case <-c.done:
		return nil, fmt.Errorf("qmp: no greeting: %w", c.cause())
	case <-ctx.Done():
		c.Close()
		return nil, fmt.Errorf("qmp: waiting for the greeting: %w", ctx.Err())
	}
	if err := c.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection and waits for the client's goroutine. QEMU itself goes on.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Execute runs a command and waits for its reply. args is marshalled into the command's arguments, nil for none; the
// reply is unmarshalled into result, nil to ignore it. QEMU's refusal is an [*Error]; a connection that ends first,
// [ErrClosed]. When the context ends first the command may still take effect.
func (c *Client) Execute(ctx context.Context, command string, args, result any) error {
	id, reply := c.expect()
	defer c.forget(id)
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        uint64 `json:"id"`
	}{command, args, id})
	if err != nil {
		return fmt.Errorf("qmp: %s: arguments: %w", command, err)
	}
	if err := c.write(append(line, '\n')); err != nil {
		return fmt.Errorf("qmp: %s: %w: %w", command, ErrClosed, err)
	}
	select {
	case m := <-reply:
		return m.result(command, result)
	case <-ctx.Done():
		return fmt.Errorf("qmp: %s: %w", command, ctx.Err())
	case <-c.done:
	}
	select {
	case m := <-reply: // It came just before the end.
		return m.result(command, result)
	default:
		return fmt.Errorf("qmp: %s: %w", command, c.cause())
	}
}

// result takes a reply apart.
func (m message) result(command string, result any) error {
	if m.Error != nil {
		return &Error{Command: command, Class: m.Error.Class, Desc: m.Error.Desc}
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("qmp: %s: reply: %w", command, err)
	}
	return nil
}

func (c *Client) expect() (uint64, <-chan message) {
	reply := make(chan message, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	c.waiting[c.lastID] = reply
	return c.lastID, reply
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

func (c *Client) write(line []byte) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	_, err := c.conn.Write(line)
	return err
}

func (c *Client) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// read is the client's goroutine: it hands on whatever QEMU sends until the connection ends.
func (c *Client) read(greeted chan<- struct{}) {
	defer close(c.done)
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(nil, maxLine)
	var err error
	for lines.Scan() {
		var m message
		if err = json.Unmarshal(lines.Bytes(), &m); err != nil {
			err = fmt.Errorf("not QMP: %w", err)
			break
		}
		if m.Greeting != nil && greeted != nil {
			close(greeted)
			greeted = nil
			continue
		}
		c.dispatch(m)
	}
	if err == nil {
		err = lines.Err()
	}
	c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = ErrClosed
	if err != nil {
		c.err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
}

func (c *Client) dispatch(m message) {
	if m.Event != "" {
		at := time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*int64(time.Microsecond/time.Nanosecond))
		c.onEvent(Event{Name: m.Event, Time: at, Data: m.Data})
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reply := c.waiting[m.ID]; reply != nil {
		delete(c.waiting, m.ID)
		reply <- m
	}
}
