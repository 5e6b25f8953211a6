# Runs in the guest of TestWorkbench: Linux's own initiator, file systems and SCSI tools against our target.
# What the host has to do is asked for by a line "workbench asks: …."; the host presses return when it is done.
set -euo pipefail
target=iqn.2026-11.org.bootlun:workbench
trap 'echo "workbench: FAILED in line $LINENO: $BASH_COMMAND;"' ERR
step() { echo "workbench: $*"; }
ask() { echo "workbench asks: $*."; read -r _; }
refused() { if "$@"; then step "FAILED: should be refused: $*;"; exit 1; fi; }

step "two networks"
second=$(ls /sys/class/net | grep -vx -e lo -e eth0) # the root hangs on eth0
ip address add 10.75.2.2/24 dev "$second"
ip link set "$second" up
for n in 1 2; do
	until ping -qc1 -W1 "10.75.$n.1" >/dev/null; do :; done
done

step "discovery and login by two portals, both digests on"
cat >/etc/multipath.conf <<'CONF'
defaults {
	find_multipaths no
	polling_interval 1
	max_polling_interval 2
	no_path_retry queue
}
blacklist {
	devnode "^(sda|vd)"
}
CONF
for n in 1 2; do iscsiadm -m discovery -t sendtargets -p "10.75.$n.1"; done
for setting in "conn[0].iscsi.HeaderDigest CRC32C" "conn[0].iscsi.DataDigest CRC32C" "session.timeo.replacement_timeout 5" \
	"conn[0].timeo.noop_out_interval 1" "conn[0].timeo.noop_out_timeout 2"; do
	iscsiadm -m node -T "$target" -o update -n "node.${setting% *}" -v "${setting#* }"
done
iscsiadm -m node -T "$target" --login
iscsiadm -m session -P 2 | grep -E 'Digest: CRC32C' | sort | uniq -c
udevadm settle
systemctl restart multipathd
until multipath -ll | grep -c 'active ready' | grep -qx 2; do udevadm settle; done
multipath -ll
disk=/dev/$(multipath -ll | sed -n 's/.* \(dm-[0-9]*\) .*/\1/p')
read -r path1 path2 < <(multipath -ll | sed -n 's/.* \(sd[a-z]\) .*active ready.*/\/dev\/\1/p' | xargs)
test -b "$path1" -a -b "$path2"

verify() { # DIR MiB: random writes of several sizes, all read back and compared
	fio --name=verify --directory="$1" --size="$2M" --bsrange=512-128k --blockalign=512 --rw=randwrite --ioengine=libaio --iodepth=16 --direct=1 \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --minimal | awk -F';' '{print "workbench: fio wrote and verified, errors " $5; exit $5}'
}

step "what sg3_utils make of it"
sg_inq "$path1"
for page in sv sn di bl bdc lbpv; do sg_vpd --page=$page "$path1"; done
sg_luns "$path1"
sg_readcap --long "$path1"
sg_modes --all "$path1" >/dev/null
sg_opcodes "$path1" | tail -n 5
sg_rtpg --decode "$path1"
sg_logs --all "$path1" >/dev/null
sg_turs "$path1"

step "reservations: two paths are two nexuses"
sg_persist --out --register --param-sark=0xa1 "$path1"
sg_persist --out --register --param-sark=0xb2 "$path2"
sg_persist --in --read-keys "$path1" | grep -c 0x
sg_persist --out --reserve --param-rk=0xa1 --prout-type=1 "$path1"
sg_persist --in --read-reservation "$path2" | grep 'Write Exclusive'
dd if=/dev/zero of="$path1" bs=4096 count=1 oflag=direct status=none
refused dd if=/dev/zero of="$path2" bs=4096 count=1 oflag=direct status=none
sg_persist --in --read-full-status "$path2" | grep -c 'Relative port address'
sg_persist --in --report-capabilities "$path2" | grep -i 'persist through power loss capable'
sg_persist --out --preempt --param-rk=0xb2 --param-sark=0xa1 --prout-type=1 "$path2"
dd if=/dev/zero of="$path2" bs=4096 count=1 oflag=direct status=none
refused dd if=/dev/zero of="$path1" bs=4096 count=1 oflag=direct status=none
sg_persist --out --clear --param-rk=0xb2 "$path2"
dd if=/dev/zero of="$path1" bs=4096 count=1 oflag=direct status=none

step "commands of sg3_utils and ddpt"
dd if=/dev/urandom of=/tmp/one bs=512 count=8 status=none
cat /tmp/one /tmp/one >/tmp/two
sg_raw --send=4096 --infile=/tmp/one "$path1" 2a 00 00 00 00 00 00 00 08 00
sg_compare_and_write --in=/tmp/two --lba=0 --num=8 "$path1"
sg_verify --lba=0 --count=8 "$path2"
sg_write_same --lba=64 --num=64 --in=/tmp/one --xferlen=512 "$path1"
sg_unmap --lba=64 --num=64 --force "$path1"
sg_get_lba_status --lba=0 "$path1"
sg_sync "$path1"
ddpt if="$path1" of="$path2" bs=512 count=8 seek=4096 --verbose 2>&1 | tail -n 3
cmp -n 4096 "$path1" <(dd if="$path2" bs=512 skip=4096 count=8 status=none iflag=direct)
sg_xcopy if="$path1" of="$path1" bs=512 count=8 seek=8192 2>&1 | tail -n 2
cmp -n 4096 /tmp/one <(dd if="$path2" bs=512 skip=8192 count=8 status=none iflag=direct)

step "ext4"
mkfs.ext4 -q "$disk"
mount "$disk" /mnt
verify /mnt 64
ask "bytes on the medium, full"
rm /mnt/verify*
sync
fstrim -v /mnt
ask "bytes on the medium, trimmed"
umount /mnt
fsck.ext4 -fn "$disk"

step "XFS, a path is cut while it is written to, and comes back"
mkfs.xfs -qf "$disk"
mount "$disk" /mnt
verify /mnt 96 &
ask "cut"
until multipath -ll | grep -c 'active ready' | grep -qx 1; do sleep 0.2; done
step "one path left"
ask "mend"
wait $!
until multipath -ll | grep -c 'active ready' | grep -qx 2; do sleep 0.2; done
umount /mnt
xfs_repair -n "$disk" >/dev/null
refused grep -E 'I/O error, dev dm-' <(dmesg)

step "the disk grows"
ask "grow"
iscsiadm -m session --rescan >/dev/null
multipathd resize map "$(dmsetup ls --target multipath | cut -f1)"
blockdev --getsize64 "$path1" "$path2" "$disk" | sort -u | grep -x 1610612736
mount "$disk" /mnt
xfs_growfs /mnt | grep 'data blocks changed'
umount /mnt

step "a disc"
iscsiadm -m node -T iqn.2026-11.org.bootlun:disc -p 10.75.1.1 --login
udevadm settle
until test -b /dev/sr0; do sleep 0.2; done
grep . /proc/sys/dev/cdrom/info
blkid /dev/sr0 | grep 'TYPE="iso9660"'
mount -r /dev/sr0 /mnt
(cd /mnt && sha256sum --check SUMS)
refused sg_start --eject /dev/sr0 # Linux has locked the door, and so has udev
umount /mnt
echo 0 >/proc/sys/dev/cdrom/autoclose
sg_prevent --allow /dev/sr0
sg_start --eject /dev/sr0
refused mount -r /dev/sr0 /mnt
sg_start --load /dev/sr0
until mount -r /dev/sr0 /mnt; do sleep 1; done
(cd /mnt && sha256sum --check SUMS)
umount /mnt
refused dd if=/dev/zero of=/dev/sr0 bs=2048 count=1 oflag=direct status=none
iscsiadm -m node -T iqn.2026-11.org.bootlun:disc --logout

step "logout"
multipath -F
iscsiadm -m node -T "$target" --logout
step "all is well"
poweroff
