package mls_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// TestEmbedded: each structure reads from the front of a longer input, leaves
// the rest, and writes the same bytes.
func TestEmbedded(t *testing.T) {
	g := newGroup(t, suites[0], mls.RequiredCapabilities{}.Extension())
	g.add(g.members[0], "b")
	kp, v := keyPackage(t, g.suite, "c")
	s, err := g.members[0].Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{v}}, now)
	must(t, err)
	leaf := kp.KeyPackage().Leaf
	type structure interface {
		Read(*presentation.Reader, mls.Limits)
		Append([]byte) []byte
	}
	ext := g.server.Context().Extensions
	dict := mls.Dictionary{1: []byte("x"), 7: nil}
	for name, c := range map[string]struct {
		from interface{ Append([]byte) []byte }
		to   structure
	}{
		"Message":              {s.Message, new(mls.Message)},
		"KeyPackage":           {kp.KeyPackage(), new(mls.KeyPackage)},
		"GroupInfo":            {s.GroupInfo, new(mls.GroupInfo)},
		"Welcome":              {s.Welcome, new(mls.Welcome)},
		"Credential":           {&leaf.Credential, new(mls.Credential)},
		"Capabilities":         {&leaf.Capabilities, new(mls.Capabilities)},
		"RequiredCapabilities": {&mls.RequiredCapabilities{Proposals: []mls.ProposalType{8}}, new(mls.RequiredCapabilities)},
		"Extensions":           {ext, new(mls.Extensions)},
		"ExternalSender":       {&mls.ExternalSender{SignatureKey: []byte("key"), Credential: leaf.Credential}, new(mls.ExternalSender)},
		"HPKECiphertext":       {&mls.HPKECiphertext{KEMOutput: []byte("kem"), Ciphertext: []byte("ct")}, new(mls.HPKECiphertext)},
		"Dictionary":           {dict, new(mls.Dictionary)},
		"RatchetTree":          {g.server.Tree(), new(mls.RatchetTree)},
	} {
		b := c.from.Append(nil)
		r := presentation.NewReader(append(bytes.Clone(b), "rest"...))
		c.to.Read(r, mls.Limits{})
		if r.Err() != nil || string(r.Rest()) != "rest" {
			t.Errorf("%s: %v, %d bytes left", name, r.Err(), len(r.Rest()))
			continue
		}
		if !bytes.Equal(c.to.Append(nil), b) {
			t.Errorf("%s does not write what it read", name)
		}
		r = presentation.NewReader(b[:len(b)-1])
		c.to.Read(r, mls.Limits{})
		if !errors.Is(r.Done(), mls.ErrTruncated) {
			t.Errorf("%s, cut short: %v", name, r.Done())
		}
	}
}

// TestSignWithLabel: the label and the key matter.
func TestSignWithLabel(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite mls.CipherSuite) {
		key, err := mls.GenerateSignatureKey(suite)
		must(t, err)
		sig, err := key.Sign("one", []byte("content"))
		must(t, err)
		must(t, suite.Verify(key.Public(), "one", []byte("content"), sig))
		for why, err := range map[string]error{
			"another label":   suite.Verify(key.Public(), "two", []byte("content"), sig),
			"another content": suite.Verify(key.Public(), "one", []byte("Content"), sig),
			"another key":     suite.Verify(bytes.Repeat([]byte{9}, len(key.Public())), "one", []byte("content"), sig),
		} {
			if !errors.Is(err, mls.ErrBadSignature) {
				t.Errorf("%s: %v", why, err)
			}
		}
		if err := mls.CipherSuite(4).Verify(nil, "", nil, nil); !errors.Is(err, mls.ErrUnsupported) {
			t.Errorf("unknown suite: %v", err)
		}
	})
}
