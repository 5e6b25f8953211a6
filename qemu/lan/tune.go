package lan

import (
	"fmt"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// tcpWindow is the most that one connection has in flight, in bytes. An emulated guest takes tens of megabytes a second
// at round trips of a few milliseconds, which needs far less; more would only wait in the guest's queue.
const tcpWindow = 2 << 20

// tune sets what bulk transfers to a guest need. The values are options of the stack, so they reach every connection.
func tune(s *stack.Stack) error {
	sack := tcpip.TCPSACKEnabled(true)
	// RACK takes an acknowledgement that is late, as an emulated guest's are, for a loss and halves the window. Frames are
	// lost here only where a queue is full or a link is cut; retransmission by duplicates and timeout covers that.
	recovery := tcpip.TCPRecovery(0)
	grow := tcpip.TCPModerateReceiveBufferOption(true)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcpWindow, Max: tcpWindow}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcpWindow / 2, Max: tcpWindow}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &recovery, &grow, &send, &receive} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("TCP option %T: %v", o, err)
		}
	}
	return nil
}
