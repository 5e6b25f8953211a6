package initiator

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/bootlun/bootlun/scsi"
)

// view is a LUN as one path shows it.
type view struct {
	l *LUN
	p *path
	n *nexus
}

// look finds out what the LUN is; if it is open, it must be the same as before. It
// takes the unit attentions that wait, and waits for a device that becomes ready.
func (v *view) look(ctx context.Context) error {
	for _, step := range []func(context.Context) error{v.identify, v.designate, v.awaitReady, v.measure, v.readStates} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ask runs a command that reads into in, again where that is due, and returns what
// it has read.
func (v *view) ask(ctx context.Context, cdb scsi.CDB, in []byte) ([]byte, error) {
	var tries retry
	cmd := Command{LUN: v.p.id, CDB: cdb, In: in}
	for {
		r, _, err := v.n.execute(ctx, &cmd)
		if err != nil {
			return nil, err
		}
		if err = r.Err(); err == nil {
			return in[:len(in)-max(r.Residual, 0)], nil
		}
		v.l.heed(v.p, err)
		if !tries.again(ctx, err) {
			return nil, fmt.Errorf("%s: %w", cdb.Name(), err)
		}
	}
}

func (v *view) identify(ctx context.Context) error {
	b, err := v.ask(ctx, scsi.Inquiry{Length: 96}.CDB(), make([]byte, 96))
	if e := refusal(err); e != nil && e.Sense.ASC == scsi.ASCLUNNotSupported {
		return fmt.Errorf("%w: %w", ErrNoLUN, err)
	}
	if err != nil {
		return err
	}
	q, err := scsi.ParseInquiryData(b)
	switch {
	case err != nil:
		return err
	case q.Qualifier != scsi.QualifierConnected:
		return fmt.Errorf("%w: nothing is there (peripheral qualifier %d)", ErrNoLUN, q.Qualifier)
	case q.Type != scsi.TypeDisk && q.Type != scsi.TypeCDROM:
		return fmt.Errorf("%w but a device of type 0x%02x", ErrNoLUN, uint8(q.Type))
	case !v.l.opened:
		v.l.inquiry = q
	case q.Type != v.l.inquiry.Type || q.Vendor != v.l.inquiry.Vendor || q.Product != v.l.inquiry.Product:
		return fmt.Errorf("%w: %s %s, was %s %s", ErrOtherDisk, q.Vendor, q.Product, v.l.inquiry.Vendor, v.l.inquiry.Product)
	}
	return nil
}

// designate reads the Device Identification page, which old devices do not have.
func (v *view) designate(ctx context.Context) error {
	const size = 4096
	page := scsi.VPDDeviceID
	b, err := v.ask(ctx, scsi.Inquiry{VPD: true, Page: page, Length: size}.CDB(), make([]byte, size))
	if err != nil && refusal(err) == nil {
		return err
	}
	var list []scsi.Designator
	if err == nil {
		if body, err := scsi.ParseVPD(b, page); err == nil {
			list = scsi.ParseDesignators(body)
		}
	}
	v.p.state.CompareAndSwap(unseen, noState)
	for _, d := range list {
		if d.Type == scsi.DesignatorPortGroup && d.Association == scsi.OfTargetPort && len(d.Value) == 4 {
			v.p.group.Store(uint32(d.Value[2])<<8 | uint32(d.Value[3]))
		}
	}
	switch id := identifier(list); {
	case id == "" && len(v.l.paths) > 1:
		return errors.New("the disk has no identifier by which to know it on several paths")
	case !v.l.opened && v.l.identifier == "":
		v.l.identifier = id
	case id != v.l.identifier:
		return fmt.Errorf("%w: %q, was %q", ErrOtherDisk, id, v.l.identifier)
	}
	return nil
}

// identifier returns the best name of a disk among its designators, "" if there is
// none.
func identifier(list []scsi.Designator) string {
	for _, t := range []scsi.DesignatorType{
		scsi.DesignatorNAA, scsi.DesignatorEUI64, scsi.DesignatorSCSIName, scsi.DesignatorT10,
	} {
		for _, d := range list {
			if d.Type == t && d.Association == scsi.OfLogicalUnit {
				return d.String()
			}
		}
	}
	return ""
}

func (v *view) awaitReady(ctx context.Context) error {
	_, err := v.ask(ctx, scsi.TestUnitReadyCDB(), nil)
	if e := (*scsi.Error)(nil); errors.As(err, &e) && pathSense(e.Sense.ASC) {
		return nil // the path's state will tell
	}
	return err
}

// measure asks for the capacity, the short way if the device does not know the long
// one.
func (v *view) measure(ctx context.Context) error {
	long := make([]byte, scsi.Capacity16Length)
	b, err := v.ask(ctx, scsi.ReadCapacity16{Length: uint32(len(long))}.CDB(), long)
	var c scsi.Capacity
	e := (*scsi.Error)(nil)
	switch {
	case err == nil:
		c, err = scsi.ParseCapacity16(b)
	case refusal(err) != nil:
		c, err = v.measureShort(ctx)
	case v.l.opened && errors.As(err, &e) && pathSense(e.Sense.ASC):
		return nil // it is not told on this path
	}
	if err != nil {
		return err
	}
	size := uint64(c.BlockLength)
	if size == 0 || size > maxBlockSize || c.Blocks > math.MaxInt64/size {
		return fmt.Errorf("capacity of %d blocks of %d bytes is beyond belief", c.Blocks, size)
	}
	if !v.l.opened {
		v.l.capacity = c
		v.l.setMaxTransfer(maxTransfer)
	} else if c.BlockLength != v.l.capacity.BlockLength {
		return fmt.Errorf("%w: blocks of %d bytes, were of %d", ErrOtherDisk, c.BlockLength, v.l.capacity.BlockLength)
	}
	v.l.blocks.Store(c.Blocks)
	return nil
}

func (v *view) measureShort(ctx context.Context) (scsi.Capacity, error) {
	b, err := v.ask(ctx, scsi.ReadCapacity10CDB(), make([]byte, scsi.Capacity10Length))
	if err != nil {
		return scsi.Capacity{}, err
	}
	c, tooLarge, err := scsi.ParseCapacity10(b)
	if err == nil && tooLarge {
		err = errors.New("the disk is too large for READ CAPACITY(10) and does not know READ CAPACITY(16)")
	}
	return c, err
}

// readStates asks for the access states of all target port groups, where the device
// has such, and gives them to the LUN's paths.
func (v *view) readStates(ctx context.Context) error {
	if v.l.inquiry.TPGS == 0 {
		return nil
	}
	const size = 4096
	b, err := v.ask(ctx, scsi.ReportTargetPortGroups{Length: size}.CDB(), make([]byte, size))
	if refusal(err) != nil {
		return nil
	}
	if err != nil {
		return err
	}
	groups, err := scsi.ParsePortGroups(b)
	if err != nil {
		return err
	}
	v.l.spread(groups)
	return nil
}

// spread gives the states of groups to the paths.
func (l *LUN) spread(groups []scsi.PortGroup) {
	for _, p := range l.paths {
		for _, g := range groups {
			if p.state.Load() != unseen && p.group.Load() == uint32(g.ID) {
				p.state.Store(uint32(g.State))
			}
		}
	}
}
