package privacypass_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/mimid/mimid/protocol/privacypass"
)

// hexed is octets as vectors write them.
type hexed []byte

func (h *hexed) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

func readVectors(t testing.TB, file string, into any) {
	t.Helper()
	dir := os.Getenv("MIMID_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			t.Skip("no test vectors here: set MIMID_VECTORS to the directory that holds privacypass")
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "privacypass", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

// TestVectorRFC9578 (appendix A.2): from the challenge to the token, with the vectors' nonce, salt
// and blind, each message is as printed there.
func TestVectorRFC9578(t *testing.T) {
	var all []struct {
		Secret    hexed `json:"skS"`
		Public    hexed `json:"pkS"`
		Challenge hexed `json:"token_challenge"`
		Nonce     hexed `json:"nonce"`
		Blind     hexed `json:"blind"`
		Salt      hexed `json:"salt"`
		Request   hexed `json:"token_request"`
		Response  hexed `json:"token_response"`
		Token     hexed `json:"token"`
	}
	readVectors(t, "type2_type2-issuance-test-vectors.json", &all)
	if len(all) != 5 {
		t.Fatalf("%d vectors, RFC 9578 has 5", len(all))
	}
	for i, v := range all {
		block, _ := pem.Decode(v.Secret)
		sk, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		issuer, err := privacypass.NewIssuer(sk.(*rsa.PrivateKey))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(issuer.Key().Bytes(), v.Public) {
			t.Errorf("vector %d: the key is written %x", i, issuer.Key().Bytes())
		}
		key, err := privacypass.ParseKey(v.Public)
		if err != nil {
			t.Fatal(err)
		}
		c, err := privacypass.ParseChallenge(v.Challenge)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := c.Bytes(); err != nil || !bytes.Equal(b, v.Challenge) {
			t.Errorf("vector %d: the challenge is written %x, %v", i, b, err)
		}
		request, p, err := privacypass.AskWith(key, c, [32]byte(v.Nonce), bytes.NewReader(append(v.Salt, v.Blind...)))
		if err != nil || !bytes.Equal(request, v.Request) {
			t.Fatalf("vector %d: request %x, %v", i, request, err)
		}
		response, err := issuer.Issue(request)
		if err != nil || !bytes.Equal(response, v.Response) {
			t.Fatalf("vector %d: response %x, %v", i, response, err)
		}
		token, err := p.Finish(response)
		if err != nil || !bytes.Equal(token.Bytes(), v.Token) {
			t.Fatalf("vector %d: token %+v, %v", i, token, err)
		}
		read, err := privacypass.ParseToken(v.Token)
		if err != nil || *read != *token {
			t.Errorf("vector %d: read as %+v, %v", i, read, err)
		}
		if err := key.Verify(read, c); err != nil {
			t.Errorf("vector %d: %v", i, err)
		}
	}
}

// TestVectorRFC9577 (appendix B): what is signed in a token for a challenge. Those of other token
// types are not for us.
func TestVectorRFC9577(t *testing.T) {
	var all []struct {
		Type    hexed `json:"token_type"`
		Issuer  hexed `json:"issuer_name"`
		Context hexed `json:"redemption_context"`
		Origin  hexed `json:"origin_info"`
		Nonce   hexed `json:"nonce"`
		Key     hexed `json:"token_key_id"`
		Input   hexed `json:"token_authenticator_input"`
	}
	readVectors(t, "token-test-vectors.json", &all)
	seen := 0
	for i, v := range all {
		if !bytes.Equal(v.Type, []byte{0, 2}) {
			continue
		}
		seen++
		c := &privacypass.Challenge{Issuer: string(v.Issuer), Context: v.Context, Origin: string(v.Origin)}
		d, err := c.Digest()
		if err != nil {
			t.Fatal(err)
		}
		token := privacypass.Token{Nonce: [32]byte(v.Nonce), Challenge: d, KeyID: [32]byte(v.Key)}
		if !bytes.Equal(token.Input(), v.Input) {
			t.Errorf("vector %d: signed is %x, want %x", i, token.Input(), []byte(v.Input))
		}
	}
	if seen < 3 {
		t.Errorf("%d vectors of type 2", seen)
	}
}
