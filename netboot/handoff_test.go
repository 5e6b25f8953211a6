package netboot

import (
	"strings"
	"testing"
)

func TestHandoff(t *testing.T) {
	tests := []struct {
		name, cmdline, wantErr string
		machine                Machine
	}{
		{name: "none", machine: Machine{Mode: ModeSANBoot, Cmdline: "quiet"}, cmdline: "quiet"},
		{
			name: "title", machine: Machine{Mode: ModeImage, Cmdline: "quiet", Handoff: "kexec", Entry: "Advanced options>Debian GNU/Linux, 6.1", Menu: "5s"},
			cmdline: `quiet bootlun.handoff=kexec bootlun.entry="Advanced options>Debian GNU/Linux, 6.1" bootlun.menu=5s`,
		},
		{name: "number", machine: Machine{Mode: ModeImage, Handoff: "kexec", Entry: "1>0", Menu: "wait"}, cmdline: "bootlun.handoff=kexec bootlun.entry=1>0 bootlun.menu=wait"},
		{name: "other mode", machine: Machine{Mode: ModeKernel, Handoff: "kexec"}, wantErr: "mode kernel"},
		{name: "no such handoff", machine: Machine{Mode: ModeImage, Handoff: "grub"}, wantErr: "want switch_root, kexec or int13h"},
		{name: "entry without", machine: Machine{Mode: ModeImage, Entry: "1"}, wantErr: "need handoff: kexec"},
		{name: "quote", machine: Machine{Mode: ModeImage, Handoff: "kexec", Entry: `a"b`}, wantErr: "do not get to the machine"},
		{name: "expanded by iPXE", machine: Machine{Mode: ModeImage, Handoff: "kexec", Entry: `${net0/mac}`}, wantErr: "do not get to the machine"},
		{name: "two blanks", machine: Machine{Mode: ModeImage, Handoff: "kexec", Entry: `a  b`}, wantErr: "do not get to the machine"},
		{name: "menu", machine: Machine{Mode: ModeImage, Handoff: "kexec", Menu: "soon"}, wantErr: "0 for none, or wait"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.machine.checkHandoff()
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error = %v, want %q", err, tt.wantErr)
			}
			if tt.wantErr != "" {
				return
			}
			if got := tt.machine.cmdline(); got != tt.cmdline {
				t.Errorf("command line %q, want %q", got, tt.cmdline)
			}
			if err := checkCmdline(tt.machine.cmdline()); err != nil {
				t.Error(err)
			}
		})
	}
}
