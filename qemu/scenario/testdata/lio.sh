# Sourced in a guest: functions that set up LIO, the target in Linux, by its configfs.
core=/sys/kernel/config/target/core/fileio_0
fabric=/sys/kernel/config/target/iscsi
open=iqn.2026-11.org.bootlun:lio
chap=iqn.2026-11.org.bootlun:lio-chap

lio_load() {
	mkdir -p /var/target/pr /disks # reservations are written down below the first, and refused without
	modprobe target_core_mod
	modprobe target_core_file
	modprobe iscsi_target_mod
}

lio_disk() { # NAME BYTES: a thin disk in a file, the same one whenever it is made
	truncate -s "$2" "/disks/$1"
	mkdir -p "$core/$1"
	echo "fd_dev_name=/disks/$1,fd_dev_size=$2" >"$core/$1/control"
	echo "$1-0123456789abcdef" >"$core/$1/wwn/vpd_unit_serial"
	echo 1 >"$core/$1/enable"
	for a in emulate_tpu emulate_tpws; do echo 1 >"$core/$1/attrib/$a"; done
}

lio_alua() { # DISK GROUP ID: a target port group
	mkdir -p "$core/$1/alua/$2"
	echo "$3" >"$core/$1/alua/$2/tg_pt_gp_id"
	for s in active_optimized active_nonoptimized standby unavailable; do echo 1 >"$core/$1/alua/$2/alua_support_$s"; done
	echo 3 >"$core/$1/alua/$2/alua_access_type" # implicit and explicit
}

lio_tpg() { # TARGET TAG DISK PORTAL...: a portal group for everybody
	tpg=$fabric/$1/tpgt_$2
	mkdir -p "$tpg/lun/lun_0"
	ln -s "$core/$3" "$tpg/lun/lun_0/disk"
	for p in "${@:4}"; do mkdir -p "$tpg/np/$p"; done
	for a in generate_node_acls cache_dynamic_acls; do echo 1 >"$tpg/attrib/$a"; done
	for a in demo_mode_write_protect authentication; do echo 0 >"$tpg/attrib/$a"; done
}

lio_acl() { # TARGET INITIATOR [SECRET OF LIO]: who logs in by CHAP
	acl=$fabric/$1/tpgt_1/acls/$2
	mkdir -p "$acl/lun_0"
	ln -s "$fabric/$1/tpgt_1/lun/lun_0" "$acl/lun_0/disk"
	echo -n alice >"$acl/auth/userid"
	echo -n "alice's secret" >"$acl/auth/password"
	if [ -n "${3-}" ]; then
		echo -n lio >"$acl/auth/userid_mutual"
		echo -n "$3" >"$acl/auth/password_mutual"
	fi
}

lio_up() { # [BYTES]: two targets, one of two portal groups and one with CHAP
	lio_disk open "${1-67108864}" && lio_disk chap 67108864
	lio_tpg $open 1 open 10.77.0.1:3260 '[fd77::1]:3260' 10.77.0.1:3270
	lio_tpg $open 2 open 10.77.0.1:3261
	for key in HeaderDigest DataDigest; do echo CRC32C >$fabric/$open/tpgt_2/param/$key; done
	for g in 1 2; do
		lio_alua open group$g $g
		echo group$g >$fabric/$open/tpgt_$g/lun/lun_0/alua_tg_pt_gp
	done
	lio_tpg $chap 1 chap 10.77.0.1:3262
	echo 0 >$fabric/$chap/tpgt_1/attrib/generate_node_acls
	echo 1 >$fabric/$chap/tpgt_1/attrib/authentication
	lio_acl $chap iqn.2026-11.org.bootlun:one-way
	lio_acl $chap iqn.2026-11.org.bootlun:mutual "secret of LIO's"
	for t in $open/tpgt_1 $open/tpgt_2 $chap/tpgt_1; do echo 1 >$fabric/$t/enable; done
}

lio_down() { # nothing is left of it but the files
	for t in $fabric/iqn.*/tpgt_*; do echo 0 >"$t/enable"; done
	find $fabric -type l -path '*/acls/*' -delete
	find $fabric -mindepth 4 -maxdepth 4 -path '*/acls/*' -type d -exec sh -c 'rmdir "$1"/lun_* "$1"' sh {} \;
	find $fabric -type l -delete
	rmdir $fabric/iqn.*/tpgt_*/lun/lun_* $fabric/iqn.*/tpgt_*/np/* $fabric/iqn.*/tpgt_* $fabric/iqn.*
	rmdir $core/open/alua/group* $core/open $core/chap
}
