package target_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// TestDataTransfer writes and reads in all the ways that the parameters of a
// session allow, with stores of either kind.
func TestDataTransfer(t *testing.T) {
	sizes := []int{512, 4096, 8192, 65536, 65536 + 512, 1 << 20, 3<<20 + 1536}
	offers := map[string]iscsi.Offer{
		"R2T":              {InitialR2T: true, NoImmediateData: true},
		"immediate":        {InitialR2T: true},
		"unsolicited":      {NoImmediateData: true},
		"both":             {},
		"small":            {MaxRecvDataSegmentLength: 512, MaxBurstLength: 1024, FirstBurstLength: 512},
		"odd bursts":       {MaxRecvDataSegmentLength: 1000, MaxBurstLength: 70000, FirstBurstLength: 3000},
		"header digest":    {HeaderDigest: iscsi.DigestRequire},
		"digests":          {HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire},
		"four R2Ts":        {InitialR2T: true, NoImmediateData: true, MaxBurstLength: 65536, MaxOutstandingR2T: 4},
		"four R2Ts, mixed": {MaxBurstLength: 65536, FirstBurstLength: 4096, MaxOutstandingR2T: 4},
	}
	stores := map[string]func() store.Store{
		"prompt": func() store.Store { return store.NewMemory(diskSize) },
		"slow":   func() store.Store { return slowly{store.NewMemory(diskSize)} },
	}
	for storeName, newStore := range stores {
		for name, offer := range offers {
			t.Run(storeName+"/"+name, func(t *testing.T) {
				cfg := target.Config{Targets: []*target.Target{disk(newStore())}}
				cfg.Offer.MaxOutstandingR2T = 4
				addr, _ := serve(t, cfg)
				c := connect(t, addr, offering(func(o *iscsi.Offer) { *o = offer })).ready()
				for i, size := range sizes {
					for _, chunk := range []int{0, 512} { // 512: as iPXE does
						if chunk > 0 && size > 1<<20 {
							continue
						}
						c.chunk = chunk
						roundTrip(t, c, pattern(size, i+chunk), uint64(i*8192+3))
					}
				}
			})
		}
	}
}

func roundTrip(t *testing.T, c *client, data []byte, lba uint64) {
	t.Helper()
	blocks := uint32(len(data) / 512)
	w := c.good(transfer(scsi.OpWrite16, lba, blocks), 0, data)
	if w.over != 0 || w.under != 0 {
		t.Errorf("write of %d bytes: residual +%d -%d", len(data), w.over, w.under)
	}
	r := c.good(transfer(scsi.OpRead16, lba, blocks), len(data), nil)
	if !bytes.Equal(r.data, data) {
		t.Errorf("%d bytes at LBA %d do not read back as written", len(data), lba)
	}
	if r.over != 0 || r.under != 0 || !r.dataIns[len(r.dataIns)-1].HasStatus {
		t.Errorf("read of %d bytes: residual +%d -%d, last Data-In %+v", len(data), r.over, r.under, r.dataIns[len(r.dataIns)-1])
	}
}

// TestR2TsOutstanding expects no more R2Ts at a time than agreed, each within
// MaxBurstLength, for one part after the other.
func TestR2TsOutstanding(t *testing.T) {
	for _, most := range []int{1, 3} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			cfg := target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}}
			cfg.Offer.MaxOutstandingR2T = 8
			addr, _ := serve(t, cfg)
			c := connect(t, addr, offering(func(o *iscsi.Offer) {
				*o = iscsi.Offer{InitialR2T: true, NoImmediateData: true, MaxBurstLength: 4096, MaxOutstandingR2T: most}
			})).ready()
			data := pattern(40960+512, 1)
			cmd := c.newCommand(transfer(scsi.OpWrite10, 0, uint32(len(data)/512)), 0, len(data))
			c.send(&cmd, nil)
			var open []iscsi.R2T
			for next, sn := 0, uint32(0); next < len(data) || len(open) > 0; {
				for next < len(data) && len(open) < most {
					var p iscsi.R2T
					c.expect(&p)
					want := min(4096, len(data)-next)
					if p.R2TSN != sn || int(p.BufferOffset) != next || int(p.DesiredLength) != want || p.ITT != cmd.ITT {
						t.Fatalf("R2T %+v, want number %d for %d bytes at %d", p, sn, want, next)
					}
					next, sn = next+want, sn+1
					open = append(open, p)
				}
				c.dataOut(&cmd, open[0].TTT, data, int(open[0].BufferOffset), int(open[0].BufferOffset+open[0].DesiredLength))
				open = open[1:]
			}
			if r := c.finish(&cmd, nil); r.status != scsi.StatusGood {
				t.Errorf("%v %v", r.status, r.sense)
			}
			if got := c.good(transfer(scsi.OpRead10, 0, uint32(len(data)/512)), len(data), nil); !bytes.Equal(got.data, data) {
				t.Error("not what was written")
			}
		})
	}
}

func TestResiduals(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	c.good(transfer(scsi.OpWrite10, 0, 4), 0, pattern(2048, 1))
	for _, tc := range []struct {
		name        string
		cdb         scsi.CDB
		in, out     int
		got         int
		over, under uint32
	}{
		{"read less than expected", transfer(scsi.OpRead10, 0, 2), 10000, 0, 1024, 0, 10000 - 1024},
		{"read more than expected", transfer(scsi.OpRead10, 0, 2), 200, 0, 200, 824, 0},
		{"read, nothing expected", transfer(scsi.OpRead10, 0, 2), 0, 0, 0, 1024, 0},
		{"read no blocks", transfer(scsi.OpRead10, 0, 0), 512, 0, 0, 0, 512},
		{"inquiry", scsi.Inquiry{Length: 255}.CDB(), 255, 0, 96, 0, 255 - 96},
		{"inquiry, short", scsi.Inquiry{Length: 36}.CDB(), 255, 0, 36, 0, 255 - 36},
		{"read sent as a write", transfer(scsi.OpRead10, 0, 1), 0, 512, 0, 0, 512},
		{"write less than sent", transfer(scsi.OpWrite10, 0, 1), 0, 2048, 0, 0, 1536},
		{"write more than sent", transfer(scsi.OpWrite10, 0, 4), 0, 1024, 0, 1024, 0},
		{"write, nothing sent", transfer(scsi.OpWrite10, 0, 1), 0, 0, 0, 512, 0},
	} {
		r := c.good(tc.cdb, tc.in, pattern(tc.out, 1))
		if len(r.data) != tc.got || r.over != tc.over || r.under != tc.under {
			t.Errorf("%s: %d bytes, residual +%d -%d; want %d, +%d -%d", tc.name, len(r.data), r.over, r.under, tc.got, tc.over, tc.under)
		}
	}
	r := c.bad(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 200), scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInInfoUnit)
	if r.over != 312 {
		t.Errorf("write of a part of a block: residual +%d -%d, want +312", r.over, r.under)
	}
	if got := c.good(transfer(scsi.OpRead10, 0, 4), 2048, nil); !bytes.Equal(got.data, pattern(2048, 1)) {
		t.Error("the blocks are not as they were")
	}
}

// TestWrongData sends write data that is not what it should be: the command must
// fail, the medium stay as it was, and the session go on.
func TestWrongData(t *testing.T) {
	type out struct {
		sn     uint32
		offset uint32
		n      int
		final  bool
	}
	for name, tc := range map[string]struct {
		offer     iscsi.Offer
		immediate int
		final     bool
		outs      []out
		asc       scsi.ASC
	}{
		"offset too high":     {iscsi.Offer{NoImmediateData: true}, 0, false, []out{{0, 512, 512, false}, {1, 1024, 512, true}}, scsi.ASCProtocolServiceCRCError},
		"offset again":        {iscsi.Offer{NoImmediateData: true}, 0, false, []out{{0, 0, 512, false}, {1, 0, 512, true}}, scsi.ASCProtocolServiceCRCError},
		"DataSN skipped":      {iscsi.Offer{NoImmediateData: true}, 0, false, []out{{0, 0, 512, false}, {2, 512, 512, true}}, scsi.ASCProtocolServiceCRCError},
		"DataSN from 1":       {iscsi.Offer{NoImmediateData: true}, 0, false, []out{{1, 0, 1024, true}}, scsi.ASCProtocolServiceCRCError},
		"more than there is":  {iscsi.Offer{NoImmediateData: true}, 0, false, []out{{0, 0, 512, false}, {1, 512, 1024, true}}, scsi.ASCNotEnoughUnsolicitedData},
		"unsolicited":         {iscsi.Offer{InitialR2T: true, NoImmediateData: true}, 0, false, nil, scsi.ASCUnexpectedUnsolicitedData},
		"immediate":           {iscsi.Offer{InitialR2T: true, NoImmediateData: true}, 512, true, nil, scsi.ASCUnexpectedUnsolicitedData},
		"too much immediate":  {iscsi.Offer{FirstBurstLength: 512}, 1024, true, nil, scsi.ASCNotEnoughUnsolicitedData},
		"too little for R2T":  {iscsi.Offer{InitialR2T: true, NoImmediateData: true}, 0, true, []out{{0, 0, 512, true}}, scsi.ASCNotEnoughUnsolicitedData},
		"too much for R2T":    {iscsi.Offer{InitialR2T: true, NoImmediateData: true}, 0, true, []out{{0, 0, 2048, true}}, scsi.ASCNotEnoughUnsolicitedData},
		"wrong start for R2T": {iscsi.Offer{InitialR2T: true, NoImmediateData: true}, 0, true, []out{{0, 512, 1024, true}}, scsi.ASCProtocolServiceCRCError},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, serveDisk(t, store.NewMemory(diskSize)), offering(func(o *iscsi.Offer) { *o = tc.offer })).ready()
			data := pattern(1024, 1)
			cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 2), 0, len(data))
			cmd.Final = tc.final
			c.send(&cmd, data[:tc.immediate])
			ttt := iscsi.ReservedTag
			if tc.final && tc.outs != nil {
				var p iscsi.R2T
				c.expect(&p)
				ttt = p.TTT
			}
			for _, o := range tc.outs {
				c.send(&iscsi.DataOut{Final: o.final, LUN: cmd.LUN, ITT: cmd.ITT, TTT: ttt, DataSN: o.sn, BufferOffset: o.offset}, make([]byte, o.n))
			}
			r := c.finish(&cmd, nil)
			if r.status != scsi.StatusCheckCondition || r.sense.Key != scsi.KeyAbortedCommand || r.sense.ASC != tc.asc {
				t.Errorf("%v %v, want ABORTED COMMAND, %v", r.status, r.sense, tc.asc)
			}
			if got := c.good(transfer(scsi.OpRead10, 0, 2), 1024, nil); !bytes.Equal(got.data, make([]byte, 1024)) {
				t.Error("the medium has changed")
			}
			roundTrip(t, c, data, 0)
		})
	}
}

// TestDataForNoTask drops Data-Out PDUs that belong to nothing.
func TestDataForNoTask(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	c.send(&iscsi.DataOut{Final: true, ITT: 0x1234, TTT: iscsi.ReservedTag}, make([]byte, 4096))
	c.send(&iscsi.DataOut{Final: true, ITT: iscsi.ReservedTag, TTT: 77}, nil)
	c.ping()
}

// TestHugeExpectedLength announces 4 GiB and sends a block: nothing is taken by
// the announcement.
func TestHugeExpectedLength(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize)), offering(func(o *iscsi.Offer) { o.InitialR2T = true })).ready()
	cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 1)
	cmd.ExpectedLength = 1<<32 - 1
	data := pattern(512, 1)
	c.send(&cmd, data)
	if r := c.finish(&cmd, data); r.status != scsi.StatusGood || r.under != 1<<32-1-512 {
		t.Errorf("%v %v, residual -%d", r.status, r.sense, r.under)
	}
	cmd = c.newCommand(transfer(scsi.OpRead10, 0, 1), 1, 0)
	cmd.ExpectedLength = 1<<32 - 1
	c.send(&cmd, nil)
	if r := c.finish(&cmd, nil); !bytes.Equal(r.data, data) || r.under != 1<<32-1-512 {
		t.Errorf("%v %v, residual -%d, %d bytes", r.status, r.sense, r.under, len(r.data))
	}
}

// TestAnyOrder sends the bursts of a write, and the PDUs of each, backwards.
func TestAnyOrder(t *testing.T) {
	const n = 4096
	addr, _ := serve(t, target.Config{
		Targets: []*target.Target{disk(store.NewMemory(diskSize))}, Offer: iscsi.Offer{MaxOutstandingR2T: 4},
	})
	for _, inOrder := range []bool{false, true} {
		c := connect(t, addr, allByR2T, offering(func(o *iscsi.Offer) {
			o.DataPDUAnyOrder, o.DataSequenceAnyOrder = !inOrder, true
			o.MaxOutstandingR2T, o.MaxBurstLength = 4, 4*n
		})).ready()
		if p := c.res.Params; p.DataPDUInOrder != inOrder || p.DataSequenceInOrder {
			t.Fatalf("%+v", p)
		}
		out := pattern(16*n, 3)
		cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 16*n/512), 0, len(out))
		c.send(&cmd, nil)
		var r2ts []iscsi.R2T
		for range 4 {
			var p iscsi.R2T
			c.expect(&p)
			r2ts = append(r2ts, p)
		}
		for i := range r2ts {
			p := r2ts[3-i]
			for sn := range 4 {
				off := int(p.BufferOffset) + (3-sn)*n
				c.send(&iscsi.DataOut{Final: sn == 3, ITT: cmd.ITT, TTT: p.TTT, DataSN: uint32(sn), BufferOffset: uint32(off)}, out[off:off+n])
			}
		}
		r := c.finish(&cmd, nil)
		if inOrder {
			if r.sense.ASC != scsi.ASCProtocolServiceCRCError {
				t.Errorf("%v %v of PDUs that are to be in order", r.status, r.sense)
			}
			continue
		}
		if r.status != scsi.StatusGood {
			t.Fatal(r.status, r.sense)
		}
		if r := c.good(transfer(scsi.OpRead10, 0, 16*n/512), len(out), nil); !bytes.Equal(r.data, out) {
			t.Error("the medium does not have what was written")
		}
	}
}
