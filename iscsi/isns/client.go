package isns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// requestTimeout bounds a request whose context has no end.
const requestTimeout = 30 * time.Second

// Client is a connection to an iSNS server. It may be used by several goroutines;
// their requests are sent one after the other.
type Client struct {
	source string // the iSCSI name of who asks

	mu          sync.Mutex
	conn        net.Conn
	r           *bufio.Reader
	transaction uint16
	broken      error
}

// Dial connects to a server, HOST or HOST:PORT, as the node with an iSCSI name.
func Dial(ctx context.Context, server, source string) (*Client, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", WithPort(server))
	if err != nil {
		return nil, fmt.Errorf("iSNS server %s: %w", server, err)
	}
	return NewClient(nc, source), nil
}

// WithPort adds the port of iSNS to a server's address that has none.
func WithPort(server string) string {
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), fmt.Sprint(DefaultPort))
}

// NewClient makes a client of a connection, which it then owns.
func NewClient(conn net.Conn, source string) *Client {
	return &Client{source: source, conn: conn, r: bufio.NewReader(conn)}
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Do sends a request with a message key and operating attributes, and returns the
// operating attributes of the answer. A status other than success is a [Status]
// as the error.
func (c *Client) Do(ctx context.Context, f Function, replace bool, key, operating Attributes) (Attributes, error) {
	answer, err := c.request(ctx, f, replace, key, operating)
	return answer.operating(), err
}

// request is Do that returns all attributes of the answer.
func (c *Client) request(ctx context.Context, f Function, replace bool, key, operating Attributes) (Attributes, error) {
	m := &Message{Function: f, Replace: replace, Attributes: slices.Concat(
		Attributes{Text(TagNodeName, c.source)}, key, Attributes{Delimiter()}, operating)}
	answer, err := c.exchange(ctx, m)
	if err == nil && answer.Status != StatusOK {
		err = answer.Status
	}
	if err != nil {
		return nil, fmt.Errorf("iSNS server %s: %s: %w", c.conn.RemoteAddr(), f, err)
	}
	return answer.Attributes, nil
}

// exchange sends a request and reads its response.
func (c *Client) exchange(ctx context.Context, m *Message) (*Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, c.broken
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	c.transaction++
	m.Transaction = c.transaction
	answer, err := c.roundTrip(m)
	if !stop() { // the deadline has been set, or is being set: the stream is lost
		err = ctx.Err()
	}
	if err != nil {
		c.broken = err
	}
	return answer, err
}

func (c *Client) roundTrip(m *Message) (*Message, error) {
	if _, err := c.conn.Write(m.Append(nil)); err != nil {
		return nil, err
	}
	answer, err := ReadMessage(c.r)
	if err != nil {
		return nil, unexpected(err)
	}
	if answer.Function != m.Function.Response() || answer.Transaction != m.Transaction {
		return nil, fmt.Errorf("%w: %s %d is answered by %s %d", ErrBadMessage, m.Function, m.Transaction, answer.Function, answer.Transaction)
	}
	return answer, nil
}

// Register makes an entity known, or adds what it has to what is known of it; with
// replace, in place of it. It returns the time after which the server forgets it,
// 0 if never.
func (c *Client) Register(ctx context.Context, e *Entity, replace bool) (time.Duration, error) {
	if err := e.check(); err != nil {
		return 0, err
	}
	answer, err := c.Do(ctx, DevAttrReg, replace, Attributes{Text(TagEntityID, e.ID)}, e.attributes())
	if err != nil {
		return 0, err
	}
	if a, ok := answer.Get(TagRegistrationPeriod); ok {
		if n, err := a.Number(); err == nil {
			return time.Duration(n) * time.Second, nil
		}
	}
	return e.Period, nil
}

// Deregister takes an entity away with all that it has.
func (c *Client) Deregister(ctx context.Context, entity string) error {
	_, err := c.Do(ctx, DevDereg, false, nil, Attributes{Text(TagEntityID, entity)})
	return err
}

// DeregisterNodes takes nodes away. An entity whose last node goes, goes too.
func (c *Client) DeregisterNodes(ctx context.Context, names ...string) error {
	var list Attributes
	for _, name := range names {
		list = append(list, Text(TagNodeName, name))
	}
	_, err := c.Do(ctx, DevDereg, false, nil, list)
	return err
}

// DeregisterPortals takes portals away.
func (c *Client) DeregisterPortals(ctx context.Context, portals ...Portal) error {
	var list Attributes
	for _, p := range portals {
		list = append(list, Address(TagPortalIP, p.Addr.Addr()), Number(TagPortalPort, uint32(p.Addr.Port())))
	}
	_, err := c.Do(ctx, DevDereg, false, nil, list)
	return err
}

// Next returns the key attribute of the object that follows the one with the given
// key, an empty one for the first; after the last the error is
// [StatusNoSuchEntry] (RFC 4171, 5.6.5.3).
func (c *Client) Next(ctx context.Context, key Attribute) (Attribute, error) {
	answer, err := c.request(ctx, DevGetNext, false, Attributes{key}, nil)
	if err != nil {
		return Attribute{}, err
	}
	next, ok := answer.Get(key.Tag)
	if !ok {
		return Attribute{}, fmt.Errorf("iSNS server %s: %s: %w: no key in the answer", c.conn.RemoteAddr(), DevGetNext, ErrBadMessage)
	}
	return next, nil
}

// Targets returns the targets that the server lets the asking node see, and where
// they are reached. There being none is no error.
func (c *Client) Targets(ctx context.Context) ([]iscsi.TargetRecord, error) {
	nodes, err := c.Do(ctx, DevAttrQry, false, Attributes{Number(TagNodeType, uint32(TargetNode))}, Attributes{Want(TagNodeName)})
	if errors.Is(err, StatusNoSuchEntry) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var records []iscsi.TargetRecord
	for _, a := range nodes {
		if a.Tag != TagNodeName {
			continue
		}
		name := a.Text()
		if err := iscsi.ValidateName(name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadMessage, err)
		}
		addresses, err := c.addresses(ctx, name)
		if err != nil {
			return nil, err
		}
		records = append(records, iscsi.TargetRecord{Name: name, Addresses: addresses})
	}
	return records, nil
}

// addresses asks for the portals of a node, by the portal groups that tie them.
func (c *Client) addresses(ctx context.Context, name string) ([]iscsi.TargetAddress, error) {
	key := Attributes{Text(TagNodeName, name)}
	groups, err := c.Do(ctx, DevAttrQry, false, key, Attributes{Want(TagGroupNode), Want(TagGroupIP), Want(TagGroupPort), Want(TagGroupTag)})
	if err != nil && !errors.Is(err, StatusNoSuchEntry) {
		return nil, err
	}
	return parseAddresses(groups)
}

// parseAddresses reads portal groups. One without tag leads nowhere.
func parseAddresses(list Attributes) (addresses []iscsi.TargetAddress, err error) {
	var host string
	var port uint32
	for _, a := range list {
		switch a.Tag {
		case TagGroupIP:
			ip, err := a.Address()
			if err != nil {
				return nil, err
			}
			host = ip.String()
		case TagGroupPort:
			if port, err = a.Number(); err != nil {
				return nil, err
			}
		case TagGroupTag:
			if len(a.Value) == 0 || host == "" || port == 0 || port > 65535 {
				continue // no group, or UDP (RFC 4171, 6.3.2)
			}
			tag, err := a.Number()
			if err != nil {
				return nil, err
			}
			addresses = append(addresses, iscsi.TargetAddress{Host: host, Port: int(port), Tag: int(tag & 0xffff)})
		}
	}
	return addresses, nil
}
