package int13h

import (
	"time"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

// uart is COM1, a 16450 whose line is as quick as the terminal behind it.
type uart struct {
	registers [8]uint8
	divisor   [2]uint8
	received  []byte
	polls     int // looks at the line's status since anything has moved
}

const (
	lineReceived = 0x01
	lineEmpty    = 0x60 // transmitter and its holding register
	linesUp      = 0xB0 // modem status: carrier, data set ready, clear to send

	// patience is how often a program looks at an idle line before it is taken to
	// wait, and time passes.
	patience = 64
)

func (m *machine) readUART(n uint16) uint8 {
	u := &m.ports.uart
	if n < 2 && u.registers[3]&0x80 != 0 {
		return u.divisor[n]
	}
	switch n {
	case 0:
		return m.receive()
	case 2:
		return 0x01 // no interrupt pending, no FIFO
	case 5:
		return m.lineStatus()
	case 6:
		return linesUp
	}
	return u.registers[n]
}

func (m *machine) writeUART(n uint16, v uint8) {
	u := &m.ports.uart
	switch {
	case n < 2 && u.registers[3]&0x80 != 0:
		u.divisor[n] = v
	case n == 0:
		m.sendSerial(v)
	default:
		u.registers[n] = v
	}
}

func (m *machine) sendSerial(v uint8) {
	m.ports.uart.polls = 0
	if m.Serial == nil {
		return
	}
	if _, err := m.Serial.Write([]byte{v}); err != nil {
		m.Log.Warn("serial port lost", "error", err)
		m.Serial = nil
	}
}

// receive takes a byte from the line; 0 if there is none.
func (m *machine) receive() uint8 {
	u := &m.ports.uart
	if len(u.received) == 0 {
		return 0
	}
	v := u.received[0]
	u.received, u.polls = u.received[1:], 0
	return v
}

// lineStatus tells whether a byte has come. Who does nothing but ask lets time pass.
func (m *machine) lineStatus() uint8 {
	u := &m.ports.uart
	if len(u.received) == 0 {
		select {
		case b, ok := <-m.SerialKeys:
			if ok {
				u.received = append(u.received, b)
			} else {
				m.SerialKeys = nil
			}
		default:
		}
	}
	if len(u.received) > 0 {
		return lineReceived | lineEmpty
	}
	if u.polls++; u.polls > patience {
		if err := m.clock.pass(m, pollTime); err != nil {
			m.cpu.Stop(err)
		}
	}
	return lineEmpty
}

// serial is int 14h, of COM1 alone.
func (m *machine) serial(r regs) error {
	if r.low(x86.EDX) != 0 {
		r.setAH(0x80)
		return nil
	}
	switch r.ah() {
	case 0x01:
		m.sendSerial(r.al())
		r.setAH(lineEmpty)
	case 0x02:
		return m.receiveSerial(r)
	default:
		r.setAX(uint16(m.lineStatus())<<8 | linesUp)
	}
	return nil
}

const (
	receiveTimeout = time.Second // how long int 14h waits for a byte
	pollSteps      = 50          // what each look costs meanwhile
)

func (m *machine) receiveSerial(r regs) error {
	end := m.clock.now(m) + receiveTimeout
	for m.lineStatus()&lineReceived == 0 {
		if m.clock.now(m) >= end {
			r.setAH(0x80)
			return nil
		}
		m.cpu.Charge(pollSteps)
		if err := m.clock.pass(m, pollTime); err != nil {
			return err
		}
	}
	r.setAX(uint16(m.receive()))
	return nil
}
