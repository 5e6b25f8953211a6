// Package netboot hands a machine its first bytes: an address by DHCP, a boot loader and scripts by TFTP and HTTP, a
// kernel, and the table that says where its disk is.
//
// # One machine's boot
//
// A machine is switched on, its firmware set to boot from the network.
//
//  1. The firmware asks for an address. [Server] gives it the one reserved for it, or one of the pool, and the file to
//     load. If the firmware is not iPXE, that is the iPXE binary made for its kind (loader/undionly.kpxe and its like),
//     which it fetches by TFTP, or by HTTP where UEFI can.
//  2. iPXE, from the ROM or just loaded, asks again. It is told to fetch machines/MAC/boot.ipxe by HTTP. It is not told
//     where the disk is: it would attach it by itself.
//  3. The script is made for that machine. In [ModeImage] it loads our kernel and image. In [ModeKernel] it loads a
//     distribution's kernel and initramfs, and before the latter machines/MAC/ibft.cpio, by which the kernel finds the
//     machine's table as if its firmware had made it. In [ModeSANBoot] it has iPXE attach the disk and start its boot
//     sector. What fails is tried again, by TFTP and HTTP in turn, for ever.
//  4. Our init asks for an address once more, says that it is "bootlun" (option 60), and is told the root paths
//     (option 17, all of them, separated by spaces), its iSCSI name (option 203) and its host name (option 12). The
//     installed system, or any other client that asks for option 17, is told the first root path.
//
// On the operating system's network a machine at step 2 is also told that there is no IPv6 router, for which iPXE would
// wait 16 s ([SolicitationNetwork]).
//
// Beside another DHCP server ([DHCP].Proxy) steps 1 and 2 are without the address, and at step 3 the machine's table
// goes with our image too, as the other server knows nothing of disks. With [DHCP].Disabled that server has to name the
// script itself.
//
// CHAP secrets are in none of these answers unless [DHCP].Secrets allows it. They reach our init as they reach a
// distribution's, in machines/MAC/ibft.cpio; that file, the table by itself and a SAN boot script are served to the
// machine's own leased address alone, if they hold a secret. This keeps honest machines apart; it does not keep out
// somebody on the same wire, who can take any address.
//
// # Where to start reading
//
// config.go says what can be configured, server.go binds the sockets, dhcp.go is the protocol and reply.go its answers,
// proxy.go those beside another server, lease.go knows which address is whose, script.go writes the scripts, files.go knows every name that can be fetched,
// by tftp.go or http.go; solicit.go is a matter of its own. Sockets come from a [Network], so that all this runs on the
// operating system's network and on a LAN inside a process alike. What happens is told to [Config].Events.
package netboot
