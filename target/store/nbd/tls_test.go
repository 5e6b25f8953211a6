package nbd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/target/store/nbd"
)

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	roots := certificates(t, dir)
	server := peers.NBDKitTCP(t, "--tls=require", "--tls-certificates="+dir, "memory", "1M")
	if _, err := nbd.Open(t.Context(), server.URI(), nbd.Config{}); err == nil || !strings.Contains(err.Error(), "TLS is required") {
		t.Errorf("without TLS: %v", err)
	}
	secure := strings.Replace(server.URI(), "nbd://", "nbds://", 1)
	if _, err := nbd.Open(t.Context(), secure, nbd.Config{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with a certificate of nobody's: %v", err)
	}
	s := open(t, secure, nbd.Config{TLS: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}})
	want := bytes.Repeat([]byte("secured "), 1000)
	got := make([]byte, len(want))
	if _, err := s.WriteAt(want, 512); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(got, 512); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read something else (error %v)", err)
	}
}

// certificates makes an authority and a server's certificate, in the files that
// nbdkit looks for.
func certificates(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca-cert.pem":     {Type: "CERTIFICATE", Bytes: der},
		"server-cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"server-key.pem":  {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}
