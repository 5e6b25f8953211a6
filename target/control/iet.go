package control

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
)

// IETSessions returns the sessions in the format of /proc/net/iet/session, as
// scripts made for the iSCSI Enterprise Target read it. Targets are numbered in
// their order.
func (s *Status) IETSessions() string {
	var b strings.Builder
	for i := range s.Targets {
		t := &s.Targets[i]
		fmt.Fprintf(&b, "tid:%d name:%s\n", i+1, t.Name)
		for j := range t.Sessions {
			sess := &t.Sessions[j]
			fmt.Fprintf(&b, "\tsid:%d initiator:%s\n", sess.sid(), sess.Initiator)
			for _, c := range sess.Connections {
				host, _, err := net.SplitHostPort(c.Remote)
				if err != nil {
					host = c.Remote
				}
				fmt.Fprintf(&b, "\t\tcid:%d ip:%s state:active hd:%s dd:%s\n", c.CID, host, ietDigest(c.HeaderDigest), ietDigest(c.DataDigest))
			}
		}
	}
	return b.String()
}

// sid is the session's identifier as that kernel module has it: ISID and TSIH as
// one number of a little-endian machine.
func (s *SessionStatus) sid() uint64 {
	var id [8]byte
	if isid, err := hex.DecodeString(s.ISID); err == nil {
		copy(id[:6], isid)
	}
	binary.LittleEndian.PutUint16(id[6:], s.TSIH)
	return binary.LittleEndian.Uint64(id[:])
}

func ietDigest(on bool) string {
	if on {
		return "crc32c"
	}
	return "none"
}

// IETVolumes returns the LUNs in the format of /proc/net/iet/volume.
func (s *Status) IETVolumes() string {
	var b strings.Builder
	for i := range s.Targets {
		t := &s.Targets[i]
		fmt.Fprintf(&b, "tid:%d name:%s\n", i+1, t.Name)
		for j := range t.LUNs {
			l := &t.LUNs[j]
			mode := "wb"
			switch {
			case l.ReadOnly:
				mode = "ro"
			case l.WriteThrough:
				mode = "wt"
			}
			kind := "fileio"
			if strings.HasPrefix(l.Path, "/dev/") {
				kind = "blockio"
			}
			fmt.Fprintf(&b, "\tlun:%d state:0 iotype:%s iomode:%s path:%s\n", l.Number, kind, mode, l.Path)
		}
	}
	return b.String()
}
