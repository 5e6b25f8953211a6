package lan

import (
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is a host's network card: what netstack sends goes into the switch, what waits in the port's queue goes up. The
// ethernet endpoint that wraps it writes and reads the Ethernet header, so its MTU counts that header.
type link struct {
	sw   *fabric
	port *port
	mtu  uint32
	addr mac

	mu sync.RWMutex
	up stack.NetworkDispatcher // Nil until the card is attached, and again after it is removed.
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

// receive is the card's goroutine: it delivers frames until the port's queue is closed.
func (e *link) receive() {
	var frames []frame
	for {
		var ok bool
		if frames, ok = e.port.out.take(frames); !ok {
			return
		}
		e.mu.RLock()
		up := e.up
		e.mu.RUnlock()
		for _, f := range frames {
			e.deliver(up, f)
		}
	}
}

// deliver hands one frame to netstack, which then owns its buffer. Frames that were flooded and are for other stations
// end here, as in any card.
func (e *link) deliver(up stack.NetworkDispatcher, f frame) {
	dst := dstOf(f.AsSlice())
	if up == nil || dst != e.addr && !dst.group() {
		f.Release()
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(f)})
	up.DeliverNetworkPacket(0, pkt) // The ethernet endpoint finds the protocol.
	pkt.DecRef()
}

// WritePackets implements stack.LinkWriter.
func (e *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range pkts.AsSlice() {
		e.sw.forward(e.port, pkt.ToView())
	}
	return pkts.Len(), nil
}

// Attach implements stack.NetworkLinkEndpoint.
func (e *link) Attach(up stack.NetworkDispatcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.up = up
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (e *link) IsAttached() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.up != nil
}

// Capabilities spares netstack the check of received checksums: nothing between the stations can alter a byte. It still
// writes them, for a guest checks them: QEMU's stream has no place for the mark that says they are left out.
func (e *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// SupportedGSO lets TCP hand over many segments at a time; netstack cuts them before WritePackets.
func (e *link) SupportedGSO() stack.SupportedGSO { return stack.GVisorGSOSupported }

// GSOMaxSize implements stack.GSOEndpoint.
func (e *link) GSOMaxSize() uint32 { return stack.GVisorGSOMaxSize }

// MTU implements stack.NetworkLinkEndpoint.
func (e *link) MTU() uint32 { return e.mtu }

// LinkAddress implements stack.NetworkLinkEndpoint.
func (e *link) LinkAddress() tcpip.LinkAddress { return tcpip.LinkAddress(e.addr[:]) }

// MaxHeaderLength implements stack.NetworkLinkEndpoint.
func (e *link) MaxHeaderLength() uint16 { return 0 }

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (e *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// The rest of stack.NetworkLinkEndpoint: the card's address and MTU are fixed, its header is the ethernet endpoint's, and
// the Host owns its goroutine.

func (e *link) SetMTU(uint32)                        {}
func (e *link) SetLinkAddress(tcpip.LinkAddress)     {}
func (e *link) AddHeader(*stack.PacketBuffer)        {}
func (e *link) ParseHeader(*stack.PacketBuffer) bool { return true }
func (e *link) SetOnCloseAction(func())              {}
func (e *link) Wait()                                {}
func (e *link) Close()                               {}
