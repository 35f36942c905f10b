package client_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/content"
)

// nowhere is a spool that is not to be used.
type nowhere struct{ t *testing.T }

func (n nowhere) Open(name string) (client.SpoolFile, error) {
	n.t.Errorf("%s is opened", name)
	return nil, errors.New("not here")
}
func (nowhere) Remove(string) error      { return nil }
func (nowhere) Names() ([]string, error) { return nil, nil }

// TestFetchRefuses_5_10: content draft, section 4.5, and MIMI protocol, section 5.10: what a
// sender says of an attachment is judged before anybody is asked for it: it is encrypted, its
// hash is one, and its URL is a provider's.
func TestFetchRefuses_5_10(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	hash := make([]byte, 32)
	for i, x := range []struct {
		why  string
		edit func(*content.ExternalPart)
		want string
	}{
		{"not encrypted", func(x *content.ExternalPart) { x.EncAlg, x.Key, x.Nonce = 0, nil, nil }, "only AES-128-GCM"},
		{"another algorithm", func(x *content.ExternalPart) { x.EncAlg = 2 }, "encrypted by algorithm 2"},
		{"no hash", func(x *content.ExternalPart) { x.HashAlg, x.ContentHash = 0, nil }, "no SHA-256"},
		{"a short hash", func(x *content.ExternalPart) { x.ContentHash = hash[:31] }, "of 31 octets"},
		{"somewhere else", func(x *content.ExternalPart) { x.URL = "https://127.0.0.1/secret" }, "127.0.0.1"},
		{"no TLS", func(x *content.ExternalPart) { x.URL = strings.Replace(x.URL, "https", "http", 1) }, "http"},
		{"a short key", func(x *content.ExternalPart) { x.Key = hash[:15] }, "15"},
		{"too large", func(x *content.ExternalPart) { x.Size = 1 << 50 }, "at most"},
	} {
		p := content.ExternalPart{MediaType: "text/plain", URL: "https://atlanta.example/v1/asset/" + strings.Repeat("0", 64), Size: 3,
			EncAlg: content.AES128GCM, Key: hash[:16], Nonce: hash[:12], AAD: []byte{}, HashAlg: content.SHA256, ContentHash: hash}
		x.edit(&p)
		if err := alice.says(u, content.New(content.Origin{}, content.Attach(p))); err != nil {
			t.Fatal(err)
		}
		eventually(t, "bob has it", func() bool { return len(bob.texts(u)) == i+1 })
		bob.kill()
		c, err := client.Open(client.Config{Storage: bob.store, HTTP: bob.http, Spool: nowhere{t}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.FetchAttachment(ctx10(t), client.Fetch{Room: u, Index: uint64(i)}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, expected %q", x.why, err, x.want)
		}
		bob.restart()
	}
}
