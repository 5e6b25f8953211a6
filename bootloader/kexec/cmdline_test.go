package kexec

import "testing"

func TestComplete(t *testing.T) {
	tools, dracut := Contents{Maker: InitramfsTools}, Contents{Maker: Dracut}
	for _, tt := range []struct {
		line     string
		contents Contents
		want     string
	}{
		{"root=UUID=1 ro", tools, "root=UUID=1 ro iscsi_auto"},
		{"iscsi_auto root=UUID=1", tools, "iscsi_auto root=UUID=1"},
		// Debian's README: by name and address, or in root=.
		{"root=UUID=1 iscsi_initiator=iqn.i iscsi_target_name=iqn.x iscsi_target_ip=10.0.0.1 ip=dhcp", tools, "root=UUID=1 iscsi_initiator=iqn.i iscsi_target_name=iqn.x iscsi_target_ip=10.0.0.1 ip=dhcp"},
		{"root=iscsi:10.0.0.1::::iqn.x root=UUID=1", tools, "root=iscsi:10.0.0.1::::iqn.x root=UUID=1"},
		// The initiator's name alone leads to no target.
		{"ro iscsi_initiator=iqn.i", tools, "ro iscsi_initiator=iqn.i iscsi_auto"},
		{"", tools, "iscsi_auto"},
		{"ro", Contents{Maker: InitramfsTools, Words: " iscsi_auto"}, "ro"},

		{"ro quiet", dracut, "ro quiet rd.iscsi.firmware=1 rd.iscsi.ibft=1"},
		// RHEL's installer, for a disk that came by the iBFT.
		{"ro rd.iscsi.firmware rd.iscsi.ibft rhgb", dracut, "ro rd.iscsi.firmware rd.iscsi.ibft rhgb"},
		{"ro rd.iscsi.firmware=1 ip=ibft", dracut, "ro rd.iscsi.firmware=1 ip=ibft"},
		{"ro rd.iscsi.firmware ip=ens3:dhcp rd.neednet=1", dracut, "ro rd.iscsi.firmware ip=ens3:dhcp rd.neednet=1"},
		{"ro iscsi_firmware", dracut, "ro iscsi_firmware rd.iscsi.ibft=1"},
		// RHEL's, for one that was added by hand.
		{"ro netroot=iscsi:@10.0.0.1::3260::iqn.x rd.iscsi.initiator=iqn.i ip=ens3:dhcp", dracut, "ro netroot=iscsi:@10.0.0.1::3260::iqn.x rd.iscsi.initiator=iqn.i ip=ens3:dhcp"},
		{"ro netroot=iscsi:x", dracut, "ro netroot=iscsi:x rd.iscsi.ibft=1"},
		{"root=iscsi:10.0.0.1::::iqn.x ip=dhcp", dracut, "root=iscsi:10.0.0.1::::iqn.x ip=dhcp"},
		{"ro rd.iscsi.firmware=0 rd.iscsi.ibft=0", dracut, "ro rd.iscsi.firmware=0 rd.iscsi.ibft=0"},
		{"ro -- single", dracut, "ro rd.iscsi.firmware=1 rd.iscsi.ibft=1 -- single"},
		{"ro -- ip=mine", dracut, "ro rd.iscsi.firmware=1 rd.iscsi.ibft=1 -- ip=mine"},
		// SUSE's, whose initramfs brings its own.
		{"splash=silent quiet", Contents{Maker: Dracut, Words: " rd.iscsi.ibft= rd.iscsi.firmware="}, "splash=silent quiet"},

		{"ro", Contents{}, "ro"},
		{"dolvm real_root=/dev/sda2", Contents{Maker: Genkernel}, "dolvm real_root=/dev/sda2"},
		{"rw", Contents{Maker: Mkinitcpio}, "rw"},
	} {
		got := Complete(tt.line, tt.contents)
		if got != tt.want {
			t.Errorf("%q for %+v: %q, want %q", tt.line, tt.contents, got, tt.want)
		}
		if again := Complete(got, tt.contents); again != got {
			t.Errorf("%q grew to %q", got, again)
		}
	}
}

// Which of dracut's ways to set up a network it has shows in files of theirs.
func TestInspectNetwork(t *testing.T) {
	for name, want := range map[string]bool{
		"usr/lib/dracut/hooks/cmdline/92-parse-ibft.sh":       true,
		"usr/libexec/nm-initrd-generator":                     true,
		"usr/lib/NetworkManager/nm-initrd-generator":          true,
		"usr/lib/systemd/systemd-networkd":                    false,
		"usr/lib/dracut/hooks/cmdline/99-networkd-config.sh":  false,
		"usr/lib/modules/6.1/kernel/firmware/iscsi_ibft.ko.x": false,
	} {
		if got, err := Inspect(archive("usr/lib/dracut/x", name, "usr/sbin/iscsiroot")); err != nil || got.Network != want || !got.ISCSI {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What an initramfs brings with it is known by name and never by value.
func TestInspectSettings(t *testing.T) {
	for _, tt := range []struct {
		file, maker, want string
	}{
		{"etc/iscsi.initramfs:ISCSI_AUTO=true\n", "conf/initramfs.conf", " iscsi_auto"},
		{"etc/iscsi.initramfs:ISCSI_AUTO=\n# ISCSI_TARGET_NAME=x y\n", "conf/initramfs.conf", ""},
		{"etc/iscsi.initramfs:ISCSI_TARGET_NAME=\"iqn.x\"\nISCSI_TARGET_IP=10.0.0.1\nISCSI_PASSWORD=secret\n", "conf/initramfs.conf", " iscsi_target_name="},
		{"etc/cmdline.d/95iscsi.conf: rd.iscsi.firmware=1 rd.iscsi.ibft=1 \n", "lib/dracut/build-parameter.txt", " rd.iscsi.firmware= rd.iscsi.ibft="},
		{"etc/cmdline.d/95iscsi.conf:netroot=iscsi:user:secret@10.0.0.1::3260:1:iqn.x rd.iscsi.initiator=iqn.i\n", "lib/dracut/build-parameter.txt", " netroot="},
		{"etc/cmdline:root=iscsi:10.0.0.1::::iqn.x ip=dhcp", "lib/dracut/build-parameter.txt", " root=iscsi: ip="},
		{"etc/other.conf:ip=dhcp", "lib/dracut/build-parameter.txt", ""},
	} {
		got, err := Inspect(archive(tt.maker, tt.file, "sbin/iscsiroot"))
		if err != nil || got.Words != tt.want || !got.ISCSI {
			t.Errorf("%q: %+v, %v; want %q", tt.file, got, err, tt.want)
		}
	}
}
