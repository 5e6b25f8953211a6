package iscsi

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"fmt"
	"hash"
	"strconv"
)

// CHAPAlgorithm is the hash of a CHAP exchange, by its number in CHAP_A
// (RFC 7143, 12.1.3, and IANA's PPP authentication algorithms).
type CHAPAlgorithm uint8

// CHAP algorithms.
const (
	CHAPMD5     CHAPAlgorithm = 5
	CHAPSHA1    CHAPAlgorithm = 6
	CHAPSHA256  CHAPAlgorithm = 7
	CHAPSHA3256 CHAPAlgorithm = 8
)

// String names the algorithm.
func (a CHAPAlgorithm) String() string {
	switch a {
	case CHAPMD5:
		return "MD5"
	case CHAPSHA1:
		return "SHA1"
	case CHAPSHA256:
		return "SHA256"
	case CHAPSHA3256:
		return "SHA3-256"
	}
	return "CHAP algorithm " + strconv.Itoa(int(a))
}

// newHash returns the algorithm's hash, or nil for one that is not known.
func (a CHAPAlgorithm) newHash() hash.Hash {
	switch a {
	case CHAPMD5:
		return md5.New()
	case CHAPSHA1:
		return sha1.New()
	case CHAPSHA256:
		return sha256.New()
	case CHAPSHA3256:
		return sha3.New256()
	}
	return nil
}

// CHAPAlgorithms returns all algorithms known, strongest first.
func CHAPAlgorithms() []CHAPAlgorithm {
	return []CHAPAlgorithm{CHAPSHA3256, CHAPSHA256, CHAPSHA1, CHAPMD5}
}

// offeredAlgorithms is what an initiator offers by default. SHA-256 comes last
// because tgt takes its number for SHA-1 and fails the login: of the two that tgt
// knows it must meet MD5 first.
func offeredAlgorithms() []CHAPAlgorithm {
	return []CHAPAlgorithm{CHAPSHA3256, CHAPSHA1, CHAPMD5, CHAPSHA256}
}

// CHAPUser is one side's CHAP name and the secret that proves it.
type CHAPUser struct {
	Name   string
	Secret Secret
}

// IsZero reports whether the user is absent.
func (u CHAPUser) IsZero() bool { return u == CHAPUser{} }

// CHAPClient is what an initiator needs to prove who it is.
type CHAPClient struct {
	User CHAPUser
	// Target, if set, is what the target must prove in its turn (mutual
	// CHAP). An empty Name accepts any name with the secret. The two secrets
	// must differ.
	Target CHAPUser
	// Algorithms are offered in this order, in which many targets choose; none
	// means all of them, in an order that works with the targets known. A few
	// old targets answer only a lone MD5.
	Algorithms []CHAPAlgorithm
}

// CHAPServer is what a target needs to check an initiator. Without users, no
// login succeeds.
type CHAPServer struct {
	Users []CHAPUser
	// Target, if set, proves the target to initiators that ask for it.
	Target CHAPUser
	// Algorithms are accepted in this order of preference; none means
	// CHAPAlgorithms().
	Algorithms []CHAPAlgorithm
}

// maxChallenge is the most bytes of a challenge or response (RFC 7143, 12.1.3).
const maxChallenge = 1024

// chapChallenge is one direction of an exchange, as RFC 1994 (4.1) has it.
type chapChallenge struct {
	algorithm CHAPAlgorithm
	id        byte
	challenge []byte
}

// newChallenge returns a challenge of random bytes, as long as the response.
func newChallenge(a CHAPAlgorithm) chapChallenge {
	b := make([]byte, 1+a.newHash().Size())
	rand.Read(b) // never fails
	return chapChallenge{a, b[0], b[1:]}
}

// response returns the hash of id, secret and challenge.
func (c chapChallenge) response(s Secret) []byte {
	h := c.algorithm.newHash()
	h.Write([]byte{c.id})
	h.Write([]byte(s))
	h.Write(c.challenge)
	return h.Sum(nil)
}

// verify reports, in constant time, whether a response was made with the secret.
func (c chapChallenge) verify(s Secret, response []byte) bool {
	return subtle.ConstantTimeCompare(c.response(s), response) == 1
}

// parseChallenge reads the values of CHAP_I and CHAP_C.
func parseChallenge(a CHAPAlgorithm, id, challenge string) (chapChallenge, error) {
	n, err := ParseNumber(id)
	if err != nil || n > 255 {
		return chapChallenge{}, fmt.Errorf("iscsi: CHAP_I=%.40s is no byte", id)
	}
	c, err := ParseBinary(challenge)
	if err != nil {
		return chapChallenge{}, fmt.Errorf("iscsi: CHAP_C: %w", err)
	}
	if len(c) == 0 || len(c) > maxChallenge {
		return chapChallenge{}, fmt.Errorf("iscsi: CHAP_C has %d bytes, want 1..%d", len(c), maxChallenge)
	}
	return chapChallenge{a, byte(n), c}, nil
}
