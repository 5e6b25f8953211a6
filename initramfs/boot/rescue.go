package boot

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Fail does what the command line asks for when the boot has failed: a rescue
// shell on the console, power off, or reboot. It does not return while the
// machine runs. err has been shown to the user by the time it acts.
func Fail(cfg Config, out io.Writer, err error) {
	c := console{out}
	c.say("failed: %v", err)
	switch cfg.Failure {
	case FailPowerOff:
		c.say("powering off (bootlun.failure=poweroff)")
	case FailReboot:
		c.say("rebooting (bootlun.failure=reboot)")
	default:
		c.say("here is a shell; \"exit\" reboots the machine")
		if err := shell(); err != nil {
			c.say("shell: %v", err)
		}
		c.say("rebooting")
	}
	how := unix.LINUX_REBOOT_CMD_RESTART
	if cfg.Failure == FailPowerOff {
		how = unix.LINUX_REBOOT_CMD_POWER_OFF
	}
	unix.Sync()
	if err := unix.Reboot(how); err != nil {
		c.say("reboot(2): %v", err)
	}
}

// shells are tried in order.
var shells = []string{"/bbin/gosh", "/bin/sh", "/bbin/sh"}

// shell runs an interactive shell with the console as its terminal.
func shell() error {
	tty, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	for _, path := range shells {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		cmd := exec.Command(path)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		return cmd.Run()
	}
	return fmt.Errorf("none of %v is in this image", shells)
}
