package x509auth_test

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
)

// device is a user's client, with all the keys above it.
type device struct {
	w              *world
	suite          mls.CipherSuite
	user           crypto.Signer
	userURI, uri   string
	userCert, cert []byte
	key            mls.SignatureKey
}

func (w *world) device(suite mls.CipherSuite, provider, user crypto.Signer, domain, name string) *device {
	w.t.Helper()
	d := &device{w: w, suite: suite, user: user,
		userURI: "mimi://" + domain + "/u/" + name, uri: "mimi://" + domain + "/d/" + name + "/phone"}
	d.userCert = w.user(provider, d.userURI, user.Public(), valid)
	d.renew(valid)
	return d
}

// renew gives the client a new key and a certificate for it.
func (d *device) renew(v x509auth.Validity) mls.LeafChange {
	d.w.t.Helper()
	d.key = d.w.signatureKey(d.suite)
	d.cert = d.w.client(d.user, d.userCert, d.uri, d.key.Public(), v)
	c := d.credential()
	return mls.LeafChange{Signer: d.key, Credential: &c}
}

func (d *device) credential() mls.Credential { return mls.X509Credential(d.cert, d.userCert) }

func (d *device) leaf() mls.LeafParams {
	return mls.LeafParams{Suite: d.suite, Signer: d.key, Credential: d.credential(),
		Lifetime: mls.LifetimeOf(now, 90*day)}
}

// room is a group, its server, and an Authenticator for each as if they were
// different machines. What is sent crosses as bytes.
type room struct {
	t       *testing.T
	w       *world
	at      time.Time
	devices []*device
	members []*mls.Group
	server  *mls.PublicGroup
}

func (r *room) config() mls.Config {
	return mls.Config{Authenticator: authenticator(r.t, r.w.trust, 0)}
}

// lenient takes every credential: a member with its own idea of the rules.
type lenient struct{}

func (lenient) Authenticate(mls.Credential, []byte, time.Time) error       { return nil }
func (lenient) AuthenticateSender(mls.Credential, []byte, time.Time) error { return nil }
func (lenient) Succeeds(_, _ mls.Credential) error                         { return nil }

func reparse(t *testing.T, m *mls.Message) *mls.Message {
	t.Helper()
	out, err := mls.ParseMessage(m.Bytes(), mls.Limits{})
	must(t, err)
	return out
}

// newRoom makes a group of three: alice and carol at atlanta, bob at biloxi,
// whose keys are P-256. The last one judges by rules of its own.
func newRoom(t *testing.T, suite mls.CipherSuite) *room {
	t.Helper()
	w := newWorld(t)
	r := &room{t: t, w: w, at: now, devices: []*device{
		w.device(suite, w.atlanta, w.alice, atlanta, "alice"),
		w.device(suite, w.biloxi, ecKey(t), biloxi, "bob"),
		w.device(suite, w.oldAtlanta, edKey(t), atlanta, "carol"),
	}}
	alice, err := mls.CreateGroup(mls.GroupParams{LeafParams: r.devices[0].leaf()}, r.config())
	must(t, err)
	info, err := alice.GroupInfo(true)
	must(t, err)
	r.server, err = mls.NewPublicGroup(reparse(t, info.Message()).GroupInfo, nil, r.config(), now)
	must(t, err)
	var o mls.CommitOptions
	var private []*mls.PrivateKeyPackage
	for _, d := range r.devices[1:] {
		p, err := mls.NewKeyPackage(d.leaf(), false, nil)
		must(t, err)
		v, err := reparse(t, p.KeyPackage().Message()).KeyPackage.Verify(r.config(), now)
		must(t, err)
		private, o.Add = append(private, p), append(o.Add, v)
	}
	s, err := alice.Commit(o, now)
	must(t, err)
	r.members = []*mls.Group{alice}
	r.commit(alice, s)
	for i, p := range private {
		cfg := r.config()
		if i == 1 {
			cfg.Authenticator = lenient{}
		}
		m, err := mls.JoinWelcome(reparse(t, s.Welcome.Message()).Welcome, p, mls.JoinOptions{Tree: r.server.Tree()}, cfg, now)
		must(t, err)
		r.members = append(r.members, m)
	}
	r.agree()
	return r
}

// commit lets the server and all members take a commit, and returns what the
// server saw.
func (r *room) commit(from *mls.Group, s *mls.StagedCommit) *mls.Change {
	r.t.Helper()
	m := reparse(r.t, s.Message)
	c, err := r.server.Process(m.Public, reparse(r.t, s.GroupInfo.Message()).GroupInfo, r.at)
	must(r.t, err)
	must(r.t, r.server.Apply(c))
	for _, x := range r.members {
		if x == from {
			must(r.t, x.Merge(s))
			continue
		}
		got, err := x.Process(m, r.at)
		must(r.t, err)
		must(r.t, x.Apply(got))
	}
	r.agree()
	return c
}

func (r *room) agree() {
	r.t.Helper()
	for i, x := range r.members {
		if !bytes.Equal(x.EpochAuthenticator(), r.members[0].EpochAuthenticator()) ||
			!bytes.Equal(x.Public().Context().Bytes(), r.server.Context().Bytes()) {
			r.t.Fatalf("member %d differs in epoch %d", i, r.server.Epoch())
		}
	}
}

// refused: server and honest members refuse the message with the error, and
// stay where they are.
func (r *room) refused(m *mls.Message, info *mls.GroupInfo, want error) {
	r.t.Helper()
	m = reparse(r.t, m)
	if info != nil {
		info = reparse(r.t, info.Message()).GroupInfo
	}
	_, err := r.server.Process(m.Public, info, r.at)
	if !errors.Is(err, want) || !errors.Is(err, mls.ErrBadCredential) {
		r.t.Errorf("server: got %v, want %v", err, want)
	}
	for i, x := range r.members[:2] {
		if _, err := x.Process(m, r.at); !errors.Is(err, want) || !errors.Is(err, mls.ErrBadCredential) {
			r.t.Errorf("member %d: got %v, want %v", i, err, want)
		}
	}
	r.agree()
}

func eachSuite(t *testing.T, f func(t *testing.T, r *room)) {
	for _, suite := range []mls.CipherSuite{mls.X25519AES128Ed25519, mls.P256AES128P256} {
		t.Run(fmt.Sprint(uint16(suite)), func(t *testing.T) { f(t, newRoom(t, suite)) })
	}
}

func TestGroupRenewsCertificates(t *testing.T) {
	eachSuite(t, func(t *testing.T, r *room) {
		// Two thirds into its life, bob renews both certificates in a commit,
		// signed by a new provider key that replaces the old one.
		r.at = now.Add(60 * day)
		later := x509auth.ValidFor(r.at, x509auth.Lifetime)
		bob := r.devices[1]
		provider := edKey(t)
		r.w.trust[biloxi] = append(r.w.trust[biloxi], provider.Public())
		before := bob.credential()
		bob.userCert = r.w.user(provider, bob.userURI, bob.user.Public(), later)
		change := bob.renew(later)
		s, err := r.members[1].Commit(mls.CommitOptions{Leaf: &change}, r.at)
		must(t, err)
		c := r.commit(r.members[1], s)
		if len(c.Updated) != 1 {
			t.Fatalf("%d updated", len(c.Updated))
		}
		u := c.Updated[0]
		if uri, err := x509auth.ClientURI(u.New.Credential); err != nil || uri != bob.uri {
			t.Errorf("updated leaf is %s, %v", uri, err)
		}
		if changed, err := x509auth.UserKeyChanged(before, u.New.Credential); changed || err != nil {
			t.Errorf("user key changed: %v, %v", changed, err)
		}

		// Alice, who lost her user key, proposes an Update; bob commits it.
		alice := r.devices[0]
		alice.user = edKey(t)
		alice.userCert = r.w.user(r.w.atlanta, alice.userURI, alice.user.Public(), later)
		m, err := r.members[0].ProposeUpdate(alice.renew(later), mls.SendOptions{}, r.at)
		must(t, err)
		m = reparse(t, m)
		p, err := r.server.Process(m.Public, nil, r.at)
		must(t, err)
		must(t, r.server.Apply(p))
		for _, x := range r.members[1:] {
			got, err := x.Process(m, r.at)
			must(t, err)
			must(t, x.Apply(got))
		}
		s, err = r.members[1].Commit(mls.CommitOptions{}, r.at)
		must(t, err)
		seen := false
		for _, u := range r.commit(r.members[1], s).Updated {
			changed, err := x509auth.UserKeyChanged(u.Old.Credential, u.New.Credential)
			must(t, err)
			seen = seen || changed
		}
		if !seen {
			t.Error("nobody saw that alice has a new user key")
		}

		// Who has not renewed in time is still a member: expiry is judged when
		// a leaf is new.
		r.at = now.Add(100 * day)
		s, err = r.members[0].Commit(mls.CommitOptions{}, r.at)
		must(t, err)
		r.commit(r.members[0], s)
	})
}

func TestGroupRefusesImpostors(t *testing.T) {
	eachSuite(t, func(t *testing.T, r *room) {
		carol, group := r.devices[2], r.members[2]
		for _, c := range []struct {
			why  string
			want error
			leaf func() mls.LeafChange
		}{
			{"carol becomes another user, whom her provider certified for her", x509auth.ErrOtherClient, func() mls.LeafChange {
				d := r.w.device(carol.suite, r.w.atlanta, edKey(t), atlanta, "dave")
				return d.renew(valid)
			}},
			{"carol takes alice's chain", x509auth.ErrOtherClient, func() mls.LeafChange {
				theirs := r.devices[0].credential()
				return mls.LeafChange{Credential: &theirs}
			}},
			{"carol becomes another client of herself", x509auth.ErrOtherClient, func() mls.LeafChange {
				d := *carol
				d.uri = "mimi://atlanta.example/d/carol/laptop"
				return d.renew(valid)
			}},
			{"carol stays, under a user certificate that no provider signed", x509auth.ErrUntrusted, func() mls.LeafChange {
				return r.w.device(carol.suite, edKey(t), carol.user, atlanta, "carol").renew(valid)
			}},
			{"carol renews with a certificate that has expired", x509auth.ErrExpired, func() mls.LeafChange {
				d := *carol
				return d.renew(x509auth.ValidFor(now.Add(-90*day), 89*day))
			}},
			{"carol gets a new key, and no certificate for it", x509auth.ErrKeyMismatch, func() mls.LeafChange {
				return mls.LeafChange{Signer: r.w.signatureKey(carol.suite)}
			}},
			{"carol drops her certificates", x509auth.ErrCredentialType, func() mls.LeafChange {
				basic := mls.BasicCredential([]byte(carol.uri))
				return mls.LeafChange{Credential: &basic}
			}},
		} {
			t.Run(c.why, func(t *testing.T) {
				r.t = t
				leaf := c.leaf()
				s, err := group.Commit(mls.CommitOptions{Leaf: &leaf}, now)
				must(t, err)
				r.refused(s.Message, s.GroupInfo, c.want)
				m, err := group.ProposeUpdate(leaf, mls.SendOptions{}, now)
				must(t, err)
				r.refused(m, nil, c.want)
			})
		}
	})
}

// A newcomer with a good chain cannot take a member's place, and a server that
// starts late judges all leaves at once, by the time it is given.
func TestGroupFromOutside(t *testing.T) {
	eachSuite(t, func(t *testing.T, r *room) {
		info, err := r.members[0].GroupInfo(false)
		must(t, err)
		info = reparse(t, info.Message()).GroupInfo
		mallory := r.w.device(r.devices[0].suite, r.w.atlanta, edKey(t), atlanta, "mallory")
		var victim mls.LeafIndex // alice
		s, err := mls.ExternalCommit(info, mls.ExternalOptions{LeafParams: mallory.leaf(), Tree: r.server.Tree(), Replace: &victim},
			mls.Config{Authenticator: lenient{}}, now)
		must(t, err)
		r.refused(s.Message, s.GroupInfo, x509auth.ErrOtherClient)

		cfg := r.config()
		_, err = mls.NewPublicGroup(info, r.server.Tree(), cfg, now)
		must(t, err)
		if n := cfg.Authenticator.(*x509auth.Authenticator).Stats().Cached; n != 3 {
			t.Errorf("%d user certificates cached", n)
		}
		if _, err = mls.NewPublicGroup(info, r.server.Tree(), cfg, now.Add(91*day)); !errors.Is(err, x509auth.ErrExpired) {
			t.Errorf("after all certificates expired: %v", err)
		}
		late := cfg
		late.ImportExpired = true
		if _, err = mls.NewPublicGroup(info, r.server.Tree(), late, now.Add(91*day)); err != nil {
			t.Errorf("with expired members allowed: %v", err)
		}
		delete(r.w.trust, biloxi)
		if _, err = mls.NewPublicGroup(info, r.server.Tree(), late, now); !errors.Is(err, x509auth.ErrUnknownProvider) {
			t.Errorf("expired members allowed, but untrusted: %v", err)
		}
		if _, err = mls.NewPublicGroup(info, r.server.Tree(), cfg, now); !errors.Is(err, x509auth.ErrUnknownProvider) {
			t.Errorf("after biloxi lost all trust: %v", err)
		}
	})
}
