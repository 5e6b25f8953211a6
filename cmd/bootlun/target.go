package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/target/control"
)

// targetCommands look at and change what a running "bootlun serve" serves.
type targetCommands struct {
	List       targetListCommand       `cmd:"" default:"withargs" help:"Show targets, their LUNs, sessions and connections as a tree."`
	Add        targetAddCommand        `cmd:"" help:"Add a target, with one disk or none."`
	Remove     targetRemoveCommand     `cmd:"" help:"Remove a target: its initiators are asked to log out first."`
	AddLUN     targetAddLUNCommand     `cmd:"" name:"add-lun" help:"Add a LUN to a target; initiators are told."`
	RemoveLUN  targetRemoveLUNCommand  `cmd:"" name:"remove-lun" help:"Remove a LUN from a target. The disk image stays."`
	Resize     targetResizeCommand     `cmd:"" help:"Make a LUN's disk image longer, or tell initiators that its device has grown."`
	Disconnect targetDisconnectCommand `cmd:"" help:"End a session: its initiator is asked to log out first."`
	Drain      targetDrainCommand      `cmd:"" help:"Empty a target: no new logins, initiators are asked to log out."`
	Resume     targetResumeCommand     `cmd:"" help:"Let initiators log in again after drain."`
	CHAP       targetCHAPCommand       `cmd:"" name:"chap" help:"Set what initiators must prove to log in."`
	Allow      targetAllowCommand      `cmd:"" help:"Set which initiators may log in."`
	PortGroup  targetPortGroupCommand  `cmd:"" name:"port-group" help:"Set how good a path the targets of a port group are (ALUA); initiators are told."`
	Import     targetImportCommand     `cmd:"" help:"Print our configuration of what another target's file says, and what it cannot carry over."`
	Trace      targetTraceCommand      `cmd:"" help:"Write a session's PDUs to a pcap file, for Wireshark or tcpdump; Ctrl-C ends."`
	Reload     reloadCommand           `cmd:"" help:"Have the server read its configuration file again (also: bootlun reload, or SIGHUP)."`
}

// socketFlag says which server is meant.
type socketFlag struct {
	Socket string `default:"/run/bootlun.sock" env:"BOOTLUN_SOCKET" placeholder:"PATH" help:"The server's control socket (${default})."`
}

func (f socketFlag) client() *control.Client { return control.NewClient(f.Socket) }

// withinFlag is how long initiators get.
type withinFlag struct {
	Within time.Duration `default:"10s" help:"How long initiators get to log out before they are disconnected."`
}

// diskFlags say what a LUN serves.
type diskFlags struct {
	Create       size   `placeholder:"SIZE" help:"Make the disk image, of this size (8G); it takes space only for what is written."`
	ReadOnly     bool   `help:"Refuse writes."`
	WriteThrough bool   `help:"Answer a write only when it is on the medium."`
	Overlay      bool   `help:"Keep writes in memory, lost when the server ends: the image stays as it is."`
	Removable    bool   `help:"Let initiators eject the disk."`
	BlockSize    int    `placeholder:"N" help:"512 (the default) or 4096."`
	Serial       string `placeholder:"TEXT" help:"The disk's serial number, in place of one that the server makes."`
}

func (f *diskFlags) lun(number int, path string) (control.AddLUN, error) {
	path, err := filepath.Abs(path)
	return control.AddLUN{Create: int64(f.Create), LUN: control.LUN{Number: number, Medium: control.Medium{
		Path: path, ReadOnly: f.ReadOnly, WriteThrough: f.WriteThrough, Overlay: f.Overlay, Removable: f.Removable,
		BlockSize: f.BlockSize, Serial: f.Serial,
	}}}, err
}

type targetListCommand struct {
	socketFlag
	Format string `default:"tree" enum:"tree,json,iet-session,iet-volume" help:"${enum}. The last two are those of /proc/net/iet."`
	JSON   bool   `name:"json" help:"The same as --format json."`
}

// Run prints what is served.
func (c *targetListCommand) Run(ctx context.Context, k *kong.Kong) error {
	client := c.client()
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		c.Format = "json"
	}
	switch c.Format {
	case "json":
		e := json.NewEncoder(k.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(status)
	case "iet-session":
		_, err = io.WriteString(k.Stdout, status.IETSessions())
	case "iet-volume":
		_, err = io.WriteString(k.Stdout, status.IETVolumes())
	default:
		err = printTree(k.Stdout, &status, time.Now())
	}
	return err
}

type targetAddCommand struct {
	socketFlag
	diskFlags
	Name    string   `arg:"" help:"The target's name, such as iqn.2026-11.com.example:disk1."`
	Path    string   `arg:"" optional:"" help:"Disk image or block device, as LUN 0."`
	Alias   string   `help:"A name for people."`
	Allow   []string `placeholder:"PATTERN" help:"Initiators that may log in, such as iqn.2026-11.com.example:*; everybody if not said."`
	Network []string `placeholder:"NETWORK" help:"Addresses or networks, such as 192.0.2.0/24, that may log in."`
	chapFlags
}

// Run adds the target, and takes it back if its disk cannot be served.
func (c *targetAddCommand) Run(ctx context.Context, k *kong.Kong) error {
	client := c.client()
	defer client.Close()
	chap, err := c.chap()
	if err != nil {
		return err
	}
	t := control.Target{Name: c.Name, Alias: c.Alias, AllowedInitiators: c.Allow, Access: networkRules(c.Network), CHAP: chap}
	if err := client.AddTarget(ctx, t); err != nil {
		return err
	}
	if err := c.addDisk(ctx, client); err != nil {
		return errors.Join(err, client.RemoveTarget(ctx, c.Name, 0))
	}
	return warnSilent(ctx, client, k)
}

// networkRules admit whoever comes from one of the networks.
func networkRules(networks []string) (rules []control.Rule) {
	for _, n := range networks {
		rules = append(rules, control.Rule{Network: n})
	}
	return rules
}

// warnSilent says that the targets cannot be reached, if the server does not listen.
func warnSilent(ctx context.Context, client *control.Client, k *kong.Kong) error {
	status, err := client.Status(ctx)
	if err == nil && len(status.Portals) == 0 {
		_, err = fmt.Fprintln(k.Stderr, "the target is added, but this server does not listen for initiators: it had no target when it started; set iscsiPort in its configuration and restart it")
	}
	return err
}

func (c *targetAddCommand) addDisk(ctx context.Context, client *control.Client) error {
	if c.Path == "" {
		return nil
	}
	lun, err := c.lun(0, c.Path)
	if err == nil {
		err = client.AddLUN(ctx, c.Name, lun)
	}
	return err
}

type targetRemoveCommand struct {
	socketFlag
	withinFlag
	Name string `arg:"" help:"The target's name."`
}

// Run removes the target.
func (c *targetRemoveCommand) Run(ctx context.Context) error {
	client := c.client()
	defer client.Close()
	return client.RemoveTarget(ctx, c.Name, c.Within)
}

type targetAddLUNCommand struct {
	socketFlag
	diskFlags
	Name string `arg:"" help:"The target's name."`
	Path string `arg:"" help:"Disk image or block device."`
	LUN  int    `default:"-1" placeholder:"N" help:"The LUN's number; the lowest that is free if not said."`
}

// Run adds the LUN.
func (c *targetAddLUNCommand) Run(ctx context.Context, k *kong.Kong) error {
	client := c.client()
	defer client.Close()
	if c.LUN < 0 {
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		c.LUN = freeLUN(&status, c.Name)
	}
	lun, err := c.lun(c.LUN, c.Path)
	if err != nil {
		return err
	}
	if err := client.AddLUN(ctx, c.Name, lun); err != nil {
		return err
	}
	_, err = fmt.Fprintf(k.Stdout, "LUN %d\n", c.LUN)
	return err
}

// freeLUN returns the lowest number that no LUN of a target has.
func freeLUN(status *control.Status, name string) int {
	n := 0
	for _, t := range status.Targets {
		if t.Name != name {
			continue
		}
		for _, l := range t.LUNs { // by number
			if l.Number == n {
				n++
			}
		}
	}
	return n
}

type targetRemoveLUNCommand struct {
	socketFlag
	Within time.Duration `default:"10s" help:"How long commands get to end before they are aborted."`
	Name   string        `arg:"" help:"The target's name."`
	LUN    int           `arg:"" help:"The LUN's number."`
}

// Run removes the LUN.
func (c *targetRemoveLUNCommand) Run(ctx context.Context) error {
	client := c.client()
	defer client.Close()
	return client.RemoveLUN(ctx, c.Name, c.LUN, c.Within)
}

type targetResizeCommand struct {
	socketFlag
	Name   string `arg:"" help:"The target's name."`
	LUN    int    `arg:"" help:"The LUN's number."`
	Size   size   `arg:"" optional:"" help:"The new size, such as 20G. Without it, the size that the file or device has by now."`
	Shrink bool   `help:"Allow a smaller size: what is beyond it is lost."`
}

// Run resizes the LUN.
func (c *targetResizeCommand) Run(ctx context.Context, k *kong.Kong) error {
	client := c.client()
	defer client.Close()
	now, err := client.ResizeLUN(ctx, c.Name, c.LUN, control.Resize{Size: int64(c.Size), Shrink: c.Shrink})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(k.Stdout, "LUN %d has %s\n", c.LUN, bytesize.Format(now.Size))
	return err
}

type targetDisconnectCommand struct {
	socketFlag
	withinFlag
	Session uint16 `arg:"" help:"The session's number (TSIH), as list shows it."`
}

// Run ends the session.
func (c *targetDisconnectCommand) Run(ctx context.Context) error {
	client := c.client()
	defer client.Close()
	return client.Disconnect(ctx, c.Session, c.Within)
}

type targetDrainCommand struct {
	socketFlag
	withinFlag
	Name string `arg:"" help:"The target's name."`
}

// Run empties the target.
func (c *targetDrainCommand) Run(ctx context.Context) error {
	client := c.client()
	defer client.Close()
	return client.Drain(ctx, c.Name, c.Within)
}

type targetResumeCommand struct {
	socketFlag
	Name string `arg:"" help:"The target's name."`
}

// Run lets initiators in again.
func (c *targetResumeCommand) Run(ctx context.Context) error {
	client := c.client()
	defer client.Close()
	return client.Resume(ctx, c.Name)
}

// chapFlags say what initiators must prove. Secrets come from files: a command line
// is for everybody to see.
type chapFlags struct {
	User              string `placeholder:"NAME" help:"CHAP name of the initiators."`
	SecretFile        string `placeholder:"FILE" help:"File with its secret, 12 to 16 characters for most initiators; only its owner may read it."`
	ReverseUser       string `placeholder:"NAME" help:"CHAP name by which the target proves itself, for mutual CHAP."`
	ReverseSecretFile string `placeholder:"FILE" help:"File with its secret."`

	MoreUsers map[string]string `placeholder:"NAME=FILE" help:"Further CHAP names, each with the file that has its secret."`
}

func (f *chapFlags) chap() (control.CHAP, error) {
	c := control.CHAP{CHAPName: f.User, CHAPSecretFile: f.SecretFile, ReverseCHAPName: f.ReverseUser, ReverseCHAPSecretFile: f.ReverseSecretFile}
	for _, name := range slices.Sorted(maps.Keys(f.MoreUsers)) {
		c.CHAPUsers = append(c.CHAPUsers, control.User{Name: name, SecretFile: f.MoreUsers[name]})
	}
	files := []*string{&c.CHAPSecretFile, &c.ReverseCHAPSecretFile}
	for i := range c.CHAPUsers {
		files = append(files, &c.CHAPUsers[i].SecretFile)
	}
	for _, file := range files {
		if *file == "" {
			continue
		}
		var err error
		if *file, err = filepath.Abs(*file); err != nil {
			return c, err
		}
	}
	return c, nil
}

type targetCHAPCommand struct {
	socketFlag
	Name string `arg:"" help:"The target's name."`
	chapFlags
	Off bool `help:"Let initiators in unproven."`
}

// Run changes what later logins must prove.
func (c *targetCHAPCommand) Run(ctx context.Context) error {
	if c.Off == (c.User != "") {
		return errors.New("say --user and --secret-file, or --off")
	}
	chap, err := c.chap()
	if err != nil {
		return err
	}
	client := c.client()
	defer client.Close()
	return client.SetCHAP(ctx, c.Name, chap)
}

type targetAllowCommand struct {
	socketFlag
	Name      string   `arg:"" help:"The target's name."`
	Patterns  []string `arg:"" optional:"" help:"Initiators, such as iqn.2026-11.com.example:*."`
	Network   []string `placeholder:"NETWORK" help:"Initiators by address: 192.0.2.7, or a network such as 192.0.2.0/24. With names, both must hold."`
	User      []string `placeholder:"NAME" help:"Initiators by the CHAP name that they prove. With names and networks, all must hold."`
	Everybody bool     `help:"Let all initiators in."`
}

// Run changes who may log in from now on.
func (c *targetAllowCommand) Run(ctx context.Context) error {
	if c.Everybody == (len(c.Patterns)+len(c.Network)+len(c.User) > 0) {
		return errors.New("name the initiators that may log in, their networks or users, or say --everybody")
	}
	allowed := control.Allowed{Initiators: c.Patterns}
	if len(c.Network)+len(c.User) > 0 {
		allowed = control.Allowed{Rules: control.Rules(c.Patterns, c.Network, c.User)}
	}
	client := c.client()
	defer client.Close()
	return client.SetAllowed(ctx, c.Name, allowed)
}

type targetPortGroupCommand struct {
	socketFlag
	ID        uint16 `arg:"" help:"The target port group's number, as portGroup of its targets says it."`
	State     string `arg:"" enum:"active/optimized,active/non-optimized,standby,unavailable" help:"${enum}."`
	Preferred bool   `help:"Tell initiators to use it if its state is as good as others'."`
}

// Run sets the group's state.
func (c *targetPortGroupCommand) Run(ctx context.Context) error {
	g := control.PortGroup{ID: c.ID, Preferred: c.Preferred}
	if err := g.State.UnmarshalText([]byte(c.State)); err != nil {
		return err
	}
	client := c.client()
	defer client.Close()
	return client.SetPortGroup(ctx, g)
}

type targetTraceCommand struct {
	socketFlag
	Session uint16 `arg:"" help:"The session's number (TSIH), as list shows it."`
	Output  string `short:"o" required:"" type:"path" placeholder:"FILE" help:"Where to write it. It has what is read and written in it, so that only you may read it."`
	Headers bool   `help:"Leave out what is read and written: the first 128 bytes of each packet alone."`
}

// headersLength has the headers of IPv6, TCP and a PDU, and some of its data.
const headersLength = 128

// Run writes the trace until the session or the user ends it.
func (c *targetTraceCommand) Run(ctx context.Context) error {
	client := c.client()
	defer client.Close()
	f, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	snap := 0
	if c.Headers {
		snap = headersLength
	}
	err = client.Trace(ctx, c.Session, f, snap)
	if err != nil {
		err = errors.Join(err, os.Remove(c.Output))
	}
	return errors.Join(err, f.Close())
}

type reloadCommand struct {
	socketFlag
}

// Run has the server read its configuration again.
func (c *reloadCommand) Run(ctx context.Context, k *kong.Kong) error {
	client := c.client()
	defer client.Close()
	r, err := client.Reload(ctx)
	if err == nil && len(r.Restart) > 0 {
		_, err = fmt.Fprintf(k.Stderr, "restart the server for the changes of %s\n", strings.Join(r.Restart, ", "))
	}
	return err
}
