package pseudonym_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/uri"
)

// TestCredentialIsStrict_6: a credential is read in its one form only, and only as its leaf's.
func TestCredentialIsStrict_6(t *testing.T) {
	c := sealed(t, roomKey(1), directory{}.person(provider, "alice"))
	raw := c.MLS().Identity
	of := func(b []byte) error {
		_, err := pseudonym.Of(mls.Credential{Type: pseudonym.CredentialType, Identity: b}, c.Key)
		return err
	}
	if err := of(raw); err != nil {
		t.Fatal(err)
	}
	uuid := c.Client.Name()
	spelled := func(s string) []byte { return bytes.Replace(raw, []byte(uuid), []byte(s), 1) }
	for what, b := range map[string][]byte{
		"nothing": nil, "cut": raw[:len(raw)-1], "more": append(bytes.Clone(raw), 0),
		"too long": make([]byte, pseudonym.MaxCredential+1),
		"capitals": spelled(strings.ToUpper(uuid)), "a word": spelled(strings.Repeat("crazykoala75", 3)),
		"another version": spelled(uuid[:14] + "7" + uuid[15:]), "another variant": spelled(uuid[:19] + "c" + uuid[20:]),
		"a user":        bytes.Replace(raw, []byte("/p/"), []byte("/u/"), 1),
		"two providers": bytes.Replace(raw, []byte("a.example"), []byte("b.example"), 1),
	} {
		if err := of(b); !errors.Is(err, pseudonym.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	with := func(change func(*pseudonym.Credential)) []byte {
		x := *c
		change(&x)
		return x.MLS().Identity
	}
	for what, b := range map[string][]byte{
		"one pseudonym":    with(func(x *pseudonym.Credential) { x.User = x.Client }),
		"no key":           with(func(x *pseudonym.Credential) { x.Key = nil }),
		"a long key":       with(func(x *pseudonym.Credential) { x.Key = make([]byte, 300) }),
		"kind 0":           with(func(x *pseudonym.Credential) { x.Link.Key.Kind = 0 }),
		"own generation 1": with(func(x *pseudonym.Credential) { x.Link.Key.Kind = pseudonym.KindOwn }),
		"no ciphertext":    with(func(x *pseudonym.Credential) { x.Link.Ciphertext = nil }),
		"a telling length": with(func(x *pseudonym.Credential) { x.Link.Ciphertext = x.Link.Ciphertext[:len(x.Link.Ciphertext)-1] }),
	} {
		if err := of(b); !errors.Is(err, pseudonym.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := pseudonym.Of(c.MLS(), c.Key[:31]); !errors.Is(err, pseudonym.ErrOther) {
		t.Errorf("another leaf's: %v", err)
	}
	if _, err := pseudonym.Of(mls.BasicCredential(raw), c.Key); !errors.Is(err, pseudonym.ErrNotPseudonymous) {
		t.Errorf("basic: %v", err)
	}
	x := *c
	x.Link.Key.Generation++
	if err := x.Succeeds(c); err != nil {
		t.Errorf("a new link: %v", err)
	}
	x.Client = must(pseudonym.New(provider))
	if err := x.Succeeds(c); !errors.Is(err, pseudonym.ErrOther) {
		t.Errorf("another client: %v", err)
	}
	x = *c
	x.User = must(pseudonym.New(provider))
	if err := x.Succeeds(c); !errors.Is(err, pseudonym.ErrOther) {
		t.Errorf("another user: %v", err)
	}
}

// TestNew: a pseudonym is a random UUID, and no two are the same.
func TestNew(t *testing.T) {
	seen := map[uri.Pseudonym]bool{}
	for range 100 {
		p := must(pseudonym.New(provider))
		if seen[p] || p.Provider() != provider {
			t.Fatal(p)
		}
		seen[p] = true
	}
	if _, err := pseudonym.New(uri.Provider{}); err == nil {
		t.Error("at no provider")
	}
}

func anyKey(t *rapid.T) pseudonym.Key {
	if rapid.Bool().Draw(t, "own") {
		return pseudonym.NewKey()
	}
	return roomKey(rapid.Uint64Range(0, 200).Draw(t, "epoch"))
}

// TestMessages: what is written is read, in whatever order it was put together, and nothing
// longer or otherwise.
func TestMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.Custom(anyKey), 0, pseudonym.MaxKeys, pseudonym.Key.ID).Draw(t, "keys")
		k := &pseudonym.Keys{Others: keys}
		if rapid.Bool().Draw(t, "present") {
			k.Present = roomKey(201)
		} else if rapid.Bool().Draw(t, "begins") {
			k.Begins = true
		}
		raw := k.Bytes()
		got, err := pseudonym.ParseKeys(raw)
		if err != nil || !bytes.Equal(got.Bytes(), raw) || got.Present != k.Present || got.Begins != k.Begins || len(got.Others) != len(keys) || len(raw) > pseudonym.MaxMessage {
			t.Fatalf("%v, %v", got, err)
		}
		var q pseudonym.Request
		for _, x := range keys {
			q = append(q, x.ID())
		}
		rawq := q.Bytes()
		gotq, err := pseudonym.ParseRequest(rawq)
		if err != nil || !bytes.Equal(gotq.Bytes(), rawq) || len(gotq) != len(q) {
			t.Fatalf("%v, %v", gotq, err)
		}
		n := rapid.IntRange(0, len(raw)-1).Draw(t, "cut")
		if _, err := pseudonym.ParseKeys(raw[:n]); !errors.Is(err, pseudonym.ErrMalformed) {
			t.Fatalf("cut: %v", err)
		}
		if _, err := pseudonym.ParseRequest(append(bytes.Clone(rawq), 0)); !errors.Is(err, pseudonym.ErrMalformed) {
			t.Fatalf("more: %v", err)
		}
	})
	var many pseudonym.Keys
	var q pseudonym.Request
	for range pseudonym.MaxKeys + 1 {
		k := pseudonym.NewKey()
		many.Others, q = append(many.Others, k), append(q, k.ID())
	}
	if _, err := pseudonym.ParseKeys(many.Bytes()); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("too many: %v", err)
	}
	if _, err := pseudonym.ParseRequest(q.Bytes()); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("too many: %v", err)
	}
	k := pseudonym.NewKey()
	twice := pseudonym.Keys{Others: []pseudonym.Key{k, k}}
	if _, err := pseudonym.ParseKeys(twice.Bytes()); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("twice: %v", err)
	}
	if _, err := pseudonym.ParseRequest(pseudonym.Request{k.ID(), k.ID()}.Bytes()); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("twice: %v", err)
	}
	// A newcomer's own key is no generation of the room's.
	raw := (&pseudonym.Keys{Present: roomKey(0)}).Bytes()
	raw[2] = byte(pseudonym.KindOwn)
	if _, err := pseudonym.ParseKeys(raw); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("an own key as the present generation: %v", err)
	}
	for _, b := range [][]byte{nil, {2, 0, 0}, {1, 3, 0}, make([]byte, pseudonym.MaxMessage+1)} {
		if _, err := pseudonym.ParseKeys(b); !errors.Is(err, pseudonym.ErrMalformed) {
			t.Errorf("%x: %v", b[:min(len(b), 4)], err)
		}
	}
}

// FuzzCredential: no bytes make it panic, and what is read is written back.
func FuzzCredential(f *testing.F) {
	c := sealed(f, roomKey(1), directory{}.person(provider, "alice"))
	f.Add(c.MLS().Identity, c.Key)
	f.Fuzz(func(t *testing.T, b, key []byte) {
		c, err := pseudonym.Of(mls.Credential{Type: pseudonym.CredentialType, Identity: b}, key)
		if err != nil {
			if !errors.Is(err, pseudonym.ErrMalformed) && !errors.Is(err, pseudonym.ErrOther) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(c.MLS().Identity, b) {
			t.Fatal("written otherwise")
		}
	})
}

// FuzzClaim: whatever a member puts into its link, it does not panic, and is not believed.
func FuzzClaim(f *testing.F) {
	k := roomKey(1)
	c := blank(provider, uri.Pseudonym{})
	d := directory{}
	d.person(provider, "alice")
	about := pseudonym.TBS(c, pseudonym.KindRoom, clubhouse)
	f.Add([]byte{1, 0, 0, 1, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, plain []byte) {
		pseudonym.SealClaim(c, k, about, plain)
		claim, err := c.Open(k, clubhouse)
		if err != nil {
			if !errors.Is(err, pseudonym.ErrNotOpen) {
				t.Fatal(err)
			}
			return
		}
		if _, err := claim.Verify(d, now); err == nil {
			t.Fatal("believed")
		}
	})
}

// FuzzMessages: no bytes make them panic, and what is read is written back.
func FuzzMessages(f *testing.F) {
	k := &pseudonym.Keys{Present: roomKey(2), Others: []pseudonym.Key{roomKey(1), pseudonym.NewKey()}}
	f.Add(k.Bytes())
	f.Add(pseudonym.Request{k.Present.ID(), k.Others[1].ID()}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := pseudonym.ParseKeys(b); err == nil {
			if !bytes.Equal(k.Bytes(), b) {
				t.Fatal("keys written otherwise")
			}
		} else if !errors.Is(err, pseudonym.ErrMalformed) {
			t.Fatal(err)
		}
		if q, err := pseudonym.ParseRequest(b); err == nil {
			if !bytes.Equal(q.Bytes(), b) {
				t.Fatal("request written otherwise")
			}
		} else if !errors.Is(err, pseudonym.ErrMalformed) {
			t.Fatal(err)
		}
	})
}
