package nbd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// export is what the server says of the export.
type export struct {
	size       int64
	flags      transmission
	minimum    int64 // requests are multiples of it; 1: any
	maximum    int64 // the most data of one request
	structured bool  // replies are
	maps       bool  // base:allocation was agreed on
	context    uint32
}

// maxOptionReply bounds what is read of an answer to an option.
const maxOptionReply = 64 << 10

// handshake is one connection before it takes requests.
type handshake struct {
	nc net.Conn
	br *bufio.Reader
}

// connect dials the server and agrees with it on the export.
func (s *Store) connect(ctx context.Context, timeout time.Duration) (*conn, export, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	nc, err := s.cfg.Dial(ctx, s.at.network, s.at.address)
	if err != nil {
		return nil, export{}, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	h := &handshake{nc, bufio.NewReaderSize(nc, readBuffer)}
	e, err := h.run(ctx, s.at, s.cfg.TLS)
	if !stop() || err != nil {
		nc.Close()
		if err == nil || ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, export{}, fmt.Errorf("handshake: %w", err)
	}
	return &conn{nc: h.nc, br: h.br}, e, nil
}

// run goes from the server's greeting to the transmission phase ("Fixed newstyle
// negotiation").
func (h *handshake) run(ctx context.Context, at location, tlsConfig *tls.Config) (e export, err error) {
	if err := h.greet(); err != nil {
		return e, err
	}
	if tlsConfig != nil {
		if err := h.startTLS(ctx, tlsConfig); err != nil {
			return e, fmt.Errorf("TLS: %w", err)
		}
	}
	if e.structured, err = h.tryOption(optStructuredReply, nil, nil); err != nil {
		return e, err
	}
	if e.structured {
		if err := h.askForMap(at.export, &e); err != nil {
			return e, err
		}
	}
	return e, h.goOn(at.export, &e)
}

func (h *handshake) greet() error {
	var b [18]byte
	if _, err := io.ReadFull(h.br, b[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint64(b[0:]) != magicServer || binary.BigEndian.Uint64(b[8:]) != magicOption {
		return errors.New("it is no NBD server, or one of the oldstyle handshake")
	}
	flags := binary.BigEndian.Uint16(b[16:])
	if flags&flagFixedNewstyle == 0 {
		return errors.New("the server does not have the fixed newstyle handshake")
	}
	_, err := h.nc.Write(binary.BigEndian.AppendUint32(nil, uint32(flags&(flagFixedNewstyle|flagNoZeroes))))
	return err
}

func (h *handshake) startTLS(ctx context.Context, config *tls.Config) error {
	ok, err := h.tryOption(optStartTLS, nil, nil)
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("the server does not have it")
	case h.br.Buffered() > 0:
		return fmt.Errorf("%w: it talks before TLS", errProtocol)
	}
	secured := tls.Client(h.nc, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	h.nc, h.br = secured, bufio.NewReaderSize(secured, readBuffer)
	return nil
}

// askForMap asks for the context that tells what is allocated.
func (h *handshake) askForMap(name string, e *export) error {
	data := appendString(nil, name)
	data = binary.BigEndian.AppendUint32(data, 1)
	data = appendString(data, contextAllocation)
	_, err := h.tryOption(optSetMetaContext, data, func(kind uint32, b []byte) error {
		if kind == repMetaContext && len(b) >= 4 && string(b[4:]) == contextAllocation {
			e.maps, e.context = true, binary.BigEndian.Uint32(b)
		}
		return nil
	})
	return err
}

// goOn asks for the export, and so ends the handshake.
func (h *handshake) goOn(name string, e *export) error {
	data := appendString(nil, name)
	data = binary.BigEndian.AppendUint16(data, 1)
	data = binary.BigEndian.AppendUint16(data, infoBlockSize)
	e.minimum, e.maximum = 1, maxRequest
	e.size = -1
	ok, err := h.tryOption(optGo, data, func(kind uint32, b []byte) error {
		if kind != repInfo || len(b) < 2 {
			return nil
		}
		return e.learn(binary.BigEndian.Uint16(b), b[2:])
	})
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("the server does not have NBD_OPT_GO: it is too old")
	case e.size < 0 || !e.flags.has(hasFlags):
		return fmt.Errorf("%w: it does not describe the export", errProtocol)
	case e.size%e.minimum != 0:
		return fmt.Errorf("the export has %d bytes, which are not whole blocks of %d", e.size, e.minimum)
	}
	return nil
}

// learn takes one information about the export.
func (e *export) learn(kind uint16, b []byte) error {
	switch {
	case kind == infoExport && len(b) == 10:
		size := binary.BigEndian.Uint64(b)
		if size > 1<<62 {
			return fmt.Errorf("%w: the export has %d bytes", errProtocol, size)
		}
		e.size, e.flags = int64(size), transmission(binary.BigEndian.Uint16(b[8:]))
	case kind == infoBlockSize && len(b) == 12:
		least, most := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[8:])
		if least == 0 || least&(least-1) != 0 || least > 64<<10 || most < least {
			return fmt.Errorf("%w: blocks from %d to %d bytes", errProtocol, least, most)
		}
		e.minimum = int64(least)
		e.maximum = min(maxRequest, int64(most)) / e.minimum * e.minimum
	case kind == infoExport || kind == infoBlockSize:
		return fmt.Errorf("%w: information %d has %d bytes", errProtocol, kind, len(b))
	}
	return nil
}

// tryOption asks for an option and gives what comes before its ACK to each. It
// reports false if the server does not have the option; any other refusal is an
// error.
func (h *handshake) tryOption(option uint32, data []byte, each func(kind uint32, data []byte) error) (bool, error) {
	req := binary.BigEndian.AppendUint64(nil, magicOption)
	req = binary.BigEndian.AppendUint32(req, option)
	req = binary.BigEndian.AppendUint32(req, uint32(len(data)))
	if _, err := h.nc.Write(append(req, data...)); err != nil {
		return false, err
	}
	for {
		kind, b, err := h.optionReply(option)
		switch {
		case err != nil:
			return false, err
		case kind == repAck:
			return true, nil
		case kind == repError|1: // NBD_REP_ERR_UNSUP
			return false, nil
		case kind&repError != 0:
			return false, refusal(kind, b)
		case each == nil:
			return false, fmt.Errorf("%w: reply %d to option %d", errProtocol, kind, option)
		}
		if err := each(kind, b); err != nil {
			return false, err
		}
	}
}

func (h *handshake) optionReply(option uint32) (kind uint32, data []byte, err error) {
	var b [20]byte
	if _, err := io.ReadFull(h.br, b[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(b[16:])
	switch {
	case binary.BigEndian.Uint64(b[0:]) != magicOptReply, binary.BigEndian.Uint32(b[8:]) != option:
		return 0, nil, fmt.Errorf("%w: no reply to option %d", errProtocol, option)
	case n > maxOptionReply:
		return 0, nil, fmt.Errorf("%w: a reply of %d bytes to option %d", errProtocol, n, option)
	}
	data = make([]byte, n)
	_, err = io.ReadFull(h.br, data)
	return binary.BigEndian.Uint32(b[12:]), data, err
}

// refusal is the server's no to an option, in its words if it has some.
func refusal(kind uint32, message []byte) error {
	why, ok := map[uint32]string{
		2: "forbidden by its policy", 3: "invalid", 4: "not supported on its platform", 5: "TLS is required: use nbds",
		6: "there is no such export", 7: "it is shutting down", 8: "it needs to know of block sizes", 9: "too big",
	}[kind&^repError]
	if !ok {
		why = fmt.Sprintf("error %d", kind&^repError)
	}
	if len(message) > 0 {
		return fmt.Errorf("the server refuses: %s: %q", why, message)
	}
	return fmt.Errorf("the server refuses: %s", why)
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
