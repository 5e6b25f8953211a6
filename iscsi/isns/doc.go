// Package isns is the Internet Storage Name Service of RFC 4171 as an iSCSI
// target or initiator uses it: a client of an iSNS server. A server is not here.
//
// # Asking and telling
//
// A [Client] sends requests to a server and reads its answers. Who asks is a
// node, by its iSCSI name:
//
//	c, err := isns.Dial(ctx, "192.0.2.1:3205", "iqn.2001-04.com.example:host")
//	...
//	defer c.Close()
//	targets, err := c.Targets(ctx)
//
// [Client.Register] makes an [Entity] known: a machine, the portals by which it
// can be reached and the nodes (targets and initiators) that it has. What is
// registered ends unless it is refreshed by registering again.
//
// # Being told
//
// A server tells nodes that want to know of changes by State Change
// Notifications, and asks by Entity Status Inquiries whether a machine still is
// there. Both come over connections that the server makes; [ServeEvents] takes them.
//
// # The wire
//
// A [Message] is a function and a list of attributes, tag by tag ([Attribute]);
// it travels in one PDU or, if it is long, in several. [ReadMessage] joins
// them, within MaxMessage bytes.
//
// # Limits
//
// iSCSI alone: nothing of iFCP and Fibre Channel. No discovery domains of one's
// own: nodes are in the domains that the server's administrator puts them in.
// Authentication blocks are not made, and messages that have one are refused.
// TCP alone, no UDP; servers are not looked for by broadcast (heartbeats).
//
// # Where to start reading
//
// attribute.go and message.go for the formats, client.go for requests, entity.go
// for what is registered, events.go for what servers send.
package isns
