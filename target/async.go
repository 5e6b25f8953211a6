package target

import (
	"fmt"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// Asynchronous messages (RFC 7143, 11.9), which a target sends unasked: before it
// closes, before it drops connections, to have values negotiated anew, and, of
// targets that are configured so, of unit attention conditions.

// farewellTime is how long the message that precedes the end of a connection may
// take.
const farewellTime = time.Second

// farewell tells the initiator that all connections of the session end, and ends
// this one.
func (c *conn) farewell(reason error) {
	params := &c.sess.params
	_ = c.nc.SetWriteDeadline(time.Now().Add(farewellTime)) // without one, close ends it
	c.out.send(c.sess, &iscsi.AsyncMessage{
		Event:  iscsi.AsyncDropAllConnections,
		Param2: uint16(params.DefaultTime2Wait), Param3: uint16(params.DefaultTime2Retain),
	}, nil)
	c.push()
	c.close(reason)
}

// Renegotiate asks the initiator of a session to negotiate by a text request
// anew, within a time, what can be negotiated then: how long the segments are that
// each connection takes.
func (s *Server) Renegotiate(tsih uint16, within time.Duration) error {
	s.mu.Lock()
	sess := s.sessions[tsih]
	s.mu.Unlock()
	if sess == nil {
		return fmt.Errorf("%w: TSIH %d", ErrNoSession, tsih)
	}
	sess.tellAll(&iscsi.AsyncMessage{Event: iscsi.AsyncNegotiate, Param3: seconds(within)}, nil)
	return nil
}

// seconds is a time as the messages have it, rounded up.
func seconds(d time.Duration) uint16 {
	return uint16(max(0, min((d+time.Second-1)/time.Second, 1<<16-1)))
}

// tellAll sends a message by every connection that is in full feature phase.
func (s *session) tellAll(p *iscsi.AsyncMessage, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		s.tellBy(c, p, data)
	}
}

// tellBy sends a message by one connection. The caller holds s.mu.
func (s *session) tellBy(c *conn, p *iscsi.AsyncMessage, data []byte) bool {
	return c.serving.Load() && c.spawn(func() {
		c.out.send(s, p, data)
		c.push()
	})
}

// tellAttentions tells the initiator, by this connection, of unit attention
// conditions that it has not been told of, if its target does that.
func (c *conn) tellAttentions() {
	s := c.sess
	nexuses := s.nexuses.Load()
	if nexuses == nil || !s.target.settings.Load().tellsAttentions {
		return
	}
	for number, n := range *nexuses {
		asc, ok := n.untold()
		if !ok {
			continue
		}
		lun, _ := iscsi.MakeLUN(number) // checked before
		sense := scsi.Sense{Key: scsi.KeyUnitAttention, ASC: asc}
		data := iscsi.AppendSense(nil, sense.AppendFixed(nil))
		s.mu.Lock()
		s.tellBy(c, &iscsi.AsyncMessage{Event: iscsi.AsyncSCSI, LUN: lun}, data)
		s.mu.Unlock()
	}
}

// untold returns the newest unit attention condition if it is not older than the
// last call.
func (n *nexus) untold() (asc scsi.ASC, ok bool) {
	if !n.unheard.Swap(false) {
		return 0, false
	}
	n.u.mu.Lock()
	defer n.u.mu.Unlock()
	if len(n.attentions) == 0 {
		return 0, false
	}
	return n.attentions[len(n.attentions)-1], true
}
