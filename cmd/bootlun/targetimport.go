package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
	"github.com/bootlun/bootlun/target/control"
	"github.com/bootlun/bootlun/target/foreign"
	"github.com/goccy/go-yaml"
)

type targetImportCommand struct {
	File    string `arg:"" type:"existingfile" help:"ietd.conf (IET), targets.conf (tgt, or tgt-admin --dump), saveconfig.json (LIO) or ctl.conf (FreeBSD)."`
	Format  string `default:"auto" enum:"auto,iet,tgt,lio,ctl" help:"Whose file it is: ${enum}."`
	Secrets string `type:"path" placeholder:"DIR" help:"Write the CHAP secrets into this folder, which is made, one file each with mode 0600. None may exist. Without it, the secrets stay where they are."`
}

// Run prints the configuration, and says on standard error what is not in it.
func (c *targetImportCommand) Run(k *kong.Kong) error {
	format, dir := foreign.Format(c.Format), c.Secrets
	if c.Format == "auto" {
		format = foreign.Auto
	}
	if dir == "" {
		dir = "/etc/bootlun/secrets"
	}
	r, err := foreign.Read(c.File, format, dir)
	if err != nil {
		return err
	}
	type settings struct {
		DiscoveryCHAP *control.CHAP `yaml:"discoveryChap"`
	}
	out := struct {
		ISCSI   *settings                 `yaml:"iscsi,omitempty"`
		ISNS    *control.ISNS             `yaml:"isns,omitempty"`
		Targets []control.Target          `yaml:"targets"`
		Disks   map[string]control.Medium `yaml:"disks,omitempty"`
	}{nil, r.ISNS, r.Targets, r.Disks}
	if r.DiscoveryCHAP != nil {
		out.ISCSI = &settings{r.DiscoveryCHAP}
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Fprintln(k.Stderr, n)
	}
	if c.Secrets != "" {
		if err := writeSecrets(dir, r.Secrets); err != nil {
			return err
		}
	} else if len(r.Secrets) > 0 {
		fmt.Fprintf(k.Stderr, "%d CHAP secrets are not written: run this again with --secrets %s\n", len(r.Secrets), dir)
	}
	_, err = k.Stdout.Write(text)
	return err
}

func writeSecrets(dir string, secrets []foreign.SecretFile) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, s := range secrets {
		f, err := os.OpenFile(filepath.Clean(s.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString(s.Secret.Reveal() + "\n")
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
