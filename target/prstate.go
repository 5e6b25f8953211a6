package target

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// stateVersion is the version of the file that reservations are kept in.
const stateVersion = 1

// stateFile is that file: what APTPL keeps over a restart (SPC-4, 5.12.5).
type stateFile struct {
	Version       int          `json:"version"`
	Registrations []stateEntry `json:"registrations"`
	Type          uint8        `json:"type,omitempty"`   // of the reservation; 0: there is none
	Holder        int          `json:"holder,omitempty"` // index of its registration, unless it is all's
}

type stateEntry struct {
	Initiator string `json:"initiator"`
	ISID      string `json:"isid"` // hexadecimal
	Target    string `json:"target"`
	Tag       uint16 `json:"portalGroup"`
	Key       string `json:"key"` // hexadecimal
}

// save writes the reservations to a file, in whose place whoever reads it finds
// the old or the new ones, whenever the power fails. Those that are not for
// restarts leave no file.
func (r *reservations) save(path string) error {
	if !r.persist {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(path)
	}
	text, err := json.MarshalIndent(r.state(), "", "\t")
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := writeSynced(tmp, append(text, '\n')); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(path)
}

func (r *reservations) state() stateFile {
	s := stateFile{Version: stateVersion, Type: uint8(r.kind), Holder: max(0, r.index(r.holder))}
	for _, reg := range r.list {
		s.Registrations = append(s.Registrations, stateEntry{
			Initiator: reg.nexus.initiator, ISID: hex.EncodeToString(reg.nexus.isid[:]),
			Target: reg.nexus.port.target, Tag: reg.nexus.port.tag, Key: fmt.Sprintf("%016x", reg.key),
		})
	}
	return s
}

func writeSynced(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes the names in a file's folder last.
func syncDir(path string) (err error) {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

// loadReservations reads what save has written. No file, or no path, is no
// reservations.
func loadReservations(path string) (*reservations, error) {
	if path == "" {
		return new(reservations), nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return new(reservations), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reservations: %w", err)
	}
	r, err := parseState(text)
	if err != nil {
		return nil, fmt.Errorf("reservations: %s: %w: bring back the file, or remove it to begin without reservations", path, err)
	}
	return r, nil
}

func parseState(text []byte) (*reservations, error) {
	var s stateFile
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	r := &reservations{persist: true, kind: scsi.ReservationType(s.Type)}
	switch {
	case s.Version != stateVersion:
		return nil, fmt.Errorf("version %d, want %d", s.Version, stateVersion)
	case r.kind != 0 && !r.kind.Valid():
		return nil, fmt.Errorf("there is no %v", r.kind)
	case r.kind != 0 && (s.Holder < 0 || s.Holder >= len(s.Registrations)):
		return nil, errors.New("the holder is not registered")
	case len(s.Registrations) > maxRegistrations:
		return nil, fmt.Errorf("%d registrations, at most %d can be", len(s.Registrations), maxRegistrations)
	}
	for _, e := range s.Registrations {
		key, err := strconv.ParseUint(e.Key, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		isid, err := hex.DecodeString(e.ISID)
		if err != nil || len(isid) != len(iscsi.ISID{}) {
			return nil, fmt.Errorf("%q is no ISID", e.ISID)
		}
		n := nexusName{e.Initiator, iscsi.ISID(isid), portID{e.Target, e.Tag}}
		if r.registered(n) || key == 0 {
			return nil, fmt.Errorf("%s is registered twice, or with no key", n.transportID())
		}
		r.set(n, key)
	}
	if r.kind != 0 && !r.kind.AllRegistrants() {
		r.holder = r.list[s.Holder].nexus
	}
	return r, nil
}
