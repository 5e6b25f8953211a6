package boot

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/bootloader"
)

func TestParseCmdline(t *testing.T) {
	const path = "iscsi:10.0.0.1::3260:1:iqn.2026-11.example:disk"
	tests := []struct {
		name, line string
		want       func(*Config) // what differs from the defaults
		wantErr    string
	}{
		{name: "empty", line: "\n", want: func(*Config) {}},
		{
			name: "all",
			line: "console=ttyS0 bootlun.source=dhcp bootlun.rootpath=" + path + " bootlun.initiator=iqn.2026-11.example:me " +
				"bootlun.address=10.0.0.5/24 bootlun.gateway=10.0.0.1 bootlun.timeout=90s bootlun.failure=poweroff bootlun.debug BOOTIF=01-52-54-00-12-34-56",
			want: func(c *Config) {
				c.Source, c.RootPaths, c.Initiator = SourceDHCP, []string{path}, "iqn.2026-11.example:me"
				c.Address, c.Gateway = netip.MustParsePrefix("10.0.0.5/24"), netip.MustParseAddr("10.0.0.1")
				c.Timeout, c.Failure, c.Debug = 90*time.Second, FailPowerOff, true
				c.BootIF = []byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}
			},
		},
		{
			name: "root", line: "root=UUID=11f8 rw init=/bin/sh",
			want: func(c *Config) {
				c.Root = bootloader.Spec{
					Root:      bootloader.Selector{By: bootloader.ByUUID, Value: "11f8"},
					ReadWrite: true, Init: "/bin/sh",
				}
			},
		},
		{
			name: "several paths", line: "bootlun.rootpath=" + path + ` bootlun.rootpath="` + path + `"`,
			want: func(c *Config) { c.RootPaths = []string{path, path} },
		},
		{
			name: "own kernel", line: "bootlun.handoff=kexec bootlun.entry=1>0 bootlun.menu=wait",
			want: func(c *Config) {
				forever := time.Duration(-1)
				c.Handoff, c.Entry, c.Menu = HandoffKexec, "1>0", &forever
			},
		},
		{
			name: "boot sector", line: "bootlun.handoff=int13h bootlun.readonly",
			want: func(c *Config) { c.Handoff, c.ReadOnly = HandoffBootSector, true },
		},
		{name: "bad menu", line: "bootlun.menu=-2s", want: func(*Config) {}, wantErr: "0 for no menu, or wait"},
		{name: "unknown option", line: "bootlun.sauce=dhcp", want: func(*Config) {}, wantErr: `no option "bootlun.sauce"`},
		{name: "bad value", line: "bootlun.failure=panic", want: func(*Config) {}, wantErr: "want one of [shell poweroff reboot]"},
		{name: "bad duration", line: "bootlun.timeout=-1s", want: func(c *Config) { c.Timeout = -time.Second }, wantErr: "positive duration"},
		{name: "bad BOOTIF", line: "BOOTIF=525400123456", want: func(*Config) {}, wantErr: "hardware type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := Config{Source: SourceAuto, Failure: FailShell, Timeout: time.Minute}
			tt.want(&want)
			got, err := ParseCmdline(tt.line)
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error = %v, want %q", err, tt.wantErr)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func FuzzParseCmdline(f *testing.F) {
	f.Add(`console=ttyS0 bootlun.source=dhcp BOOTIF=01-52-54-00-12-34-56 root="UUID=1" rw`)
	f.Add(`bootlun.rootpath=iscsi:[::1]::::iqn.2026-11.example:a bootlun.address=::1/128 "`)
	f.Fuzz(func(t *testing.T, line string) {
		c, err := ParseCmdline(line)
		if err == nil && c.Timeout <= 0 {
			t.Errorf("timeout %v accepted", c.Timeout)
		}
	})
}
