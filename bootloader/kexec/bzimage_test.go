package kexec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// testKernel is a file with the headers of a bzImage, its checksum right.
func testKernel(version string) []byte {
	b := make([]byte, 5*512+4096)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 5 * 512; i < len(b); i++ {
		b[i] = byte(r.Uint32())
	}
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3C:], 0x80)
	le.PutUint16(b[0x80+24:], 0x20B)
	b[0x1F1] = 4
	le.PutUint32(b[0x1F4:], 4096/16)
	b[0x1FE], b[0x1FF], b[0x201] = 0x55, 0xAA, 0x6A
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x020F)
	le.PutUint16(b[0x20E:], 0x300)
	copy(b[0x500:], version+" (somebody@somewhere)\x00")
	le.PutUint32(b[0x22C:], 0x7FFFFFFF)
	le.PutUint32(b[0x230:], 2<<20)
	le.PutUint16(b[0x236:], 0x3F)
	le.PutUint32(b[0x238:], 2047)
	le.PutUint64(b[0x258:], 16<<20)
	le.PutUint32(b[0x260:], 30<<20)
	le.PutUint32(b[len(b)-4:], ^crc32.ChecksumIEEE(b[:len(b)-4]))
	return b
}

// sign adds a certificate table as sbsign does, with the digest in it.
func sign(b []byte) []byte {
	const directory = 0x80 + 24 + 112 + 32
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[0x80+24+64:], 12345)
	h := sha256.New()
	h.Write(b[:0x80+24+64])
	h.Write(b[0x80+24+68 : directory])
	h.Write(b[directory+8:])
	binary.LittleEndian.PutUint32(b[directory:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[directory+4:], 100)
	table := slices.Concat(make([]byte, 20), []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01}, h.Sum(nil))
	return append(b, append(table, make([]byte, 100-len(table))...)...)
}

func TestCheckKernel(t *testing.T) {
	old, recent := testKernel("6.1.0-9-amd64"), testKernel("6.16.3")
	spoil := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	tests := []struct {
		name    string
		kernel  []byte
		wantErr string
	}{
		{"sound", old, ""},
		{"bit flipped", spoil(old, 3000), "its checksum is wrong"},
		{"cut off", old[:4000], "the file ends after 4000 of 6656 bytes"},
		{"signed", sign(old), ""},
		{"signed, bit flipped", spoil(sign(old), 3000), "not what its signature is for"},
		{"signature cut off", sign(old)[:len(old)], "its checksum is wrong"},
		{"recent, no checksum to go by", spoil(recent, 3000), ""},
		{"recent, signed, bit flipped", spoil(sign(recent), 3000), "not what its signature is for"},
		{"text", []byte(strings.Repeat("text", 1000)), "no bzImage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckKernel(tt.kernel)
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error = %v, want %q", err, tt.wantErr)
			}
			if tt.wantErr != "" && tt.name != "text" && !errors.Is(err, ErrDamaged) {
				t.Errorf("%v is not ErrDamaged", err)
			}
		})
	}
}

func FuzzCheckKernel(f *testing.F) {
	f.Add(sign(testKernel("6.1")))
	f.Fuzz(func(t *testing.T, b []byte) { CheckKernel(b) })
}
