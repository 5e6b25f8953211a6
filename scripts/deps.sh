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
debian e2fsprogs        puts it on an ext4 image
debian grub-pc-bin      lets that image boot by itself (the peer of bench-boot)
debian grub-common      makes GRUB's core image
test   gcc              the race detector needs a C compiler
test   libc6-dev        and its headers
test   libiscsi-bin     an initiator and its conformance suite, run against our target
test   tgt              a target, served to our initiator
test   istgt            another target, served to our initiator
test   fdisk            checks our partition tables
LIST
}

missing=""
for group in "$@"; do
	list=$(packages | awk -v g="$group" '$1 == g')
	[ -n "$list" ] || { echo "deps.sh: no group '$group'; there are: boot debian test" >&2; exit 2; }
	while read -r _ package reason; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed && continue
		echo "missing: $package ($reason)"
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
