package mls_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
)

// TestZeroValues: the zero HPKE key and the zero tree refuse or are empty, and
// do not panic.
func TestZeroValues(t *testing.T) {
	var key mls.HPKEKey
	if key.Bytes() != nil || key.Public() != nil {
		t.Error("the zero key has bytes")
	}
	if _, err := key.Decrypt("label", nil, mls.HPKECiphertext{}); !errors.Is(err, mls.ErrState) {
		t.Errorf("decrypting with the zero key: %v", err)
	}
	if _, err := mls.GenerateHPKEKey(77); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("key of an unknown suite: %v", err)
	}
	if _, err := mls.ParseHPKEKey(77, nil); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("parsing a key of an unknown suite: %v", err)
	}
	if _, err := mls.CipherSuite(77).Encrypt(nil, "", nil, nil); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("encrypting in an unknown suite: %v", err)
	}
	if b := new(mls.RatchetTree).Bytes(); len(b) != 1 || b[0] != 0 {
		t.Errorf("the zero tree is %x, want an empty vector", b)
	}
}
