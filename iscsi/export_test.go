package iscsi

// CHAPResponse computes a CHAP response, for tests against recorded ones.
func CHAPResponse(a CHAPAlgorithm, id byte, s Secret, challenge []byte) []byte {
	return chapChallenge{a, id, challenge}.response(s)
}
