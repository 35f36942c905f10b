package room_test

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

var start = time.UnixMilli(1_700_000_000_000)

// world is a few providers and the room's log; the hub and a follower read it.
type world struct {
	t         testing.TB
	providers map[string]ed25519.PrivateKey
	extra     map[string]ed25519.PublicKey // further keys of providers
	rules     room.Rules
	auth      *x509auth.Authenticator
	now       time.Time
	hub       *room.State
	follower  *room.State
	log       []*room.Entry
	clients   []*device
}

// device is a client: its keys, and its group while it is a member.
type device struct {
	w     *world
	user  uri.User
	leaf  mls.LeafParams
	group *mls.Group
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, providers: map[string]ed25519.PrivateKey{}, now: start}
	for i, d := range []string{"atlanta.example", "biloxi.example", "chicago.example"} {
		w.providers[d] = key(byte(100 + i))
	}
	anchors := func(domain string) []crypto.PublicKey {
		if k, ok := w.providers[domain]; ok {
			out := []crypto.PublicKey{k.Public()}
			if x, ok := w.extra[domain]; ok {
				out = append(out, x)
			}
			return out
		}
		return nil
	}
	var err error
	if w.auth, err = x509auth.New(x509auth.Options{Anchors: anchors}); err != nil {
		t.Fatal(err)
	}
	w.rules = room.Rules{Auth: w.auth, Anchors: anchors}
	return w
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// device makes a client of a user given as "alice@atlanta.example".
func (w *world) device(user, name string) *device {
	t := w.t
	t.Helper()
	u := must(uri.ParseShort(user))(t)
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := x509auth.ValidFor(w.now, x509auth.Lifetime)
	cert := must(x509auth.IssueUser(w.providers[u.Provider().Domain()], u.String(), pub, v))(t)
	sig := must(mls.GenerateSignatureKey(room.Suite))(t)
	c := must(u.Provider().Client(u.Name(), name))(t)
	leafCert := must(x509auth.IssueClient(priv, cert, c.String(), sig.Public(), v))(t)
	d := &device{w: w, user: u, leaf: mls.LeafParams{Suite: room.Suite, Signer: sig,
		Credential: mls.X509Credential(leafCert, cert), Lifetime: mls.LifetimeOf(w.now, time.Hour*24*30)}}
	w.clients = append(w.clients, d)
	return d
}

func (w *world) config() mls.Config { return room.Config(w.auth) }

func (w *world) hosting() *room.Hosting {
	h := &room.Hosting{Term: room.FirstTerm, Failover: room.FailoverAdmin, Topic: [16]byte{1, 2, 3},
		Hub: room.Replica{Domain: "atlanta.example", FrankingKey: make([]byte, 32)}}
	copy(h.Hub.ProviderKey[:], w.providers["atlanta.example"].Public().(ed25519.PublicKey))
	h.Replicas = []room.Replica{h.Hub}
	return h
}

var clubhouse = must(uri.ParseRoom("mimi://atlanta.example/r/clubhouse"))

// create makes the body of a room's first entry; edit may spoil its extensions.
func (d *device) create(edit func(*mls.GroupParams)) *room.Create {
	t := d.w.t
	t.Helper()
	r := clubhouse(t)
	p := mls.GroupParams{LeafParams: d.leaf, GroupID: must(room.GroupID(r))(t),
		Extensions: must(room.Extensions(d.user, d.w.hosting(), &policy.Metadata{URI: r.String(), Name: "name"}))(t)}
	if edit != nil {
		edit(&p)
	}
	d.group = must(mls.CreateGroup(p, d.w.config()))(t)
	return &room.Create{URI: r, GroupInfo: must(d.group.GroupInfo(false))(t), Tree: d.group.Public().Tree()}
}

// begin starts the room at hub and follower with its creator.
func (w *world) begin(d *device) {
	w.t.Helper()
	e := room.FirstEntry(d.create(nil), room.TxnID{1}, w.now)
	w.hub = must(room.Begin(e, w.rules))(w.t)
	w.follower = must(room.Begin(e, w.rules))(w.t)
	w.log = append(w.log, e)
}

func (d *device) keyPackage() *mls.PrivateKeyPackage {
	return must(mls.NewKeyPackage(d.leaf, false, nil))(d.w.t)
}

// order puts a body into the log if the hub's checks let it, and has the
// follower and all members follow, but for skip.
func (w *world) order(kind room.Kind, body []byte, skip ...*device) (*room.Step, error) {
	e := w.hub.NewEntry(kind, room.TxnID{byte(len(w.log))}, body, w.now)
	st, err := w.hub.Check(e)
	if err != nil {
		return nil, err
	}
	if err := w.hub.Advance(st); err != nil {
		return nil, err
	}
	w.log = append(w.log, e)
	again, err := w.follower.Check(e)
	if err != nil {
		w.t.Fatalf("follower refuses what the hub ordered: %v", err)
	}
	if err := w.follower.Advance(again); err != nil {
		w.t.Fatal(err)
	}
	if w.hub.At() != w.follower.At() {
		w.t.Fatal("hub and follower stand apart")
	}
	return st, nil
}

// update submits a bundle as the hub takes it from a provider.
func (w *world) update(b *wire.HandshakeBundle, from string) (*room.Step, error) {
	w.t.Helper()
	body, err := room.HandshakeOf(b).Bytes()
	if err != nil {
		return nil, err
	}
	e := w.hub.NewEntry(room.KindHandshake, room.TxnID{}, body, w.now)
	st, err := w.hub.Check(e)
	if err != nil {
		return nil, err
	}
	if err := w.hub.AdmitUpdate(b, st, from); err != nil {
		return nil, err
	}
	return w.order(room.KindHandshake, body)
}

func bundle(s *mls.StagedCommit) *wire.HandshakeBundle {
	return &wire.HandshakeBundle{Message: s.Message, Welcome: s.Welcome, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}
}

// commit stages, submits and merges a commit; the other members follow.
func (d *device) commit(o mls.CommitOptions) error {
	d.w.t.Helper()
	s, err := d.group.Commit(o, d.w.now)
	if err != nil {
		d.w.t.Fatal(err)
	}
	if _, err := d.w.update(bundle(s), d.user.Provider().Domain()); err != nil {
		return err
	}
	if err := d.group.Merge(s); err != nil {
		d.w.t.Fatal(err)
	}
	for _, o := range d.w.clients {
		if o != d && o.group != nil && !o.group.Removed() {
			o.follow(s.Message)
		}
	}
	return nil
}

func (d *device) follow(m *mls.Message) {
	d.w.t.Helper()
	r, err := d.group.Process(m, d.w.now)
	if err != nil {
		d.w.t.Fatalf("%s: %v", d.user, err)
	}
	if err := d.group.Apply(r); err != nil {
		d.w.t.Fatal(err)
	}
}

// add adds devices' users as members and lets the devices in.
func (d *device) add(who ...*device) error {
	d.w.t.Helper()
	t := d.w.t
	var set []room.Participant
	var o mls.CommitOptions
	var kps []*mls.PrivateKeyPackage
	for _, x := range who {
		kp := x.keyPackage()
		kps = append(kps, kp)
		o.Add = append(o.Add, must(kp.KeyPackage().Verify(d.w.config(), d.w.now))(t))
		set = append(set, room.Participant{User: x.user, Role: policy.Member})
	}
	p, err := room.UpdateParticipants(d.group.Public().Context(), set, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p != nil {
		o.Proposals = append(o.Proposals, p)
	}
	s := must(d.group.Commit(o, d.w.now))(t)
	if _, err := d.w.update(bundle(s), d.user.Provider().Domain()); err != nil {
		return err
	}
	if err := d.group.Merge(s); err != nil {
		t.Fatal(err)
	}
	for _, o := range d.w.clients {
		if o != d && o.group != nil && !o.group.Removed() {
			o.follow(s.Message)
		}
	}
	for i, x := range who {
		x.group = must(mls.JoinWelcome(s.Welcome, kps[i], mls.JoinOptions{Tree: d.w.hub.Group().Tree()}, d.w.config(), d.w.now))(t)
	}
	return nil
}

func (d *device) send(text string) error {
	d.w.t.Helper()
	m := must(d.group.Encrypt([]byte(text), mls.SendOptions{AAD: tagged(text)}))(d.w.t)
	req := &wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(d.user.String())}
	return d.w.submit(req, d.user.Provider().Domain())
}

// tagged is the authenticated data of a message, with a franking tag.
func tagged(text string) []byte { return wire.NewFrankAAD([]byte("salt"), []byte(text)).SafeAAD() }

func (w *world) submit(req *wire.SubmitMessageRequest, from string) error {
	w.t.Helper()
	m, err := w.hub.AdmitMessage(req, from)
	if err != nil {
		return err
	}
	_, err = w.order(room.KindMessage, must(m.Bytes())(w.t))
	return err
}

// propose submits proposals as one bundle; the other members keep them.
func (d *device) propose(ps ...*mls.Proposal) error {
	d.w.t.Helper()
	var ms []*mls.Message
	for _, p := range ps {
		ms = append(ms, must(d.group.Propose(p, mls.SendOptions{}, d.w.now))(d.w.t))
	}
	b := &wire.HandshakeBundle{Message: ms[0], MoreProposals: ms[1:]}
	if _, err := d.w.update(b, d.user.Provider().Domain()); err != nil {
		return err
	}
	for _, o := range d.w.clients {
		if o != d && o.group != nil && !o.group.Removed() {
			for _, m := range ms {
				o.follow(m)
			}
		}
	}
	return nil
}

// reload stores the hub's state and reads it back.
func (w *world) reload(parts map[string][]byte) {
	w.t.Helper()
	for _, p := range w.hub.Unsaved() {
		if p.Value == nil {
			delete(parts, p.Key)
		} else {
			parts[p.Key] = p.Value
		}
	}
	w.hub = must(room.Load(w.hub.URI(), w.hub.At(), maps.All(parts), w.rules))(w.t)
}

func wantErr(t *testing.T, why string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, expected %v", why, err, want)
	}
}

// bodies makes one body of each kind, in the order of FuzzRoom.
func bodies(t testing.TB) [][]byte {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := errors.Join(alice.add(bob), alice.send("x")); err != nil {
		t.Fatal(err)
	}
	return [][]byte{w.log[0].Body, w.log[1].Body, w.log[2].Body, (&room.Tombstone{Successor: clubhouse(t)}).Bytes()}
}
