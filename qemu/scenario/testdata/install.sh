# Runs as the init of the machine that installs a system on a disk. Before it come the settings: what boot loader (grub for both kinds of
# firmware, extlinux for BIOS; sdboot, uki for UEFI) and layout (ext4, xfs, xfsboot, btrfs, lvm) it is for, and the password of root.
# Disks: /dev/vda this machine's own system, /dev/vdb this script, /dev/vdc the system to copy, /dev/vdd the disk to install on.
set -eu
trap 'echo "install: FAILED"; sync; poweroff -f' EXIT
step() { echo "install: $*"; }
disk=/dev/vdd
root=/target
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

mount -t tmpfs none /tmp
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs udev /dev
mountpoint -q /run || mount -t tmpfs none /run
/lib/systemd/systemd-udevd --daemon
udevadm trigger
udevadm settle
mkdir -p $root /source

step "partitions for $loader, $layout"
boot= # a file system of its own for /boot
[ $layout != xfs ] || boot=1
kind=linux
[ $layout != lvm ] || kind=lvm
{
	case $loader in
	extlinux)
		echo label: dos
		echo "${disk}1: size=1MiB, type=linux" # nothing: the numbers stay the same
		;;
	*)
		echo label: gpt
		echo "${disk}1: size=160MiB, type=uefi"
		echo "${disk}14: size=1MiB, type=21686148-6449-6E6F-744E-656564454649"
		;;
	esac
	[ -z "$boot" ] || echo "${disk}2: size=200MiB, type=linux"
	[ -z "$boot" ] && echo "${disk}2: type=$kind" || echo "${disk}3: type=$kind"
} | sfdisk -q $disk
[ $loader != extlinux ] || sfdisk -q -A $disk 2
udevadm settle

step "file systems"
device=${disk}2
if [ -n "$boot" ]; then
	boot=$device
	device=${disk}3
	mkfs.ext4 -q $boot
fi
if [ $layout = lvm ]; then
	# The root in two pieces, as after it has been grown.
	pvcreate -q $device
	vgcreate -q debian-vg $device
	lvcreate -q -L 1000M -n root debian-vg
	lvcreate -q -L 64M -n swap_1 debian-vg
	lvextend -q -L 2100M debian-vg/root
	device=/dev/mapper/debian--vg-root
	mkswap -q /dev/debian-vg/swap_1
fi
options=defaults
case $layout in
xfs*) type=xfs; mkfs.xfs -q $device; mount $device $root ;;
btrfs)
	type=btrfs
	mkfs.btrfs -q $device
	mount $device $root
	btrfs -q subvolume create $root/@rootfs
	umount $root
	options=defaults,subvol=@rootfs
	mount -o subvol=@rootfs $device $root
	;;
*)
	# The file system comes with the system, block by block: this machine is emulated, and slow with many files.
	type=ext4
	e2image -ra /dev/vdc1 $device
	mount $device $root
	;;
esac
if [ -n "$boot" ]; then
	mkdir $root/boot
	mount $boot $root/boot
fi

step "copy of the system"
if [ $type != ext4 ]; then
	mount -o ro,noload /dev/vdc1 /source
	cp -a /source/. $root/
fi
uuid() { blkid -s UUID -o value "$1"; }
fsname=UUID=$(uuid $device)
[ $layout != lvm ] || fsname=$device
echo "$fsname / $type $options 0 1" >$root/etc/fstab
[ -z "$boot" ] || echo "UUID=$(uuid $boot) /boot ext4 defaults 0 2" >>$root/etc/fstab
if [ $loader != extlinux ]; then
	mkfs.fat -F 32 ${disk}1 >/dev/null
	mkdir -p $root/boot/efi
	mount ${disk}1 $root/boot/efi
	echo "UUID=$(uuid ${disk}1) /boot/efi vfat umask=0077 0 1" >>$root/etc/fstab
fi
rm -rf $root/boot/extlinux # of the copied system, which has the tools of all loaders
for dir in dev proc sys run; do mount --bind /$dir $root/$dir; done
udevadm trigger --settle
inside() { LC_ALL=C.UTF-8 chroot $root "$@"; }
echo "root:$password" | inside chpasswd
version=$(ls $root/lib/modules)

# As somebody types who has a serial console.
console=console=ttyS0,115200
case $loader in
grub)
	step "GRUB by grub-install and update-grub"
	cp $root/usr/share/grub/default/grub $root/etc/default/grub # as grub-pc and grub-efi do when they are installed
	sed -i "s/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX=\"$console\"/" $root/etc/default/grub
	inside grub-install --target=i386-pc $disk
	inside grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram
	inside update-grub
	inside grub-reboot 0 # counts once
	;;
extlinux)
	step "extlinux by extlinux --install and u-boot-update"
	echo "U_BOOT_PARAMETERS=\"ro $console\"" >>$root/etc/default/u-boot
	echo "U_BOOT_ROOT=\"root=$fsname\"" >>$root/etc/default/u-boot
	mkdir -p $root/boot/extlinux
	inside extlinux --install /boot/extlinux
	dd if=$root/usr/lib/EXTLINUX/mbr.bin of=$disk conv=notrunc 2>/dev/null
	inside u-boot-update
	;;
sdboot)
	step "systemd-boot by bootctl and kernel-install"
	inside systemd-machine-id-setup
	echo "root=$fsname ro $console" >$root/etc/kernel/cmdline
	inside bootctl install --esp-path=/boot/efi --no-variables --make-entry-directory=yes
	inside kernel-install add $version /boot/vmlinuz-$version /boot/initrd.img-$version
	;;
uki)
	step "systemd-boot, and a unified kernel image by dracut"
	inside systemd-machine-id-setup
	inside bootctl install --esp-path=/boot/efi --no-variables
	mkdir -p $root/boot/efi/EFI/Linux
	inside dracut --quiet --uefi --kernel-cmdline "root=$fsname ro $console" --kver $version /boot/efi/EFI/Linux/debian-$version.efi
	;;
esac
find $root/boot -maxdepth 4 -type f | grep -v '/grub/.*/' | sed 's/^/install: has /'

for dir in run sys proc dev; do umount $root/$dir; done
[ $loader = extlinux ] || umount $root/boot/efi
[ -z "$boot" ] || umount $root/boot
umount $root
[ $layout != lvm ] || vgchange -q -an debian-vg
sync
step "done"
trap - EXIT
poweroff -f
