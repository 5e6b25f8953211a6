package main

import (
	"bytes"
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/scsi"
)

// piece is a part of a disk or file; without data it is zeros.
type piece struct {
	off, length int64
	data        []byte
}

// ahead is how many pieces are read before the first is used.
const ahead = 3

// pipeline has source fill pieces in one goroutine and gives them to take, in order, in another. A piece's data is valid
// until take returns.
func pipeline(ctx context.Context, source func(ctx context.Context, buf []byte) (piece, error), take func(piece) error) error {
	g, ctx := errgroup.WithContext(ctx)
	full, empty := make(chan piece, ahead), make(chan []byte, ahead)
	for range ahead {
		empty <- make([]byte, copyUnit)
	}
	g.Go(func() error {
		defer close(full)
		for {
			var buf []byte
			select {
			case buf = <-empty:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			p, err := source(ctx, buf)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if p.data == nil {
				empty <- buf
			}
			select {
			case full <- p:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	g.Go(func() error {
		for p := range full {
			if err := take(p); err != nil {
				return err
			}
			if p.data != nil {
				empty <- p.data[:copyUnit]
			}
		}
		return nil
	})
	return g.Wait()
}

// readPieces reads a part of a disk, of which it skips what the disk says it does not use.
func readPieces(ctx context.Context, lun *initiator.LUN, from, to int64, take func(piece) error) error {
	m := usage{lun: lun, known: !lun.Capacity().Provisioned || !lun.Capacity().ReadZeros, until: from}
	return pipeline(ctx, func(ctx context.Context, buf []byte) (piece, error) {
		if from >= to {
			return piece{}, io.EOF
		}
		free, err := m.free(ctx, from)
		if err != nil {
			return piece{}, err
		}
		p := piece{off: from, length: min(to-from, int64(len(buf)))}
		if free > 0 {
			p.length = min(to-from, free)
		} else {
			p.data = buf[:p.length]
			_, err = lun.ReadAtContext(ctx, p.data, from)
		}
		from += p.length
		return p, err
	}, take)
}

// readFilePieces reads a part of a file; pieces of zeros come without data.
func readFilePieces(ctx context.Context, f io.ReaderAt, from, to int64, take func(piece) error) error {
	return pipeline(ctx, func(_ context.Context, buf []byte) (piece, error) {
		if from >= to {
			return piece{}, io.EOF
		}
		p := piece{off: from, length: min(to-from, int64(len(buf)))}
		p.data = buf[:p.length]
		n, err := f.ReadAt(p.data, from)
		if err == io.EOF && int64(n) == p.length {
			err = nil
		}
		if isZero(p.data) {
			p.data = nil
		}
		from += p.length
		return p, err
	}, take)
}

func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// usage asks a disk which of its blocks it uses (GET LBA STATUS; SBC-4, 5.6).
type usage struct {
	lun   *initiator.LUN
	known bool  // there is no more to ask
	until int64 // before this, what is used
}

// free returns how many bytes from an offset on are not in use, which read as zeros; 0 if that one is.
func (u *usage) free(ctx context.Context, off int64) (int64, error) {
	if u.known || off < u.until {
		return 0, nil
	}
	size := int64(u.lun.BlockSize())
	in := make([]byte, 8+16)
	cdb := scsi.GetLBAStatus{LBA: uint64(off / size), Length: uint32(len(in))}.CDB()
	res, err := u.lun.Execute(ctx, initiator.Command{CDB: cdb, In: in})
	if err != nil {
		return 0, err
	}
	if res.Err() != nil { // it may be thin and not tell
		u.known = true
		return 0, nil
	}
	list, err := scsi.ParseLBAStatus(in[:len(in)-min(max(res.Residual, 0), len(in))])
	if err != nil || len(list) == 0 || list[0].Blocks == 0 || list[0].LBA > uint64(off/size) {
		u.known = true
		return 0, nil
	}
	end := (int64(list[0].LBA) + int64(list[0].Blocks)) * size
	if end <= off {
		return 0, errors.New("GET LBA STATUS tells of other blocks than those asked for")
	}
	if list[0].State != scsi.BlocksDeallocated {
		u.until = end
		return 0, nil
	}
	return end - off, nil
}
