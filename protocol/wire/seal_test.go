package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

// TestGroupInfoSealed: what the hub seals opens with the requester's key for
// that room, and in no other way.
func TestGroupInfoSealed(t *testing.T) {
	tree := wire.RatchetTreeOption{Representation: wire.TreeDistributionService}
	content := &wire.GroupInfoRatchetTreeTBE{GroupInfo: read[mls.GroupInfo](groupInfo), Tree: tree}
	want, err := content.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const room = wire.IdentifierURI("mimi://a.example/r/clubhouse")
	for _, suite := range []mls.CipherSuite{1, 2, 3} {
		key, err := mls.GenerateHPKEKey(suite)
		if err != nil {
			t.Fatal(err)
		}
		other, _ := mls.GenerateHPKEKey(suite)
		ct, err := content.Seal(suite, key.Public(), room)
		if err != nil {
			t.Fatal(err)
		}
		var got wire.GroupInfoRatchetTreeTBE
		if err := got.Open(key, room, ct, wire.Limits{}); err != nil {
			t.Fatal(err)
		}
		if b, err := got.Bytes(); err != nil || !bytes.Equal(b, want) {
			t.Errorf("suite %v: opened to %x, %v", suite, b, err)
		}
		changed := ct
		changed.Ciphertext = append(bytes.Clone(ct.Ciphertext[:len(ct.Ciphertext)-1]), ct.Ciphertext[len(ct.Ciphertext)-1]^1)
		for name, err := range map[string]error{
			"another room":       got.Open(key, room+"x", ct, wire.Limits{}),
			"another key":        got.Open(other, room, ct, wire.Limits{}),
			"changed ciphertext": got.Open(key, room, changed, wire.Limits{}),
		} {
			if !errors.Is(err, mls.ErrDecrypt) {
				t.Errorf("suite %v, %s: %v, want ErrDecrypt", suite, name, err)
			}
		}
		if _, err := content.Seal(suite, key.Public()[1:], room); !errors.Is(err, mls.ErrMalformed) {
			t.Errorf("suite %v, short key: %v", suite, err)
		}
		bad, err := suite.Encrypt(key.Public(), wire.GroupInfoLabel, []byte(room), []byte("no GroupInfo"))
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Open(key, room, bad, wire.Limits{}); err == nil {
			t.Error("opened what is no GroupInfo")
		}
	}
	if _, err := (&wire.GroupInfoRatchetTreeTBE{}).Seal(1, nil, room); !errors.Is(err, wire.ErrCombination) {
		t.Errorf("sealing nothing: %v", err)
	}
}
