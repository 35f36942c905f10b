package node_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// outlaw is a whole client that has no policy: it follows a room, commits, proposes and
// sends what it wants, by real MLS and through the API of a real node. It judges nothing.
type outlaw struct {
	*crashDevice
	room uri.Room
	id   room.ID
	next uint64                       // the entry that comes next
	own  map[string]*mls.StagedCommit // by message
	said map[string][]byte            // contents that were read, by sender
	// lawless: the rules of the components do not hold for it either, with which the device
	// could not make some commits at all.
	lawless bool
}

func (d *outlaw) config() mls.Config {
	c := d.crashDevice.config()
	if d.lawless {
		c.Components = nil
	}
	return c
}

// outlaws are users of nodes of this process, known to each other.
func outlaws(t *testing.T, nodes ...*running) *crashWorld {
	t.Helper()
	w := &crashWorld{t: t, keys: map[string][]crypto.PublicKey{}}
	var err error
	if w.auth, err = x509auth.New(x509auth.Options{Anchors: func(domain string) []crypto.PublicKey {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.keys[domain]
	}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range nodes {
		d := &crashDevice{w: w, at: &crashNode{clients: r.api()}, http: http.DefaultClient}
		if err := d.call("GET", "/v1/provider", nil, &d.about); err != nil {
			t.Fatal(err)
		}
		w.keys[r.cfg.Domain] = []crypto.PublicKey{ed25519.PublicKey(d.about.Key)}
	}
	return w
}

func (w *crashWorld) outlaw(r *running, name string, u uri.Room) *outlaw {
	w.t.Helper()
	d := w.device(&crashNode{t: w.t, domain: r.cfg.Domain, dir: r.dir, clients: r.api()}, name)
	return &outlaw{crashDevice: d, room: u, id: room.IDOf([]byte(u.String())), own: map[string]*mls.StagedCommit{}, said: map[string][]byte{}}
}

// friend lets a user add this one to rooms.
func (d *outlaw) friend(of *client.Client) {
	t := d.w.t
	t.Helper()
	e := &wire.ConsentEntry{Operation: wire.ConsentGrant,
		Scope: wire.ConsentScope{Requester: wire.IdentifierURI(of.User().String()), Target: wire.IdentifierURI(d.user.String())}}
	if err := d.call("POST", "/v1/consent", &clientapi.SendConsent{Entry: crashMust(e.Bytes())(t)}, new(struct{})); err != nil && err != io.EOF { // an answer without a body
		t.Fatal(err)
	}
}

// groupInfo asks the hub for what an external commit needs; code, if not nil, makes the joining
// code.
func (d *outlaw) groupInfo(code func(signatureKey, groupInfoKey []byte) []byte) (*wire.GroupInfoRatchetTreeTBE, error) {
	t := d.w.t
	t.Helper()
	key := crashMust(mls.GenerateHPKEKey(room.Suite))(t)
	m := &wire.GroupInfoRequest{Suite: room.Suite, Credential: d.leaf.Credential, GroupInfoKey: key.Public()}
	if code != nil {
		m.JoiningCode = code(d.leaf.Signer.Public(), key.Public())
	}
	if err := m.Sign(d.leaf.Signer); err != nil {
		t.Fatal(err)
	}
	var got clientapi.FetchedGroupInfo
	if err := d.call("POST", "/v1/rooms/"+d.id.String()+"/groupinfo", &clientapi.FetchGroupInfo{Request: crashMust(m.Bytes())(t), From: d.where()}, &got); err != nil {
		return nil, err
	}
	resp := crashMust(wire.ParseGroupInfoResponse(got.Response, room.BodyLimits()))(t)
	if resp.Status != wire.GroupInfoSuccess {
		return nil, errors.New(resp.Status.String())
	}
	open := new(wire.GroupInfoRatchetTreeTBE)
	return open, open.Open(key, wire.IdentifierURI(d.room.String()), resp.Success.Encrypted, room.BodyLimits())
}

func (d *outlaw) where() *clientapi.Where {
	return &clientapi.Where{URI: d.room.String(), Hub: d.room.Provider().Domain()}
}

// enter comes in by an external commit with more proposals.
func (d *outlaw) enter(open *wire.GroupInfoRatchetTreeTBE, more ...*mls.Proposal) error {
	t := d.w.t
	t.Helper()
	o := mls.ExternalOptions{LeafParams: d.leaf, Tree: open.Tree.Tree, Proposals: more}
	for m := range crashMust(mls.NewPublicGroup(open.GroupInfo, open.Tree.Tree, d.config(), time.Now()))(t).Members() {
		if m.Node.Credential.Equal(d.leaf.Credential) {
			o.Replace = &m.Leaf
		}
	}
	s := crashMust(mls.ExternalCommit(open.GroupInfo, o, d.config(), time.Now()))(t)
	if err := d.bring(wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}, d.where()); err != nil {
		return err
	}
	d.group = crashMust(s.Join())(t)
	within(t, "the external commit is in the log", func() bool {
		d.next = 0
		all, err := d.log() // the own provider may not have heard of it yet
		if err != nil {
			return false
		}
		for _, e := range all {
			d.next = e.Seq + 1
			if e.Kind == room.KindHandshake && bytes.Equal(crashMust(room.ParseHandshake(e.Body))(t).Bundle.Message.Bytes(), s.Message.Bytes()) {
				return true
			}
		}
		return false
	})
	return nil
}

// bring submits a handshake. Its error is what the hub, or the own provider, says.
func (d *outlaw) bring(b wire.HandshakeBundle, from *clientapi.Where) error {
	t := d.w.t
	t.Helper()
	raw := crashMust((&wire.UpdateRequest{Bundle: b}).Bytes())(t)
	n := room.NewTxnNonce()
	var got clientapi.SubmittedUpdate
	if err := d.call("POST", "/v1/rooms/"+d.id.String()+"/updates", &clientapi.SubmitUpdate{Request: raw, Nonce: n[:], From: from}, &got); err != nil {
		return err
	}
	res := crashMust(wire.ParseUpdateRoomResponse(got.Response, wire.Limits{}))(t)
	if res.Code != wire.UpdateSuccess {
		return fmt.Errorf("%v: %s", res.Code, res.Description)
	}
	return nil
}

// commit makes a commit of the present epoch and brings it.
func (d *outlaw) commit(o mls.CommitOptions) error {
	t := d.w.t
	t.Helper()
	s := crashMust(d.group.Commit(o, time.Now()))(t)
	d.own[string(s.Message.Bytes())] = s
	return d.bring(wire.HandshakeBundle{Message: s.Message, Welcome: s.Welcome, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}, nil)
}

// propose brings proposals without a commit.
func (d *outlaw) propose(ps ...*mls.Proposal) error {
	t := d.w.t
	t.Helper()
	var ms []*mls.Message
	for _, p := range ps {
		ms = append(ms, crashMust(d.group.Propose(p, mls.SendOptions{}, time.Now()))(t))
	}
	for _, p := range d.group.Public().Pending() {
		d.group.Drop(p.Ref) // the log says what is pending
	}
	return d.bring(wire.HandshakeBundle{Message: ms[0], MoreProposals: ms[1:]}, nil)
}

// origin is that of what this user says.
func (d *outlaw) origin() content.Origin {
	return content.Origin{Sender: d.user.String(), Room: d.room.String()}
}

// say sends a message as whoever it wants, franked as it has to be, unless tag says else.
func (d *outlaw) say(m *content.Message, as uri.User, tag func(data []byte) []byte) error {
	t := d.w.t
	t.Helper()
	data := crashMust(m.Encode(content.Limits{}))(t)
	aad := wire.NewFrankAAD(m.Salt[:], data).SafeAAD()
	if tag != nil {
		aad = tag(data)
	}
	x := crashMust(d.group.Encrypt(data, mls.SendOptions{AAD: aad}))(t)
	raw := crashMust((&wire.SubmitMessageRequest{Message: x, SendingURI: wire.IdentifierURI(as.String())}).Bytes())(t)
	n := room.MessageNonce(m.Salt, sha256.Sum256(x.Bytes()))
	var got clientapi.SubmittedMessage
	if err := d.call("POST", "/v1/rooms/"+d.id.String()+"/messages", &clientapi.SubmitMessage{Request: raw, Nonce: n[:]}, &got); err != nil {
		return err
	}
	if res := crashMust(wire.ParseSubmitMessageResponse(got.Response, wire.Limits{}))(t); res.Code != wire.SubmitAccepted {
		return errors.New(res.Code.String())
	}
	return nil
}

// log reads the rest of the room's log, as far as it is given to this user.
func (d *outlaw) log() (out []*room.Entry, err error) {
	for {
		var l clientapi.Log
		if err := d.call("GET", fmt.Sprintf("/v1/rooms/%s/log?from=%d&limit=500", d.id, d.next+uint64(len(out))), nil, &l); err != nil || len(l.Entries) == 0 {
			return out, err
		}
		for _, b := range l.Entries {
			out = append(out, crashMust(room.ParseEntry(b))(d.w.t))
		}
	}
}

// follow reads the log to its end.
func (d *outlaw) follow() {
	t := d.w.t
	t.Helper()
	entries, err := d.log()
	if err != nil {
		t.Fatalf("%s follows: %v", d.user, err)
	}
	for _, e := range entries {
		if err := d.take(e); err != nil {
			t.Fatalf("%s: entry %d: %v", d.user, e.Seq, err)
		}
	}
}

// take follows one entry.
func (d *outlaw) take(e *room.Entry) error {
	t := d.w.t
	var ms []*mls.Message
	switch e.Kind {
	case room.KindMessage:
		ms = append(ms, crashMust(room.ParseMessage(e.Body))(t).Message)
	case room.KindHandshake:
		b := crashMust(room.ParseHandshake(e.Body))(t).Bundle
		ms = append([]*mls.Message{b.Message}, b.MoreProposals...)
	}
	d.next = e.Seq + 1
	for _, m := range ms {
		if s, ok := d.own[string(m.Bytes())]; ok {
			if err := d.group.Merge(s); err != nil {
				return err
			}
			continue
		}
		r, err := d.group.Process(m, time.Now())
		if errors.Is(err, mls.ErrOwnMessage) {
			continue
		}
		if err != nil {
			return err
		}
		if r.Kind != mls.ContentApplication {
			if err := d.group.Apply(r); err != nil {
				return err
			}
		} else if c, err := content.Decode(r.Data, content.Limits{}); err == nil {
			d.said[c.Sender] = r.Data
		}
	}
	return nil
}
