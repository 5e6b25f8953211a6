package initiator

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// answerText answers the next text request, whose whole text it returns, in parts of
// so many bytes.
func (f *fake) answerText(text string, part int) (string, error) {
	var asked strings.Builder
	for {
		b, data, err := f.next()
		if err != nil {
			return "", err
		}
		var r iscsi.TextRequest
		if err := r.Decode(&b); err != nil {
			return "", err
		}
		asked.Write(data)
		n := min(part, len(text))
		resp := iscsi.TextResponse{ITT: r.ITT, TTT: iscsi.ReservedTag, Final: n == len(text), Continue: n < len(text)}
		if !resp.Final {
			resp.TTT = 5
		}
		if err := f.reply(&resp, true, []byte(text[:n])); err != nil || resp.Final {
			return asked.String(), err
		}
		text = text[n:]
	}
}

// Text goes both ways in the midst of a session, and the length of segments that the
// target then names holds.
func TestNegotiate(t *testing.T) {
	var asked string
	var immediate int
	targets := newFakes(t, func(f *fake) (err error) {
		if asked, err = f.answerText("X-com.example.color=blue\x00MaxRecvDataSegmentLength=512\x00", 20); err != nil {
			return err
		}
		b, data, err := f.next()
		immediate = len(data)
		var c iscsi.SCSICommand
		err = errors.Join(err, c.Decode(&b))
		for got := len(data); got < 1024 && err == nil; {
			_, data, err = f.next()
			got += len(data)
		}
		return errors.Join(err, f.good(c), f.rest())
	})
	s := dial(t, targets.config())
	answer, err := s.Negotiate(soon(t), iscsi.Text{{Key: "X-com.example.shape", Value: "round"}})
	if color, _ := answer.Get("X-com.example.color"); err != nil || color != "blue" {
		t.Errorf("answer %v, %v", answer, err)
	}
	if r, err := s.Execute(soon(t), Command{CDB: scsi.WriteCDB(0, 2), Out: make([]byte, 1024)}); err != nil || r.Err() != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	targets.wg.Wait()
	if want := "MaxRecvDataSegmentLength=262144\x00X-com.example.shape=round\x00"; asked != want {
		t.Errorf("asked %q", asked)
	}
	if immediate != 512 {
		t.Errorf("%d bytes of immediate data", immediate)
	}
}

// A target that asks for negotiation gets it, with the session as it was.
func TestAskedToNegotiate(t *testing.T) {
	var asked string
	targets := newFakes(t, func(f *fake) error {
		c, err := f.command()
		if err == nil {
			err = f.reply(&iscsi.AsyncMessage{Event: iscsi.AsyncNegotiate, Param3: 3}, true)
		}
		if err == nil {
			asked, err = f.answerText("", 1)
		}
		return errors.Join(err, f.good(c), f.rest())
	})
	s := dial(t, targets.config())
	if r, err := s.Execute(soon(t), Command{}); err != nil || r.Err() != nil {
		t.Errorf("%+v, %v", r, err)
	}
	err := s.Close()
	targets.wg.Wait()
	if err != nil || !strings.HasPrefix(asked, keyMaxSegment) {
		t.Errorf("asked %q, %v", asked, err)
	}
}

func TestNegotiateFaults(t *testing.T) {
	for name, c := range map[string]struct {
		script script
		want   string
		lives  bool
	}{
		"refused": {func(f *fake) error {
			b, _, err := f.next()
			return errors.Join(err, f.reply(&iscsi.Reject{Reason: iscsi.RejectProtocolError}, true, b[:]), f.rest())
		}, "rejects the Text Request", true},
		"silence": {func(f *fake) error { return f.rest() }, "deadline", false},
		"nonsense": {func(f *fake) error {
			_, err := f.answerText("nonsense\x00", 100)
			return errors.Join(err, f.rest())
		}, "", true},
		"bad length": {func(f *fake) error {
			_, err := f.answerText("MaxRecvDataSegmentLength=1\x00", 100)
			return errors.Join(err, f.rest())
		}, "MaxRecvDataSegmentLength=1", true},
		"no tag": {func(f *fake) error {
			b, _, err := f.next()
			return errors.Join(err, f.reply(&iscsi.TextResponse{ITT: b.ITT(), TTT: iscsi.ReservedTag}, true), f.rest())
		}, "no transfer tag", false},
		"another's": {func(f *fake) error {
			_, _, err := f.next()
			return errors.Join(err, f.reply(&iscsi.TextResponse{ITT: 1, TTT: iscsi.ReservedTag, Final: true}, true), f.rest())
		}, "which no request has", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				targets := newFakes(t, c.script)
				s := dial(t, targets.config())
				ctx := soon(t)
				_, err := s.Negotiate(ctx, nil)
				var e *Error
				if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || s.Connected() != c.lives {
					t.Errorf("%v, connected: %v", err, s.Connected())
				}
				s.Close()
			})
		})
	}
}

// A SCSI event that the target tells of its own accord is told to who listens.
func TestEvent(t *testing.T) {
	e := scsi.CheckCondition(scsi.KeyUnitAttention, scsi.ASCCapacityChanged)
	sense := iscsi.AppendSense(nil, e.Sense.AppendFixed(nil))
	disk := zeroDisk{blocks: 100}
	disk.before = func(f *fake, c iscsi.SCSICommand) error {
		if c.CDB[0] != byte(scsi.OpRead10) || disk.blocks == 200 {
			return nil
		}
		disk.blocks = 200
		return errors.Join(
			f.reply(&iscsi.AsyncMessage{Event: iscsi.AsyncSCSI}, true, []byte{9, 9, 9}), // no sense
			f.reply(&iscsi.AsyncMessage{Event: iscsi.AsyncSCSI, LUN: 7}, true, sense),   // another LUN
			f.reply(&iscsi.AsyncMessage{Event: iscsi.AsyncSCSI}, true, sense))
	}
	targets := newFakes(t, disk.serveAll)
	s := dial(t, targets.config())
	l := openLUN(t, s, 0)
	heard := make(chan scsi.Sense, 10)
	l.OnAttention(func(sense scsi.Sense) { heard <- sense })
	if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	select {
	case sense := <-heard:
		if sense.ASC != scsi.ASCCapacityChanged {
			t.Errorf("heard %v", sense)
		}
	case <-soon(t).Done():
		t.Fatal("heard nothing")
	}
	l.OnAttention(nil)
	if _, err := l.ReadAt(make([]byte, 512), 0); err != nil || l.Size() != 200*512 {
		t.Errorf("size %d, %v", l.Size(), err)
	}
	s.Close()
	if len(heard) != 0 {
		t.Error("heard of another LUN, too")
	}
}
