// Package slp is the Service Location Protocol, version 2 (RFC 2608), as far as
// iSCSI uses it (RFC 4018): initiators find targets by it without a server and
// without any setting.
//
// # Finding
//
// [Find] is a user agent: it asks all that listen on a network, by multicast, or a
// directory agent whose address is known, for services of a type:
//
//	targets, err := slp.FindTargets(ctx, slp.Query{Interface: "192.0.2.2"})
//
// # Being found
//
// An [Agent] is a service agent: it answers such questions for the services that it
// is told of, and registers them with the directory agents that there are.
// [Target] makes a service of a target.
//
// # The wire
//
// [Message] is any message: a header, and a body, such as [ServiceRequest], by its
// function. A question's predicate is an LDAP filter, see [Predicate].
//
// # Limits
//
// English alone ("en"). Authentication blocks are skipped, and none are made. No
// directory agent: any that is there is used. Of IPv6's multicast addresses the
// one for all agents of a link.
//
// # Where to start reading
//
// wire.go and message.go for the formats, find.go and agent.go for the agents,
// target.go for iSCSI's use of them.
package slp
