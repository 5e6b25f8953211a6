package iscsi

// Buffered returns how many bytes have been received and not read yet. With
// fewer than BHSLength of them ReadHeader may have to wait, so that a side that
// answers requests does well to Flush first.
func (c *Conn) Buffered() int { return c.r.Buffered() }
