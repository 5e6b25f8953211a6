# What the host's first domain does, as its PID 1: it creates the guest of
# /bootlun/guest.cfg, is its console, and ends with it.
PATH=/usr/sbin:/usr/bin:/sbin:/bin

fail() {
	echo "dom0: failed: $*"
	tail -n 20 /var/log/xen/*.log
	poweroff -f
}

for module in xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-netback virtio_net tun bridge; do
	modprobe "$module" || fail "load module $module"
done
mount -t xenfs xenfs /proc/xen || fail "mount xenfs"
mkdir -p /var/log/xen/console /run/xen /run/lock /dev/pts
mountpoint -q /dev/pts || mount -t devpts devpts /dev/pts || fail "mount devpts"

ip link set lo up
ip link add xenbr0 type bridge && ip link set eth0 master xenbr0 && ip link set eth0 up && ip link set xenbr0 up ||
	fail "make the bridge xenbr0"

set -- /usr/lib/xen-[0-9]*/bin
"$1/xenstored" --pid-file /run/xenstored.pid || fail "start xenstored"
"$1/xen-init-dom0" || fail "tell xenstored of dom0"
"$1/xenconsoled" --pid-file /run/xenconsoled.pid || fail "start xenconsoled"

echo "dom0: creating the guest"
xl create /bootlun/guest.cfg || fail "xl create"
echo "dom0: here is the guest's console"
xl console -t pv guest
echo "dom0: the guest has ended"
poweroff -f
