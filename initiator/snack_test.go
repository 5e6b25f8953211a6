package initiator

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// atLevel is a configuration for fakes that offer an error recovery level.
func atLevel(f *fakes, level int) Config {
	f.offer = iscsi.Offer{ErrorRecoveryLevel: level, DefaultTime2Retain: 20, MaxConnections: 8}
	cfg := f.config()
	cfg.Offer.ErrorRecoveryLevel = level
	return cfg
}

// part sends a part of what a command reads, by number.
func (f *fake) part(c iscsi.SCSICommand, sn uint32, p []byte) error {
	return f.reply(&iscsi.DataIn{ITT: c.ITT, TTT: iscsi.ReservedTag, DataSN: sn, BufferOffset: 512 * sn}, false, p[512*sn:][:512])
}

// ended ends a command that read so many parts.
func (f *fake) ended(c iscsi.SCSICommand, parts uint32) error {
	return f.reply(&iscsi.SCSIResponse{ITT: c.ITT, ExpDataSN: parts}, true)
}

// wants returns an error unless the next request is a SNACK like this.
func (f *fake) wants(kind iscsi.SNACKType, itt, from, n uint32) (iscsi.SNACK, error) {
	var s iscsi.SNACK
	if err := f.request(&s); err != nil {
		return s, err
	}
	if s.Type != kind || s.ITT != itt || s.BegRun != from || s.RunLength != n {
		return s, fmt.Errorf("%+v", s)
	}
	return s, nil
}

// What is missing of a read of 1024 bytes is asked for and the command succeeds.
func TestMissing(t *testing.T) {
	data := make([]byte, 1024)
	pattern(data, 0)
	for name, script := range map[string]func(f *fake, c iscsi.SCSICommand) error{
		"data in between": func(f *fake, c iscsi.SCSICommand) error {
			if err := f.part(c, 1, data); err != nil {
				return err
			}
			_, err := f.wants(iscsi.SNACKDataR2T, c.ITT, 0, 1)
			return errors.Join(err, f.part(c, 0, data), f.ended(c, 2))
		},
		"data at the end": func(f *fake, c iscsi.SCSICommand) error {
			if err := errors.Join(f.part(c, 0, data), f.ended(c, 2)); err != nil {
				return err
			}
			s, err := f.wants(iscsi.SNACKDataR2T, c.ITT, 1, 1)
			if s.ExpStatSN != f.statSN-1 {
				err = errors.Join(err, fmt.Errorf("the status is confirmed (ExpStatSN %d) though data lacks", s.ExpStatSN))
			}
			return errors.Join(err, f.part(c, 1, data))
		},
		"data twice": func(f *fake, c iscsi.SCSICommand) error {
			return errors.Join(f.part(c, 0, data), f.part(c, 0, data), f.part(c, 1, data), f.part(c, 0, data), f.ended(c, 2))
		},
		"status": func(f *fake, c iscsi.SCSICommand) error {
			lost := f.statSN
			f.statSN++ // of the response that is lost
			err := errors.Join(f.part(c, 0, data), f.part(c, 1, data), f.reply(&iscsi.NOPIn{ITT: iscsi.ReservedTag, TTT: iscsi.ReservedTag}, false))
			if err != nil {
				return err
			}
			_, err = f.wants(iscsi.SNACKStatus, iscsi.ReservedTag, lost, 1)
			f.statSN--
			return errors.Join(err, f.ended(c, 2))
		},
		"status twice": func(f *fake, c iscsi.SCSICommand) error {
			err := errors.Join(f.part(c, 0, data), f.part(c, 1, data), f.ended(c, 2))
			f.statSN--
			return errors.Join(err, f.ended(c, 2))
		},
		"status with the data": func(f *fake, c iscsi.SCSICommand) error {
			in := iscsi.DataIn{ITT: c.ITT, TTT: iscsi.ReservedTag, DataSN: 1, BufferOffset: 512, HasStatus: true}
			if err := f.reply(&in, true, data[512:]); err != nil {
				return err
			}
			_, err := f.wants(iscsi.SNACKDataR2T, c.ITT, 0, 1)
			return errors.Join(err, f.part(c, 0, data))
		},
		"acknowledged": func(f *fake, c iscsi.SCSICommand) error {
			in := iscsi.DataIn{ITT: c.ITT, TTT: 77, DataSN: 1, BufferOffset: 512, Acknowledge: true}
			if err := errors.Join(f.part(c, 0, data), f.reply(&in, false, data[512:])); err != nil {
				return err
			}
			s, err := f.wants(iscsi.SNACKDataACK, iscsi.ReservedTag, 2, 0)
			if s.TTT != 77 {
				err = errors.Join(err, fmt.Errorf("%+v", s))
			}
			return errors.Join(err, f.ended(c, 2))
		},
		"acknowledged after what is missing": func(f *fake, c iscsi.SCSICommand) error {
			in := iscsi.DataIn{ITT: c.ITT, TTT: 77, DataSN: 1, BufferOffset: 512, Acknowledge: true}
			if err := f.reply(&in, false, data[512:]); err != nil {
				return err
			}
			_, err := f.wants(iscsi.SNACKDataR2T, c.ITT, 0, 1)
			if err := errors.Join(err, f.part(c, 0, data)); err != nil {
				return err
			}
			_, err = f.wants(iscsi.SNACKDataACK, iscsi.ReservedTag, 2, 0)
			return errors.Join(err, f.ended(c, 2))
		},
		"command damaged": func(f *fake, c iscsi.SCSICommand) error {
			var b iscsi.BHS
			c.Encode(&b)
			f.expCmdSN--
			if err := f.reply(&iscsi.Reject{Reason: iscsi.RejectDataDigest}, true, b[:]); err != nil {
				return err
			}
			again, err := f.command()
			if again.CmdSN != c.CmdSN || again.ITT != c.ITT || again.CDB != c.CDB {
				return errors.Join(err, fmt.Errorf("%+v, was %+v", again, c))
			}
			return errors.Join(err, f.part(c, 0, data), f.part(c, 1, data), f.ended(c, 2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var result error
			targets := newFakes(t, func(f *fake) error {
				c, err := f.command()
				result = errors.Join(err, script(f, c))
				return errors.Join(result, f.rest())
			})
			s := dial(t, atLevel(targets, 1))
			got := make([]byte, 1024)
			r, err := s.Execute(soon(t), Command{CDB: scsi.ReadCDB(0, 2), In: got})
			if err != nil || r.Err() != nil || r.Residual != 0 || !bytes.Equal(got, data) {
				t.Errorf("%+v, %v, right: %v", r, err, bytes.Equal(got, data))
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if targets.wg.Wait(); result != nil {
				t.Error(result)
			}
		})
	}
}

// Damaged data, and a damaged response, are asked for again.
func TestDamaged(t *testing.T) {
	data := make([]byte, 1024)
	pattern(data, 0)
	damage := func(f *fake, p iscsi.PDU, uses bool, data []byte) error {
		f.damage = true
		err := f.reply(p, uses, data)
		f.damage = false
		return err
	}
	for name, script := range map[string]func(f *fake, c iscsi.SCSICommand) error{
		"data": func(f *fake, c iscsi.SCSICommand) error {
			in := iscsi.DataIn{ITT: c.ITT, TTT: iscsi.ReservedTag}
			for range 3 {
				if err := damage(f, &in, false, data[:512]); err != nil {
					return err
				}
				if _, err := f.wants(iscsi.SNACKDataR2T, c.ITT, 0, 1); err != nil {
					return err
				}
			}
			return errors.Join(f.part(c, 0, data), f.part(c, 1, data), f.ended(c, 2))
		},
		"data with the status": func(f *fake, c iscsi.SCSICommand) error {
			in := iscsi.DataIn{ITT: c.ITT, TTT: iscsi.ReservedTag, DataSN: 1, BufferOffset: 512, HasStatus: true}
			if err := errors.Join(f.part(c, 0, data), damage(f, &in, true, data[512:])); err != nil {
				return err
			}
			_, err := f.wants(iscsi.SNACKDataR2T, c.ITT, 1, 1)
			f.statSN--
			return errors.Join(err, f.reply(&in, true, data[512:]))
		},
		"response": func(f *fake, c iscsi.SCSICommand) error {
			sense := iscsi.AppendSense(nil, make([]byte, 18))
			lost := f.statSN
			r := iscsi.SCSIResponse{ITT: c.ITT, ExpDataSN: 2}
			if err := errors.Join(f.part(c, 0, data), f.part(c, 1, data), damage(f, &r, true, sense)); err != nil {
				return err
			}
			_, err := f.wants(iscsi.SNACKStatus, iscsi.ReservedTag, lost, 1)
			f.statSN--
			return errors.Join(err, f.reply(&r, true, sense))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var result error
			targets := newFakes(t, func(f *fake) error {
				c, err := f.command()
				result = errors.Join(err, script(f, c))
				return errors.Join(result, f.rest())
			})
			cfg := atLevel(targets, 1)
			targets.offer.DataDigest, cfg.Offer.DataDigest = iscsi.DigestAllow, iscsi.DigestRequire
			s := dial(t, cfg)
			got := make([]byte, 1024)
			r, err := s.Execute(soon(t), Command{CDB: scsi.ReadCDB(0, 2), In: got})
			if err != nil || r.Err() != nil || !bytes.Equal(got, data) {
				t.Errorf("%+v, %v, right: %v", r, err, bytes.Equal(got, data))
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if targets.wg.Wait(); result != nil {
				t.Error(result)
			}
		})
	}
}

// A request for data that does not come is asked for; the others are not answered
// out of turn.
func TestMissingR2T(t *testing.T) {
	want := make([]byte, 1024)
	pattern(want, 0)
	got := make([]byte, 1024)
	var result error
	targets := newFakes(t, func(f *fake) error {
		c, err := f.command()
		ask := func(sn uint32) error {
			return f.reply(&iscsi.R2T{ITT: c.ITT, TTT: sn, R2TSN: sn, BufferOffset: 512 * sn, DesiredLength: 512}, false)
		}
		answer := func() error {
			b, data, err := f.next()
			var out iscsi.DataOut
			if err = errors.Join(err, out.Decode(&b)); err == nil {
				copy(got[out.BufferOffset:], data)
			}
			return err
		}
		if err = errors.Join(err, ask(1)); err == nil {
			for range 2 { // the SNACK and the data come in any order
				b, data, err := f.next()
				if err != nil {
					return err
				}
				if b.Opcode() == iscsi.OpDataOut {
					copy(got[512:], data)
					continue
				}
				var s iscsi.SNACK
				if err := s.Decode(&b); err != nil || s.BegRun != 0 || s.RunLength != 1 || s.ITT != c.ITT {
					result = fmt.Errorf("%+v, %w", s, err)
				}
			}
			err = errors.Join(ask(0), answer(), f.good(c))
		}
		result = errors.Join(result, err)
		return errors.Join(result, f.rest())
	})
	cfg := atLevel(targets, 1)
	cfg.Offer.InitialR2T, cfg.Offer.NoImmediateData, cfg.Offer.MaxOutstandingR2T = true, true, 2
	targets.offer.MaxOutstandingR2T = 2
	s := dial(t, cfg)
	if r, err := s.Execute(soon(t), Command{CDB: scsi.WriteCDB(0, 2), Out: want}); err != nil || r.Err() != nil || !bytes.Equal(got, want) {
		t.Errorf("%+v, %v, right: %v", r, err, bytes.Equal(got, want))
	}
	s.Close()
	if targets.wg.Wait(); result != nil {
		t.Error(result)
	}
}

// A write that fails is over, though requests for its data were lost.
func TestMissingR2TOfFailure(t *testing.T) {
	targets := newFakes(t, func(f *fake) error {
		c, err := f.command()
		err = errors.Join(err, f.reply(&iscsi.R2T{ITT: c.ITT, TTT: 5, R2TSN: 5, DesiredLength: 512}, false),
			f.check(c, scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)))
		return errors.Join(err, f.rest())
	})
	cfg := atLevel(targets, 1)
	cfg.Offer.InitialR2T, cfg.Offer.NoImmediateData = true, true
	s := dial(t, cfg)
	r, err := s.Execute(soon(t), Command{CDB: scsi.WriteCDB(0, 2), Out: make([]byte, 1024)})
	if err != nil || r.Err() == nil {
		t.Errorf("%+v, %v", r, err)
	}
	if err := s.Close(); err != nil || s.cur.Load().connections()[0].missing.Load() != 0 {
		t.Error(err)
	}
}

// What does not come though it was asked for, or is refused, costs the connection.
func TestMissingForGood(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(f *fake, b iscsi.BHS) error
		want   string
	}{
		"silence": {func(f *fake, _ iscsi.BHS) error {
			for { // but for pings
				b, _, err := f.next()
				if err != nil {
					return err
				}
				if b.Opcode() == iscsi.OpNOPOut {
					if err := f.reply(&iscsi.NOPIn{ITT: b.ITT(), TTT: iscsi.ReservedTag}, true); err != nil {
						return err
					}
				}
			}
		}, "has not sent again"},
		"refusal": {func(f *fake, b iscsi.BHS) error {
			return errors.Join(f.reply(&iscsi.Reject{Reason: iscsi.RejectSNACK}, true, b[:]), f.rest())
		}, "rejects the SNACK"},
		"far too much": {func(f *fake, b iscsi.BHS) error {
			return errors.Join(f.reply(&iscsi.DataIn{ITT: b.ITT(), DataSN: 1 << 30, TTT: iscsi.ReservedTag}, false), f.rest())
		}, "PDUs are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				targets := newFakes(t, func(f *fake) error {
					cmd, err := f.command()
					if err = errors.Join(err, f.part(cmd, 1, make([]byte, 1024))); err != nil {
						return err
					}
					b, _, err := f.next()
					if err != nil {
						return err
					}
					return c.answer(f, b)
				})
				s := dial(t, atLevel(targets, 1))
				start := time.Now()
				_, err := s.Execute(t.Context(), Command{CDB: scsi.ReadCDB(0, 2), In: make([]byte, 1024)})
				checkError(t, err, expect{is: ErrConnectionLost, message: c.want})
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("after %v", took)
				}
				s.Close()
			})
		})
	}
}

// A command that the target has not got is sent again, under its number, once a ping
// has shown that.
func TestCommandRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, again iscsi.SCSICommand
		targets := newFakes(t, func(f *fake) (err error) {
			if first, err = f.command(); err != nil {
				return err
			}
			f.expCmdSN-- // it was dropped
			var ping iscsi.NOPOut
			if err := f.request(&ping); err != nil {
				return err
			}
			if err := f.reply(&iscsi.NOPIn{ITT: ping.ITT, TTT: iscsi.ReservedTag}, true); err != nil {
				return err
			}
			if again, err = f.command(); err != nil {
				return err
			}
			return errors.Join(f.good(again), f.rest())
		})
		s := dial(t, atLevel(targets, 1))
		if r, err := s.Execute(t.Context(), Command{}); err != nil || r.Err() != nil {
			t.Errorf("%+v, %v", r, err)
		}
		again.ExpStatSN = first.ExpStatSN
		if fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("%+v, at first %+v", again, first)
		}
		s.Close()
	})
}
