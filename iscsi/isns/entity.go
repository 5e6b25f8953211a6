package isns

import (
	"fmt"
	"net/netip"
	"time"
)

// Entity is a machine as a server knows it: the portals by which it is reached,
// and its nodes (RFC 4171, 3.1).
type Entity struct {
	// ID names the machine, such as by its DNS name; at most 255 bytes.
	ID string
	// Portals are where its nodes are reached, each of them by all.
	Portals []Portal
	Nodes   []Node
	// Period is how long the server keeps the registration unless something is
	// heard of the entity; 0 leaves it to the server. Whole seconds.
	Period time.Duration
}

// Portal is an address and TCP port.
type Portal struct {
	Addr netip.AddrPort
	// EventPort is the TCP port at the same address at which the server may tell of
	// state changes and inquire; 0 is none. See [ServeEvents].
	EventPort uint16
	// ESIInterval is how often the server is to inquire whether the entity still is
	// there; 0 is never. Whole seconds. It needs an EventPort.
	ESIInterval time.Duration
}

// NodeType is what a node is, one or several (RFC 4171, 6.4.2).
type NodeType uint32

// Node types.
const (
	TargetNode    NodeType = 1
	InitiatorNode NodeType = 2
	ControlNode   NodeType = 4
)

// Node is a target or an initiator.
type Node struct {
	Name  string // its iSCSI name
	Type  NodeType
	Alias string
	// Groups are the portals by which the node is reached and the portal group tag
	// that each has; none means all of the entity, with tag 1. A portal of the
	// entity that is not here does not lead to the node.
	Groups []Group
}

// Group is a portal by which a node is reached.
type Group struct {
	Addr netip.AddrPort
	Tag  uint16
}

const (
	protocolISCSI = 2 // entity protocol (RFC 4171, 6.2.2)
	defaultTag    = 1
)

// attributes are the operating attributes that register the entity: of each object
// its key attributes and then the rest.
func (e *Entity) attributes() (list Attributes) {
	list = append(list, Text(TagEntityID, e.ID), Number(TagEntityProtocol, protocolISCSI))
	if e.Period > 0 {
		list = append(list, Number(TagRegistrationPeriod, seconds(e.Period)))
	}
	for _, p := range e.Portals {
		list = append(list, Address(TagPortalIP, p.Addr.Addr()), Number(TagPortalPort, uint32(p.Addr.Port())))
		if p.EventPort == 0 {
			continue
		}
		list = append(list, Number(TagSCNPort, uint32(p.EventPort)))
		if p.ESIInterval > 0 {
			list = append(list, Number(TagESIInterval, seconds(p.ESIInterval)), Number(TagESIPort, uint32(p.EventPort)))
		}
	}
	for _, n := range e.Nodes {
		list = append(list, Text(TagNodeName, n.Name), Number(TagNodeType, uint32(n.Type)))
		if n.Alias != "" {
			list = append(list, Text(TagNodeAlias, n.Alias))
		}
	}
	for _, n := range e.Nodes {
		list = append(list, e.groups(n)...)
	}
	return list
}

// groups are the portal group objects of a node. A portal that does not lead to it
// has a group without tag (RFC 4171, 3.4).
func (e *Entity) groups(n Node) (list Attributes) {
	for _, p := range e.Portals {
		tag := Want(TagGroupTag)
		if len(n.Groups) == 0 {
			tag = Number(TagGroupTag, defaultTag)
		}
		for _, g := range n.Groups {
			if g.Addr == p.Addr {
				tag = Number(TagGroupTag, uint32(g.Tag))
			}
		}
		list = append(list, Text(TagGroupNode, n.Name), Address(TagGroupIP, p.Addr.Addr()), Number(TagGroupPort, uint32(p.Addr.Port())), tag)
	}
	return list
}

func seconds(d time.Duration) uint32 { return uint32(max(d.Round(time.Second)/time.Second, 1)) }

// check finds what no server would take.
func (e *Entity) check() error {
	if e.ID == "" || len(e.ID) > 255 {
		return fmt.Errorf("isns: entity identifier %.40q has %d bytes, want 1..255", e.ID, len(e.ID))
	}
	if len(e.Portals) == 0 || len(e.Nodes) == 0 {
		return fmt.Errorf("isns: entity %s has %d portals and %d nodes, want one of each at least", e.ID, len(e.Portals), len(e.Nodes))
	}
	for _, p := range e.Portals {
		if !p.Addr.IsValid() || p.Addr.Addr().IsUnspecified() || p.Addr.Port() == 0 {
			return fmt.Errorf("isns: entity %s: %s is no address that initiators can connect to", e.ID, p.Addr)
		}
	}
	return nil
}
