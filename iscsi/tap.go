package iscsi

import "bytes"

// Tap sees the PDUs that a [Conn] sends and receives, without padding and digests:
// for each its header, and then its data in pieces. Those of one direction come in
// order and one at a time, those of both at once. What a Tap is given is its own.
type Tap interface {
	// Header has the AHS already in its length; the data is DataSegmentLength long.
	Header(sent bool, b BHS, ahs []byte)
	Data(sent bool, p []byte)
}

// SetTap has t see what is sent and received from now on, which may be from the
// middle of a PDU. A nil Tap ends that. It may be called at any time.
func (c *Conn) SetTap(t Tap) {
	if t == nil {
		c.tap.Store(nil)
		return
	}
	c.tap.Store(&t)
}

// tapHeader and tapData copy what they pass on, so that nothing of it has to live
// on the heap where there is no Tap.
func (c *Conn) tapHeader(sent bool, b *BHS, ahs []byte) {
	if t := c.tap.Load(); t != nil {
		(*t).Header(sent, *b, bytes.Clone(ahs))
	}
}

func (c *Conn) tapData(sent bool, p []byte) {
	if t := c.tap.Load(); t != nil {
		(*t).Data(sent, bytes.Clone(p))
	}
}
