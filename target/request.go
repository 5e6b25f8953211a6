package target

import (
	"errors"
	"fmt"

	"github.com/bootlun/bootlun/iscsi"
)

// request is a PDU from the initiator with its data.
type request struct {
	c    *conn // that it came by, and that its answer goes to
	bhs  iscsi.BHS
	ahs  []byte
	data *buffer
	n    int // bytes of data

	task    *task              // of a SCSI command, until it is carried out
	final   bool               // no unsolicited data follows it
	refusal iscsi.RejectReason // why it is not carried out; 0: it is
	why     string
}

// bytes returns the data, valid while the request has it.
func (r *request) bytes() []byte {
	if r.data == nil {
		return nil
	}
	return r.data.b[:r.n]
}

// takeData hands the data's buffer over to the caller, nil if there is none.
func (r *request) takeData() *buffer {
	b := r.data
	r.data, r.n = nil, 0
	return b
}

// drop lets go of what the request still has.
func (r *request) drop() {
	r.c.srv.buffers.put(r.takeData())
	if r.task != nil {
		r.task.free()
		r.task = nil
	}
	r.refusal = 0
}

// receive takes the PDU whose header is in c.req.
func (c *conn) receive() error {
	r := &c.req
	if c.erl > 0 {
		c.out.acknowledge(r.bhs.ExpStatSN())
	}
	switch op := r.bhs.Opcode(); op {
	case iscsi.OpDataOut:
		return c.receiveDataOut()
	case iscsi.OpNOPOut, iscsi.OpSCSICommand, iscsi.OpTaskManagementRequest, iscsi.OpTextRequest, iscsi.OpLogoutRequest:
		return c.receiveRequest()
	case iscsi.OpSNACK:
		return c.receiveSNACK()
	case iscsi.OpLoginRequest:
		return c.fatal(r, iscsi.RejectProtocolError, "a login request in full feature phase")
	default:
		return c.refuse(iscsi.RejectNotSupported, "no request that a target knows")
	}
}

// refuse drops a PDU with its data, and tells the initiator.
func (c *conn) refuse(reason iscsi.RejectReason, why string) error {
	if err := c.skipData(); err != nil {
		return c.dataError(err)
	}
	c.reject(&c.req, reason, why)
	return nil
}

// dataError says what an error in reading a request's data means. After a
// digest error the request is lost, with its CmdSN: the initiator sends it again,
// or at error recovery level 0, where only a new session helps, the connection
// ends (RFC 7143, 7.1.4.2 and 7.8).
func (c *conn) dataError(err error) error {
	if !errors.Is(err, iscsi.ErrDataDigest) {
		return c.lost(err)
	}
	if c.erl == 0 {
		return c.fatal(&c.req, iscsi.RejectDataDigest, err.Error())
	}
	c.reject(&c.req, iscsi.RejectDataDigest, err.Error())
	return nil
}

// receiveRequest receives a request that has a CmdSN and carries it out when
// its turn comes: now if the request is immediate or next in order.
func (c *conn) receiveRequest() error {
	r := &c.req
	r.ahs = c.pdu.AHS()
	if n := c.pdu.DataLeft(); n > 0 {
		r.data, r.n = c.srv.buffers.get(n), n
		if err := c.readData(r.data.b[:n]); err != nil {
			return c.dataError(err)
		}
	}
	if r.bhs.Opcode() == iscsi.OpSCSICommand && !c.sess.discovery() {
		if err := c.newTask(r); err != nil {
			return err
		}
	}
	if r.n > 0 && c.srv.buffers.short() && c.sess.hoards(r) {
		return errHoard
	}
	turn, more := c.sess.admit(r)
	if !turn {
		return nil
	}
	if err := c.execute(r); err != nil || !more {
		return err
	}
	return c.executeKept()
}

// executeKept carries out the requests whose turn has come that came early, by
// whatever connection.
func (c *conn) executeKept() error {
	var ended error
	for r := c.sess.nextKept(); r != nil; r = c.sess.nextKept() {
		err := r.c.execute(r)
		r.drop()
		if r.c == c {
			ended = errors.Join(ended, err)
			continue
		}
		r.c.push()
		if err != nil {
			r.c.close(err)
		}
	}
	return ended
}

// newTask makes the task of the SCSI command in hand.
func (c *conn) newTask(r *request) error {
	if err := c.cmd.Decode(&r.bhs); err != nil {
		return err
	}
	if err := c.cmd.DecodeAHS(r.ahs); err != nil {
		r.refusal, r.why = iscsi.RejectInvalidField, err.Error()
		return nil
	}
	r.task, r.final = c.srv.tasks.Get().(*task), c.cmd.Final
	r.task.start(c)
	return nil
}

// execute carries out a request of the connection whose turn it is. Another
// connection's goroutine may do so.
func (c *conn) execute(r *request) error {
	op := r.bhs.Opcode()
	if c.sess.discovery() && (op == iscsi.OpSCSICommand || op == iscsi.OpTaskManagementRequest) {
		r.refusal, r.why = iscsi.RejectProtocolError, "a discovery session has no logical units"
	}
	if r.refusal != 0 {
		c.sess.done(r)
		c.reject(r, r.refusal, r.why)
		return nil
	}
	if op == iscsi.OpSCSICommand {
		c.scsiCommand(r)
		return nil
	}
	c.sess.done(r) // answered at once, or by what does not count as a command
	switch op {
	case iscsi.OpNOPOut:
		return c.nopOut(r)
	case iscsi.OpTaskManagementRequest:
		return c.taskManagement(r)
	case iscsi.OpTextRequest:
		return c.textRequest(r)
	case iscsi.OpLogoutRequest:
		return c.logout(r)
	}
	return fmt.Errorf("target: no way to execute %v", op)
}
