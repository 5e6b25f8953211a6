//go:build bootlun_small

package main

import (
	"errors"

	"github.com/bootlun/bootlun/ibft"
)

var errNoYAML = errors.New("this ibft is the netboot image's, built small, without YAML: use JSON")

func tableYAML(*ibft.Table, bool) ([]byte, error) { return nil, errNoYAML }

func parseYAML([]byte) (*ibft.Table, error) { return nil, errNoYAML }
