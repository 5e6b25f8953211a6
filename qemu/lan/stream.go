package lan

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"gvisor.dev/gvisor/pkg/buffer"
)

const (
	lengthSize = 4         // QEMU, net/stream.c: the frame's length, most significant byte first.
	batchSize  = 256 << 10 // How much one read or write of a socket moves at most.
)

// readFrames hands over each frame of a stream until the stream ends: io.EOF at a frame's boundary, or an error.
func readFrames(r io.Reader, deliver func(frame)) error {
	br := bufio.NewReaderSize(r, batchSize)
	for {
		head, err := br.Peek(lengthSize)
		if err != nil {
			if err == io.EOF && len(head) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		n := binary.BigEndian.Uint32(head)
		if n < minFrame || n > maxFrame {
			return fmt.Errorf("lan: frame of %d bytes: want %d to %d", n, minFrame, maxFrame)
		}
		br.Discard(lengthSize) // Cannot fail: the bytes were peeked.
		f := buffer.NewViewSize(int(n))
		if _, err := io.ReadFull(br, f.AsSlice()); err != nil {
			f.Release()
			return fmt.Errorf("lan: in a frame of %d bytes: %w", n, io.ErrUnexpectedEOF)
		}
		deliver(f)
	}
}

// writeFrames writes a queue's frames to a stream, as many in one write as wait, until the queue is closed (nil) or the
// stream fails.
func writeFrames(w io.Writer, q *queue) error {
	bw := bufio.NewWriterSize(w, batchSize)
	var frames []frame
	for {
		var ok bool
		if frames, ok = q.take(frames); !ok {
			return nil
		}
		for _, f := range frames {
			putFrame(bw, f.AsSlice())
		}
		release(frames)
		if err := bw.Flush(); err != nil {
			return err
		}
	}
}

// putFrame appends one frame; a bufio.Writer keeps its first error until Flush.
func putFrame(bw *bufio.Writer, f []byte) {
	bw.Write(binary.BigEndian.AppendUint32(bw.AvailableBuffer(), uint32(len(f))))
	bw.Write(f)
}
