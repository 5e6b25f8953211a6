package boot

import (
	"bytes"
	"testing"
	"time"
)

func TestBar(t *testing.T) {
	want := "bootlun: read         [====================                    ]  50 % of 20.0 MB, 5.0 MB/s"
	if got := barLine("read", 10e6, 20e6, 2*time.Second); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var log bytes.Buffer // what is no terminal sees nothing of it
	b := console{&log}.bar("read")
	b.drawn = b.drawn.Add(-time.Hour)
	b.show(1, 2)
	b.clear()
	if log.Len() > 0 {
		t.Errorf("a log got %q", &log)
	}
}
