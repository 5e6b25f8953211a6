package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/scsi"
)

// maxCDBData bounds the data of a raw command.
const maxCDBData = 16 << 20

func cdbCommand() *cli.Command {
	c := cli.NewCommand("cdb", "send any SCSI command", "URL HEX... [flags]")
	c.Text = `HEX are the bytes of the command, 6 to 16 of them. What it reads is dumped, or written
to a file. The command is sent as it is: nothing keeps it from destroying data.`
	c.Exits = "0 GOOD, 1 another status, and else as for all commands"
	c.Examples = []cli.Example{
		{"iscsi cdb iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 00 00 00 00 00 00", "TEST UNIT READY"},
		{"iscsi cdb iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 120000006000 --in 96", "INQUIRY"},
	}
	c.Max = 1 + 16
	var r reach
	r.define(c)
	var in sizeFlag
	c.Var(&in, "in", "`BYTES` that the command reads at most")
	out := c.String("out", "", "what the command writes, in `HEX`")
	outFile := c.String("out-file", "", "`FILE` with what the command writes")
	output := c.String("o", "", "`FILE` for what the command reads; - is standard output")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		cfg, err := r.config(c, args, true)
		if err != nil {
			return err
		}
		cmd, err := rawCommand(c, args[1:], in.bytes, *out, *outFile)
		if err != nil {
			return err
		}
		cmd.LUN = r.lun
		return r.withSession(ctx, cfg, std, func(s *initiator.Session) error {
			return executeRaw(ctx, s, cmd, *output, std)
		})
	}
	return c
}

func rawCommand(c *cli.Command, words []string, in int64, out, outFile string) (cmd initiator.Command, err error) {
	cdb, err := hex.DecodeString(strings.Join(words, ""))
	if err != nil {
		return cmd, c.Misused("the command: %w", err)
	}
	if len(cdb) < 6 || len(cdb) > len(cmd.CDB) {
		return cmd, c.Misused("the command has %d bytes: want 6 to %d, in hexadecimal", len(cdb), len(cmd.CDB))
	}
	copy(cmd.CDB[:], cdb)
	switch {
	case out != "" && outFile != "" || in > 0 && (out != "" || outFile != ""):
		return cmd, c.Misused("one of --in, --out and --out-file: a command reads or writes")
	case in > maxCDBData:
		return cmd, c.Misused("--in %d is more than %d", in, maxCDBData)
	case out != "":
		if cmd.Out, err = hex.DecodeString(strings.ReplaceAll(out, " ", "")); err != nil {
			return cmd, c.Misused("--out: %w", err)
		}
	case outFile != "":
		cmd.Out, err = os.ReadFile(outFile)
		if err == nil && len(cmd.Out) > maxCDBData {
			err = fmt.Errorf("%s has more than %d bytes", outFile, maxCDBData)
		}
	default:
		cmd.In = make([]byte, in)
	}
	return cmd, err
}

func executeRaw(ctx context.Context, s *initiator.Session, cmd initiator.Command, output string, std cli.IO) error {
	res, err := s.Execute(ctx, cmd)
	if err == nil && isAttention(res.Sense) { // of the new session, and not of the command
		res, err = s.Execute(ctx, cmd)
	}
	if err != nil {
		return err
	}
	data := cmd.In[:len(cmd.In)-min(max(res.Residual, 0), len(cmd.In))]
	say := std.Out
	if output == "-" {
		say = std.Err
	}
	fmt.Fprintf(say, "%s: %v", cmd.CDB.Name(), res.Status)
	if len(cmd.In) > 0 {
		fmt.Fprintf(say, ", %d bytes", len(data))
	}
	if res.Residual != 0 {
		fmt.Fprintf(say, ", residual %d", res.Residual)
	}
	fmt.Fprintln(say)
	if len(res.Sense) > 0 {
		fmt.Fprintf(say, "sense: %x\n", res.Sense)
	}
	if err := res.Err(); err != nil {
		return err
	}
	switch output {
	case "":
		_, err = io.WriteString(std.Out, hex.Dump(data))
	case "-":
		_, err = io.Copy(std.Out, bytes.NewReader(data))
	default:
		err = os.WriteFile(output, data, 0o666)
	}
	return err
}

// isAttention says that sense data is a unit attention.
func isAttention(sense []byte) bool {
	s, err := scsi.ParseSense(sense)
	return err == nil && s.Key == scsi.KeyUnitAttention
}
