package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/store/nbd"
)

// nbdOpenTimeout is how long an NBD server may take to let us in.
const nbdOpenTimeout = 30 * time.Second

// open opens what m says; readOnly has it opened for reading only. docs/stores.md
// tells of the kinds.
func (m Medium) open(readOnly bool, log *slog.Logger) (store.Store, error) {
	timeout, err := m.timeout()
	if err != nil {
		return nil, err
	}
	switch {
	case (m.Path == "") == (m.NBD == ""):
		return nil, errors.New("give it a path or nbd, one of them")
	case m.NBD != "" && (m.Direct || m.Preallocate):
		return nil, errors.New("direct and preallocate are for a path: with nbd they are the server's to do")
	case m.NBD != "":
		ctx, cancel := context.WithTimeout(context.Background(), nbdOpenTimeout)
		defer cancel()
		s, err := nbd.Open(ctx, m.NBD, nbd.Config{
			ReadOnly: readOnly, ReconnectTimeout: timeout, ReplyTimeout: timeout, Logger: log,
		})
		if err != nil {
			return nil, inField("nbd", err)
		}
		return s, nil
	}
	file, err := store.OpenFile(m.Path, store.FileOptions{ReadOnly: readOnly, Direct: m.Direct, Preallocate: m.Preallocate})
	switch {
	case err != nil:
		return nil, inField("path", err)
	case timeout == 0:
		return file, nil
	}
	return store.NewTimed(file, timeout), nil
}

func (m Medium) timeout() (time.Duration, error) {
	if m.Timeout == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(m.Timeout)
	if err != nil || d <= 0 {
		return 0, inField("timeout", fmt.Errorf("timeout %q is no duration such as 30s", m.Timeout))
	}
	return d, nil
}
