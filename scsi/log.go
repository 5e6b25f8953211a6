package scsi

import (
	"encoding/binary"
	"fmt"
)

// LogPage is the code of a log page (SPC-4, 7.3; SBC-4, 6.4).
type LogPage uint8

// Log pages.
const (
	LogSupportedPages LogPage = 0x00
	LogWriteErrors    LogPage = 0x02
	LogReadErrors     LogPage = 0x03
	LogVerifyErrors   LogPage = 0x05
	LogProvisioning   LogPage = 0x0c
	LogTemperature    LogPage = 0x0d
	LogStartStop      LogPage = 0x0e
	LogInformational  LogPage = 0x2f
)

// LogSense is LOG SENSE (SPC-4, 6.8).
type LogSense struct {
	Save      bool
	Control   uint8 // PC: 1 cumulative values
	Page      LogPage
	Subpage   uint8
	Parameter uint16 // PARAMETER POINTER: parameters from this one on
	Length    uint16 // allocation length
}

// CDB builds the command.
func (l LogSense) CDB() CDB {
	c := CDB{byte(OpLogSense), bit(l.Save, 0x01), l.Control<<6 | byte(l.Page)&0x3f, l.Subpage}
	c.put16(5, l.Parameter)
	c.put16(7, l.Length)
	return c
}

// ParseLogSense takes the command apart.
func ParseLogSense(c *CDB) LogSense {
	return LogSense{
		Save: c[1]&0x01 != 0, Control: c[2] >> 6, Page: LogPage(c[2] & 0x3f), Subpage: c[3],
		Parameter: c.u16(5), Length: c.u16(7),
	}
}

// Parameters of the pages of error counters (SPC-4, 7.3.5).
const (
	LogBytesProcessed    = 0x0005
	LogUncorrectedErrors = 0x0006
)

// LogParameter is a parameter of a log page.
type LogParameter struct {
	Code    uint16
	Control uint8 // LogCounter or LogList
	Value   []byte
}

// Values of LogParameter.Control, for what initiators cannot set (SPC-4, 7.3.2.2).
const (
	LogCounter = 0x00 // a bounded data counter
	LogList    = 0x03 // a binary format list
)

// AppendLogPage appends a log page of parameters.
func AppendLogPage(dst []byte, page LogPage, parameters []LogParameter) []byte {
	var body []byte
	for _, p := range parameters {
		body = binary.BigEndian.AppendUint16(body, p.Code)
		body = append(body, p.Control, byte(len(p.Value)))
		body = append(body, p.Value...)
	}
	return AppendLogBody(dst, page, body)
}

// AppendLogBody appends a log page with any body, such as that of the supported
// pages, which is their codes.
func AppendLogBody(dst []byte, page LogPage, body []byte) []byte {
	dst = append(dst, byte(page)&0x3f, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(body)))
	return append(dst, body...)
}

// ParseLogPage reads a page of parameters, the last of which is left out if it is
// cut off. Values share memory with b.
func ParseLogPage(b []byte) (LogPage, []LogParameter, error) {
	if len(b) < 4 {
		return 0, nil, fmt.Errorf("scsi: log page: %d bytes, want at least 4", len(b))
	}
	page := LogPage(b[0] & 0x3f)
	b = b[4:min(len(b), 4+int(binary.BigEndian.Uint16(b[2:])))]
	var list []LogParameter
	for len(b) >= 4 && len(b) >= 4+int(b[3]) {
		end := 4 + int(b[3])
		list = append(list, LogParameter{Code: binary.BigEndian.Uint16(b), Control: b[2], Value: b[4:end:end]})
		b = b[end:]
	}
	return page, list, nil
}
