package main

import (
	"testing"

	"github.com/bootlun/bootlun/internal/cli/clitest"
)

// What the shells themselves make of the scripts.
func TestCompletionInShells(t *testing.T) {
	clitest.CompletedInShells(t, "iscsi", map[string]string{
		"iscsi disc": "<discover>", "iscsi info --header-digest re": "<require>", "iscsi read --chap-algorithms sha256,m": "<sha256,md5>",
		"iscsi reserve iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 pre": "<preempt>", "iscsi bench --kind randw": "<randwrite>",
		"iscsi copy tab": clitest.AFile, "iscsi read --chap-secret-file tab": clitest.AFile,
	})
}

// Programs that read manual pages have nothing to say against ours, and print what we wrote.
func TestManPage(t *testing.T) {
	clitest.ManPage(t, program, "iscsi copy URL FILE [flags]", "--chap-secret-file", "-P LEVEL", ". <(iscsi completion bash)", "24 CHAP refused")
}
