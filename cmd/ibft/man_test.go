package main

import (
	"testing"

	"github.com/bootlun/bootlun/internal/cli/clitest"
)

// Programs that read manual pages have nothing to say against ours, and print what we wrote.
func TestManPage(t *testing.T) {
	clitest.ManPage(t, program, "ibft show [SOURCE] [flags]", "--reveal-secrets", `target0.chap=chap target0.chap_name=machine \`, ". <(ibft completion bash)")
}
