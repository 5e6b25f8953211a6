package scenario_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// The guest's own kernel gets sessions with LIO, by "iscsi attach".
func (l *lio) kernel(t *testing.T) {
	lun := l.open(t, l.config(lioPortal))
	data := noise("for the kernel", 1<<20)
	if _, err := lun.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	l.must("modprobe iscsi_tcp")
	mutual := " --initiator iqn.2026-11.org.bootlun:mutual --chap-user alice --chap-secret-file alice --target-secret-file lio "
	for name, how := range map[string]string{
		"open":       "iscsi://" + lioPortal + "/" + lioTarget + "/0",
		"IPv6":       "iscsi://" + lioPortal6 + "/" + lioTarget + "/0",
		"digests":    "iscsi://" + lioPortalTwo + "/" + lioTarget + "/0 --header-digest require --data-digest require",
		"SHA3-256":   "iscsi://" + lioPortalCHAP + "/" + lioCHAPTarget + "/0 --chap-algorithms sha3-256" + mutual,
		"SHA-256":    "iscsi://" + lioPortalCHAP + "/" + lioCHAPTarget + "/0 --chap-algorithms sha256" + mutual,
		"lone MD5":   "iscsi://" + lioPortalCHAP + "/" + lioCHAPTarget + "/0 --chap-algorithms md5" + mutual,
		"mutualCHAP": "iscsi://" + lioPortalCHAP + "/" + lioCHAPTarget + "/0" + mutual,
	} {
		disk, _, ok := strings.Cut(l.must("iscsi attach "+how), ", ")
		if !ok {
			t.Fatalf("%s: %s", name, disk)
		}
		if !strings.Contains(how, lioCHAPTarget) {
			if got := l.must("head -c 1048576 " + disk + " | sha256sum"); !strings.HasPrefix(got, hex.EncodeToString(sum[:])) {
				t.Errorf("%s: %s has other bytes than were written", name, disk)
			}
		}
		l.must("dd if=/dev/urandom of=" + disk + " bs=64k count=16 seek=64 oflag=direct status=none; iscsi sessions -P 2 | grep -E 'Digest|username'; iscsi detach --all")
	}
	if text := l.must("iscsi sessions || true"); !strings.Contains(text, "no sessions") {
		t.Errorf("left over: %s", text)
	}
}

// A machine boots from a disk that LIO serves, by a table with mutual CHAP.
func (l *lio) boot(t *testing.T) {
	root, err := images(t).Root(t.Context(), scenario.RootTiny)
	if err != nil {
		t.Fatal(err)
	}
	url := "iscsi://" + l.forward(t, lioPortalCHAP) + "/" + lioCHAPTarget + "/0"
	l.iscsi(t, slices.Concat([]string{"copy", root.Path, url}, lioMutual)...)
	kernel, image, err := images(t).Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mac := ibft.MAC{0x52, 0x54, 0, 0x77, 0, 3}
	table, err := ibft.Settings{
		RootPaths: []string{"iscsi:" + toolGuestAddr + "::3262:0:" + lioCHAPTarget}, InitiatorName: "iqn.2026-11.org.bootlun:mutual",
		NIC:      ibft.NIC{Origin: ibft.OriginManual, MAC: mac, IP: netip.MustParseAddr("10.77.0.3"), PrefixLen: 24},
		CHAPName: "alice", CHAPSecret: "alice's secret", ReverseCHAPName: "lio", ReverseCHAPSecret: "secret of LIO's",
	}.Table(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := table.Build(ibft.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	vm, err := qemu.Machine{
		Name: "booted-from-lio", NoReboot: true, ACPITables: []string{writeFile(t, "ibft.bin", raw)},
		Kernel: kernel.Image, Initrd: image, Append: "console=ttyS0,115200 quiet bootlun.source=table",
		NICs: []qemu.NIC{{LAN: l.lan.Socket(), MAC: mac.HardwareAddr()}},
	}.Start(l.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Stop()
	if testing.Verbose() {
		vm.Console.Tee(t.Output())
	}
	m := &guest{t: t, ctx: l.ctx, console: vm.Console, prompt: `^\$ `}
	m.expect(root.Up.String())
	m.expect(m.prompt)
	m.send("cat /sys/class/iscsi_session/session*/targetname; echo wrote > /file && cat /file")
	m.expect("^" + regexp.QuoteMeta(lioCHAPTarget))
	m.expect("^wrote")
}
