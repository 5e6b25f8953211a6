// Package lan is an Ethernet segment inside one process: a learning switch, the hosts that live on it, and a Unix socket
// at which virtual machines plug in. Nothing of it needs privileges, bridges or tap devices, and nothing leaves the
// process.
//
// A [LAN] is the switch. [LAN.Host] adds a host with its own TCP/IP stack (gVisor's netstack); its Listen, ListenPacket
// and DialContext stand in for those of package net, so a DHCP, TFTP, HTTP or iSCSI server written against net.Listener
// and net.PacketConn serves the segment unchanged. A machine joins through [LAN.Socket]:
//
//	qemu-system-x86_64 -netdev stream,id=n0,server=off,addr.type=unix,addr.path=SOCKET -device virtio-net-pci,netdev=n0
//
// The frames on that socket are QEMU's: a length in four bytes, most significant first, then the Ethernet frame without
// its checksum.
//
// # How frames move
//
// Every station, host or machine, is a port with a queue of its own and one goroutine that empties it. A sender only puts
// its frame into the queue of the receiver; where that queue is full the frame is dropped, as in any switch. So no station
// can stop another, and no ring of stations can wait for itself (a guest that waits for its host to read while the host
// waits for the guest). The queues are deeper than a TCP window, so that one bulk transfer does not lose frames to a guest
// that is slow, and a socket that QEMU does not read slows its sender by TCP's own means.
//
// Frames are netstack's pooled, reference-counted buffers from the socket to the stack and back: one copy out of the
// socket's read buffer, none on the way up.
//
// Start reading at lan.go, then switch.go; host.go and link.go attach netstack, stream.go the sockets.
package lan
