package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
)

// attach attaches text as a file and returns the index of its message.
func (p *person) attach(u uri.Room, mediaType, text string) (uint64, error) {
	return p.c.Attach(ctx10(p.t), u, client.Outgoing{Name: "file", MediaType: mediaType, Content: strings.NewReader(text)})
}

// fetchLast fetches the attachment of a person's last message.
func (p *person) fetchLast(u uri.Room, n int) (string, error) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s has %d messages", p.name, n), func() bool { return len(p.texts(u)) == n })
	var b bytes.Buffer
	_, err := p.c.FetchAttachment(ctx10(p.t), client.Fetch{Room: u, Index: uint64(n - 1)}, &b)
	return b.String(), err
}

// TestAssetPolicy_8_4: room-policy section 8.4: what may be attached, by type, size and
// place, is refused before anything of it goes out; and what another device, or one of
// before, has sent all the same is fetched by nobody.
func TestAssetPolicy_8_4(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	for _, p := range []*person{alice, bob} {
		p.spool = newSpool(t)
		p.restart()
	}
	u := alice.create("clubhouse")
	alice.add(u, bob)
	n := 0
	sends := func(p, to *person, mediaType, text string) {
		t.Helper()
		if _, err := p.attach(u, mediaType, text); err != nil {
			t.Fatalf("%s attaches %s: %v", p.name, mediaType, err)
		}
		n++
		if got, err := to.fetchLast(u, n); err != nil || got != text {
			t.Errorf("%s fetches %q, %v", to.name, got, err)
		}
	}
	sends(alice, bob, "image/gif", "a room without a policy")

	set := func(change func(p *client.AssetPolicy)) {
		t.Helper()
		p := client.NewAssetPolicy()
		change(p)
		if err := alice.c.SetPolicy(ctx10(t), u, p); err != nil {
			t.Fatal(err)
		}
		eventually(t, "bob has the policy", func() bool {
			got, err := bob.c.Policies(ctx10(t), u)
			return err == nil && got.Assets != nil && bytes.Equal(got.Assets.Append(nil), p.Append(nil))
		})
	}
	refuses := func(p *person, mediaType, text, why string) {
		t.Helper()
		_, err := p.attach(u, mediaType, text)
		if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s attaches %s: %v, want %q", p.name, mediaType, err, why)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(p.spool.left()) > 0 || len(f.assets.all) != n {
			t.Errorf("%s attaches %s: left are %q, the providers keep %d", p.name, mediaType, p.spool.left(), len(f.assets.all))
		}
	}
	gif := policy.MediaType{Type: "image/gif"}
	set(func(p *client.AssetPolicy) { p.Forbidden, p.MaxAttached = []client.MediaType{gif}, 20 })
	refuses(bob, "Image/GIF; a=b", "moving", "are not allowed in this room")
	refuses(bob, "what is this", "x", "no media type")
	refuses(bob, "image/png", strings.Repeat("x", 21), "21 bytes; in this room it has at most 20")
	if _, err := bob.c.Attach(ctx10(t), u, client.Outgoing{Name: "x", MediaType: "image/png", Size: 21, Content: unread{t}}); !errors.Is(err, client.ErrRefused) {
		t.Errorf("what says that it is too large: %v", err)
	}
	sends(bob, alice, "image/png", strings.Repeat("x", 20))
	if got, err := bob.fetchLast(u, n); err != nil || len(got) != 20 {
		t.Errorf("the sender fetches %q, %v", got, err)
	}
	var out bytes.Buffer
	if _, err := bob.c.FetchAttachment(ctx10(t), client.Fetch{Room: u, Index: 0}, &out); !errors.Is(err, client.ErrRefused) || out.Len() > 0 {
		t.Errorf("a file of a forbidden type, from before the policy: %q, %v", out.String(), err)
	}
	set(func(p *client.AssetPolicy) { p.Permitted, p.PermitSet = []client.MediaType{gif}, true })
	refuses(bob, "image/png", "x", "are not allowed in this room")
	sends(bob, alice, "image/gif", "moving")

	// A hostile device sends, and who gets it fetches nothing.
	hash := bytes.Repeat([]byte{7}, 32)
	at := func(domain string) string { return asset.Location{Domain: domain, Hash: asset.Hash(hash)}.URL() }
	says := func(mediaType, url string, size uint64, d content.Disposition, why string) {
		t.Helper()
		part := content.Attach(content.ExternalPart{MediaType: mediaType, URL: url, Size: size, EncAlg: content.AES128GCM, Key: hash[:16], Nonce: hash[:12], AAD: []byte{},
			HashAlg: content.SHA256, ContentHash: hash})
		part.Disposition = d
		m := content.New(content.Origin{}, part)
		if err := bob.says(u, m); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("bob's own device, of %q: %v", why, err)
		}
		if _, err := bob.c.SendUnjudged(ctx10(t), u, m); err != nil {
			t.Fatal(err)
		}
		n++
		f.mu.Lock()
		before := f.calls["GET /v1/download"]
		f.mu.Unlock()
		_, err := alice.fetchLast(u, n)
		f.mu.Lock()
		after := f.calls["GET /v1/download"]
		f.mu.Unlock()
		if !errors.Is(err, client.ErrRefused) || !strings.Contains(fmt.Sprint(err), why) || after != before {
			t.Errorf("alice fetches %s of %d bytes at %s: %v after %d requests, want %q", mediaType, size, url, err, after-before, why)
		}
	}
	says("image/png", at("biloxi.example"), 1, content.Attachment, "not allowed in this room")
	set(func(p *client.AssetPolicy) { p.MaxImage, p.MaxAttached = 5, 10 })
	says("image/png", at("biloxi.example"), 11, content.Attachment, "at most 10")
	says("image/png", at("biloxi.example"), 6, content.Render, "at most 5")
	set(func(p *client.AssetPolicy) {
		p.Upload, p.Domains = policy.UploadLocal, []client.UploadDomains{{Provider: "atlanta.example", Hosts: []string{"up.atlanta.example"}}}
	})
	says("image/png", at("chicago.example"), 1, content.Attachment, `"chicago.example" is no host where assets of biloxi.example may be`)
	f.mu.Lock()
	n0 := len(f.assets.all)
	f.mu.Unlock()
	if _, err := alice.attach(u, "image/png", "x"); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), `"atlanta.example" is no host`) {
		t.Errorf("alice's provider has another host: %v", err)
	}
	set(func(p *client.AssetPolicy) { p.Upload = policy.UploadHub })
	if _, err := bob.attach(u, "image/png", "x"); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "assets of atlanta.example may be") {
		t.Errorf("files are the hub's, which is not bob's provider: %v", err)
	}
	f.mu.Lock()
	if len(f.assets.all) != n0 {
		t.Error("something was uploaded")
	}
	f.mu.Unlock()
	sends(alice, bob, "image/png", "at the hub")
	set(func(p *client.AssetPolicy) {
		p.Default, p.Refused = policy.DownloadDirect, []policy.Download{policy.DownloadProxy, policy.DownloadOHTTP}
	})
	if _, err := bob.fetchLast(u, n); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "not downloaded by hubProxy") {
		t.Errorf("through the hub: %v", err)
	}
	if got, err := alice.fetchLast(u, n); err != nil || got != "at the hub" {
		t.Errorf("from the own provider: %q, %v", got, err)
	}
}

// unread is a file that is not to be read.
type unread struct{ t *testing.T }

func (r unread) Read([]byte) (int, error) {
	r.t.Error("the file is read")
	return 0, errors.New("not to be read")
}
