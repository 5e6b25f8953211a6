#!/bin/sh
# deps.sh GROUP... installs the Debian packages that a group of make targets needs.
# As root it installs what is missing by apt-get; otherwise it prints the one command to run.
set -eu

# group package reason
packages() {
	cat <<'LIST'
boot   qemu-system-x86  runs the virtual machine
boot   ipxe-qemu        the network card's boot ROM (iPXE)
debian mmdebstrap       makes the Debian root file system
debian uidmap           lets it do so without root
debian e2fsprogs        puts it on an ext4 image
debian grub-pc-bin      lets that image boot by itself (the peer of bench-boot)
debian grub-common      makes GRUB's core image
test   gcc              the race detector needs a C compiler
test   libc6-dev        and its headers
test   libiscsi-bin     an initiator and its conformance suite, run against our target
test   libiscsi-dev     make bench builds its load program on it
test   qemu-utils       another initiator; so is the next one
test   qemu-block-extra .
test   nbdkit           a server of disks behind our target, beside qemu-nbd
test   tgt              a target, served to our initiator
test   istgt            another target, served to our initiator
test   open-isns-server a name server, and the next one its client
test   open-isns-utils  .
test   fdisk            checks our partition tables
test   xfsprogs         makes file systems for us to find; so do the next ones
test   btrfs-progs      .
test   dosfstools       .
test   squashfs-tools   .
test   f2fs-tools       .
test   erofs-utils      .
test   cryptsetup-bin   .
test   cpio             unpacks our archives
test   acpica-tools     makes and reads dumps; so do the next two
test   xxd              .
test   bsdextrautils    .
test   libvirt-clients  judges our libvirt lines, with the next one
test   libxml2-utils    .
test   zsh              tries our completion; so does the next one
test   fish             .
test   groff-base       judges our manual page; so does the next one
test   mandoc           .
test   iproute2         makes network namespaces
test   udhcpc           a client of our DHCP server; so is the next one
test   isc-dhcp-client  .
test   tftp-hpa         a client of our TFTP server; so are the next two
test   atftp            .
test   busybox          .
test   curl             a client of our HTTP server
test   ipxe             boot loaders for our TFTP server to serve
test   ovmf             UEFI firmware to boot from it
test   grub-efi-amd64-bin a program for it to start from a LUN
test   tcpdump          reads our captures; so does the next one
test   tshark           .
test   xorriso          makes discs for us to serve; so does the next one
test   mtools           .
test   syslinux         boot loaders whose boot sectors we run; so are the next ones
test   extlinux         .
test   isolinux         .
test   syslinux-common  .
test   user-mode-linux  has one of them install itself, which takes a mount, and the next one make volumes
test   lvm2             .
LIST
}

missing=""
for group in "$@"; do
	list=$(packages | awk -v g="$group" '$1 == g')
	[ -n "$list" ] || { echo "deps.sh: no group '$group'; there are: boot debian test" >&2; exit 2; }
	while read -r _ package reason; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed && continue
		echo "missing: $package ($reason)" | sed 's/ (\.)$//'
		missing="$missing $package"
	done <<LIST
$list
LIST
done
[ -n "$missing" ] || exit 0

command="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" != 0 ]; then
	echo "Run this once, then try again:" >&2
	echo "    sudo $command" >&2
	exit 1
fi
echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
install() { $command >"$log" 2>&1; }
install || { apt-get update >>"$log" 2>&1 && install; } || { tail -n 20 "$log" >&2; exit 1; }
