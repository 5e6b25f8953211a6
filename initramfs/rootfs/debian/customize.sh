# Run by mmdebstrap as root of the new system's user namespace, once all packages
# are installed in the new system "$1". Leaves the file system as root.ext4 in
# $BOOTLUN_OUT.
set -eu
umask 022
root=$1
PATH=$PATH:/usr/sbin:/sbin

# One initramfs, now that all packages that have a say in it are there; until now
# INITRD=No kept them from making one each, and the kernel's package from linking
# to it.
for modules in "$root"/lib/modules/*; do
	[ -d "$modules" ] || continue
	version=${modules##*/}
	echo "making the initramfs..."
	# As the kernel's package would have it made, by whatever program that is.
	chroot "$root" env -u INITRD run-parts --arg="$version" --arg="/boot/vmlinuz-$version" /etc/kernel/postinst.d
	stat -c 'the initramfs has %s bytes' "$root/boot/initrd.img-$version"
	ln -sf "boot/vmlinuz-$version" "$root/vmlinuz"
	ln -sf "boot/initrd.img-$version" "$root/initrd.img"
	rm -f "$root/vmlinuz.old"
done

if [ -n "${BOOTLUN_ROOT_PASSWORD-}" ]; then
	printf 'root:%s\n' "$BOOTLUN_ROOT_PASSWORD" | chroot "$root" chpasswd
fi

# What belongs to the machine that made the image, or to nobody.
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old \
	"$root"/var/lib/dpkg/*-old "$root"/var/log/apt "$root"/var/log/*.log "$root"/run/* "$root"/tmp/* \
	"$root"/etc/apt/apt.conf.d/*mmdebstrap "$root"/etc/*- \
	"$root/etc/resolv.conf" "$root/etc/hostname"
sed -i /force-unsafe-io/d "$root"/etc/dpkg/dpkg.cfg.d/*mmdebstrap
: >"$root/etc/resolv.conf"
: >"$root/etc/machine-id" # the first boot makes one
cp "$BOOTLUN_FILES/etc/hostname" "$root/etc/hostname"

# The new system has its /proc, /sys and the like mounted just now: a second view
# of it, without those, becomes the file system.
view=$BOOTLUN_OUT/view
mkdir "$view"
mount --bind "$root" "$view"
mount -t tmpfs -o mode=0755 none "$view/dev" # device nodes come from the kernel at boot
trap 'umount "$view/dev"; umount "$view"; rmdir "$view"' EXIT

# Two features are left out that this Debian's own tools and GRUB do not know.
echo "making the file system..."
mke2fs -q -t ext4 -O ^metadata_csum_seed,^orphan_file -b 4096 -m 1 \
	-L "$BOOTLUN_LABEL" -U "$BOOTLUN_UUID" -E "root_owner=0:0,hash_seed=$BOOTLUN_UUID" \
	-d "$view" "$BOOTLUN_OUT/root.ext4" "$BOOTLUN_BLOCKS"
chmod 0644 "$BOOTLUN_OUT/root.ext4"
